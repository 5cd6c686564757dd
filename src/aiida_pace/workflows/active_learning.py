"""The loop, and only the loop: label, train, explore, select, until the walkers are quiet."""

from __future__ import annotations

import typing as t
from pathlib import Path

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ToContext, if_, while_
from aiida.engine.processes.workchains.workchain import WorkChainSpec
from aiida_quantumespresso.workflows.protocols.utils import ProtocolMixin

from aiida_pace.calculations.functions.initial import generate_initial
from aiida_pace.config import TrainingConfig
from aiida_pace.structures.initial import atoms_per_element
from aiida_pace.workflows.campaign_ports import define_inputs, define_outputs
from aiida_pace.workflows.campaign_state import CAMPAIGN_EXTRA
from aiida_pace.workflows.candidates import CandidatesWorkChain
from aiida_pace.workflows.explore import ExploreWorkChain
from aiida_pace.workflows.label import LabelWorkChain
from aiida_pace.workflows.lane import ResumableWorkChain, cause_of
from aiida_pace.workflows.protocols import fill_builder
from aiida_pace.workflows.train.base import TrainBaseWorkChain
from aiida_pace.workflows.validators import unfit_data

__all__ = ('ActiveLearningWorkChain',)


class ActiveLearningWorkChain(ProtocolMixin, ResumableWorkChain):
    """Make an ACE potential from nothing, or from labelled frames, by active learning.

    An initial set is generated and labelled with DFT (``initial``, ``label``); a potential is trained on it, with its
    active set (``train``). Then, in cycles: walkers explore with molecular dynamics until one meets an extrapolation
    grade that says "unknown" (``explore``); around each halt candidates are made, and the most informative ones by
    D-optimality are kept (``select``), labelled, and trained on. The campaign has converged when every walker came to
    its end in ``quiet_rounds`` cycles in a row. ``get_builder_from_protocol`` fills in all inputs.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        define_inputs(spec)
        spec.outline(
            cls.setup,
            if_(cls.should_label_initial)(
                cls.generate_initial,
                cls.inspect_initial,
                cls.label,
                cls.inspect_labels,
            ),
            cls.train,
            cls.inspect_training,
            while_(cls.should_run_cycle)(
                cls.explore,
                cls.inspect_exploration,
                if_(cls.has_halts)(cls.select, cls.inspect_selection),
                if_(cls.has_candidates)(cls.label, cls.inspect_labels),
                if_(cls.has_new_labels)(cls.train, cls.inspect_training),
            ),
            cls.results,
        )
        define_outputs(spec)

    @classmethod
    def get_protocol_filepath(cls) -> Path:
        """Return the file that defines the protocols."""
        return Path(__file__).parent / 'protocols' / 'active_learning.yaml'

    @classmethod
    def get_builder_from_protocol(
        cls,
        codes: t.Mapping[str, orm.AbstractCode | str],
        structures: t.Mapping[str, orm.StructureData],
        protocol: str | None = None,
        overrides: dict[str, t.Any] | None = None,
        options: dict[str, t.Any] | None = None,
    ) -> ProcessBuilder:
        """Return a builder with all inputs of a protocol.

        :param codes: a code, or its label, for every key of `protocols.CODES`.
        :param structures: where the walkers start, by name.
        :param protocol: name of the protocol, the default one when None.
        :param overrides: values that come before the protocol's, nested like the inputs. ``label.pseudo_family`` is the
            label of the pseudopotential family; when that recommends no cutoffs, give ``ecutwfc`` and ``ecutrho`` in
            ``label.pw.parameters.SYSTEM``.
        :param options: ``metadata.options`` of every job, such as ``queue_name``.
        :raises ValueError: when a code is missing, the protocol unknown, or a pseudopotential not installed.
        """
        inputs = cls.get_protocol_inputs(protocol, overrides)
        return fill_builder(cls.get_builder(), codes, structures, inputs, options or {})

    def setup(self) -> None:
        """Start with nothing, or with the data sets that were given."""
        self.ctx.cycle, self.ctx.quiet_rounds, self.ctx.requested, self.ctx.failed = 0, 0, 0, 0
        self.ctx.potential = self.ctx.active_set = self.ctx.training = self.ctx.candidates = self.ctx.new_labels = None
        self.ctx.halted, self.ctx.failed_walkers = [], []
        given = self.inputs.datasets if 'datasets' in self.inputs else {}
        self.ctx.datasets = {f'given_{name}': dataset for name, dataset in given.items()}

    @property
    def cycle_label(self) -> str:
        """Where the campaign stands, as the first part of link labels."""
        return f'cycle_{self.ctx.cycle:02d}' if self.ctx.cycle else 'initial'

    def should_label_initial(self) -> bool:
        """Return whether an initial set has to be made and labelled."""
        return not self.ctx.datasets

    def generate_initial(self) -> None:
        """Generate the structures of the initial set."""
        self._enter('generate')
        self.ctx.candidates = generate_initial(
            **self.inputs.initial, seed=self.inputs.seed, metadata={'call_link_label': 'initial_generate'}
        )

    def inspect_initial(self) -> ExitCode | None:
        """Stop before the first DFT run when no active set could be built from the initial set."""
        functions = self._training_config.functions_per_element
        counts = atoms_per_element(self.ctx.candidates.frames)
        for element in self.inputs.initial.elements:
            if counts.get(element, 0) <= functions:
                return self.exit_codes.ERROR_INITIAL_SET_TOO_SMALL.format(
                    atoms=counts.get(element, 0), element=element, functions=functions
                )
        return None

    def label(self) -> ToContext:
        """Label the candidates with DFT."""
        self._enter('label', frames=self.ctx.candidates.count)
        inputs = {**self.exposed_inputs(LabelWorkChain, 'label'), 'dataset': self.ctx.candidates}
        return ToContext(labels=self.submit_once(LabelWorkChain, f'{self.cycle_label}_label', inputs))

    def inspect_labels(self) -> ExitCode | None:
        """Take the new labels; stop when too many failed in all, or when the first ones make no fit."""
        labels = self.ctx.labels
        self.ctx.candidates, self.ctx.new_labels = None, None
        if 'output_parameters' not in labels.outputs:
            return self._stop(self.exit_codes.ERROR_LABELS_FAILED, labels)
        if 'dataset' in labels.outputs:
            self.ctx.new_labels = self.ctx.datasets[self.cycle_label] = labels.outputs.dataset
        account = labels.outputs.output_parameters
        self.ctx.requested += account['requested']
        self.ctx.failed += account['failed']
        # A cycle asks for few frames: what may fail is a share of all that the campaign has asked for.
        if self.ctx.failed > self.inputs.label.max_failed_fraction.value * self.ctx.requested:
            return self._stop(self.exit_codes.ERROR_LABELS_FAILED, labels)
        if self.ctx.potential is None and (cause := unfit_data(self.ctx.datasets, self._training_config)):
            return self._stop(self.exit_codes.ERROR_LABELS_INSUFFICIENT, cause)
        return None

    def has_new_labels(self) -> bool:
        """Return whether there is something new to learn."""
        return self.ctx.new_labels is not None

    def train(self) -> ToContext:
        """Train on everything labelled so far, continuing from the last potential."""
        self._enter('train', frames=sum(dataset.count for dataset in self.ctx.datasets.values()))
        inputs = self.exposed_inputs(TrainBaseWorkChain, 'train')
        inputs['fit'] = {**inputs['fit'], 'datasets': dict(self.ctx.datasets)}
        if self.ctx.potential is not None:
            inputs['fit']['potential'] = self.ctx.potential
        return ToContext(training_process=self.submit_once(TrainBaseWorkChain, f'{self.cycle_label}_train', inputs))

    def inspect_training(self) -> ExitCode | None:
        """Take the new potential; stop when it is not whole, handing over what there is."""
        training = self.ctx.training_process
        self.ctx.new_labels = None
        if 'potential' in training.outputs:
            self.ctx.potential = training.outputs.potential
            self.ctx.training = training.outputs.output_parameters
            self.ctx.active_set = training.outputs.active_set if 'active_set' in training.outputs else None
        if not training.is_finished_ok:
            return self._stop(self.exit_codes.ERROR_TRAINING_FAILED, training)
        self.report(
            f'{self.cycle_label}: force RMSE {1000 * self.ctx.training["rmse_f_comp"]:.0f} meV/Å, '
            f'energy RMSE {1000 * self.ctx.training["rmse_epa"]:.1f} meV/atom on the training set'
        )
        return None

    def should_run_cycle(self) -> bool:
        """Return whether to go on: not yet converged, and cycles left."""
        return not self._is_converged() and self.ctx.cycle < self.inputs.max_cycles.value

    def explore(self) -> ToContext:
        """Run the walkers with the current potential."""
        self.ctx.cycle += 1
        self._enter('explore', walkers=len(self.inputs.explore.structures))
        inputs = {**self.exposed_inputs(ExploreWorkChain, 'explore'), 'seed': self._cycle_seed()}
        inputs['lammps'] = {**inputs['lammps'], **self._potential()}
        return ToContext(exploration=self.submit_once(ExploreWorkChain, f'{self.cycle_label}_explore', inputs))

    def inspect_exploration(self) -> ExitCode | None:
        """Count the halts; a round is quiet when every walker came to its end."""
        exploration = self.ctx.exploration
        if not exploration.is_finished_ok:
            return self._stop(self.exit_codes.ERROR_EXPLORATION_FAILED, exploration)
        summary = exploration.outputs.output_parameters
        self.ctx.halted, self.ctx.failed_walkers = summary['halted'], list(summary['failed'])
        quiet = len(summary['completed']) == len(self.inputs.explore.structures)
        self.ctx.quiet_rounds = self.ctx.quiet_rounds + 1 if quiet else 0
        self.report(
            f'{self.cycle_label}: {len(self.ctx.halted)} walkers halted, {len(self.ctx.failed_walkers)} failed, '
            f'highest extrapolation grade {summary["max_grade"]:.1f}; {self.ctx.quiet_rounds} quiet rounds'
        )
        return None

    def has_halts(self) -> bool:
        """Return whether some walker met what the potential does not know."""
        return bool(self.ctx.halted)

    def select(self) -> ToContext:
        """Choose what to label around the halts."""
        self._enter('select', halts=len(self.ctx.halted))
        outputs = self.ctx.exploration.outputs
        samples = outputs.samples if 'samples' in outputs else {}
        inputs = {
            **self.exposed_inputs(CandidatesWorkChain, 'select'),
            **self._potential(),
            'extrapolative': dict(outputs.extrapolative),
            'samples': {name: frames for name, frames in samples.items() if name in self.ctx.halted},
            'known': dict(self.ctx.datasets),
            'seed': self._cycle_seed(),
        }
        return ToContext(selection=self.submit_once(CandidatesWorkChain, f'{self.cycle_label}_select', inputs))

    def inspect_selection(self) -> ExitCode | None:
        """Take the candidates; with none left, the next cycle starts with other seeds."""
        selection = self.ctx.selection
        if selection.is_finished_ok:
            self.ctx.candidates = selection.outputs.dataset
        elif selection.exit_status == CandidatesWorkChain.exit_codes.ERROR_POOL_EMPTY.status:
            self.report(f'{self.cycle_label}: {selection.exit_message}')
        else:
            return self._stop(self.exit_codes.ERROR_SELECTION_FAILED, selection)
        return None

    def has_candidates(self) -> bool:
        """Return whether there is something to label."""
        return self.ctx.candidates is not None

    def results(self) -> ExitCode | None:
        """Hand over the potential, converged or not."""
        self._attach()
        if not self._is_converged():
            self._enter('not converged')
            return self.exit_codes.ERROR_CONVERGENCE_NOT_REACHED.format(
                cycles=self.ctx.cycle, halted=len(self.ctx.halted), failed=len(self.ctx.failed_walkers)
            )
        self._enter('converged')
        self.report(f'converged after {self.ctx.cycle} cycles')
        return None

    @property
    def _training_config(self) -> TrainingConfig:
        return TrainingConfig.model_validate(self.inputs.train.fit.parameters.get_dict())

    def _is_converged(self) -> bool:
        return bool(self.ctx.quiet_rounds >= self.inputs.quiet_rounds.value)

    def _potential(self) -> dict[str, orm.Data]:
        return {'potential': self.ctx.potential, 'active_set': self.ctx.active_set}

    def _cycle_seed(self) -> orm.Int:
        """Return the seed of this cycle; walkers count up from it, so cycles lie a thousand apart."""
        return orm.Int(self.inputs.seed.value + 1000 * self.ctx.cycle)

    def _enter(self, phase: str, **numbers: int) -> None:
        """Say where the campaign stands: on the node for `aiida-pace status`, and in the report."""
        labels = sum(dataset.count for dataset in self.ctx.datasets.values())
        state = {'cycle': self.ctx.cycle, 'phase': phase, 'labels': labels, 'quiet_rounds': self.ctx.quiet_rounds}
        self.node.base.extras.set(CAMPAIGN_EXTRA, state | numbers)
        details = ', '.join(f'{number} {name}' for name, number in numbers.items())
        self.report(f'{self.cycle_label}: {phase}' + (f' ({details})' if details else ''))

    def _attach(self) -> None:
        """Attach all outputs there are; also a campaign that fails hands over what it has."""
        for name in ('potential', 'active_set', 'training'):
            if self.ctx[name] is not None:
                self.out(name, self.ctx[name])
        for name, dataset in self.ctx.datasets.items():
            self.out(f'datasets.{name}', dataset)

    def _stop(self, exit_code: ExitCode, cause: orm.ProcessNode | str) -> ExitCode:
        """Attach what there is and return ``exit_code`` with its cause: a sentence, or the child that failed."""
        self._attach()
        self._enter('failed')
        return exit_code.format(step=self.cycle_label, cause=cause if isinstance(cause, str) else cause_of(cause))
