"""The loop, and only the loop: label, train, explore, select, audit, judge, until the potential can be trusted."""

from __future__ import annotations

import typing as t
from pathlib import Path

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ToContext, if_, while_
from aiida.engine.processes.workchains.workchain import WorkChainSpec
from aiida_quantumespresso.workflows.protocols.utils import ProtocolMixin

from aiida_pace.calculations.evaluate import PaceEvaluateCalculation
from aiida_pace.calculations.functions.audit import (
    concatenate_frames,
    draw_frames,
    split_labels,
    summarise_audit,
)
from aiida_pace.calculations.functions.judge import judge_cycle, weighted_error
from aiida_pace.campaign.history import best_cycle
from aiida_pace.campaign.judge import Action, Reason
from aiida_pace.workflows.campaign_base import CampaignWorkChain
from aiida_pace.workflows.campaign_ports import define_inputs, define_outputs
from aiida_pace.workflows.candidates import CandidatesWorkChain
from aiida_pace.workflows.check.base import CheckWorkChain, check_inputs
from aiida_pace.workflows.explore import ExploreWorkChain
from aiida_pace.workflows.graph import cause_of
from aiida_pace.workflows.initial import InitialSetWorkChain
from aiida_pace.workflows.label.base import LabelWorkChain
from aiida_pace.workflows.label.reuse import label_costs
from aiida_pace.workflows.protocols import fill_builder
from aiida_pace.workflows.resumable import labelled
from aiida_pace.workflows.train.base import TrainBaseWorkChain
from aiida_pace.workflows.validate import ValidateWorkChain
from aiida_pace.workflows.validators import validate_training_data

__all__ = ('ActiveLearningWorkChain',)


class ActiveLearningWorkChain(ProtocolMixin, CampaignWorkChain):
    """Make an ACE potential from nothing, or from labelled frames, by active learning.

    An initial set is generated and labelled with DFT (``initial``, ``label``); a potential is trained on it, with its
    active set (``train``). Then, in cycles: walkers explore with molecular dynamics until one meets an extrapolation
    grade that says "unknown" (``explore``); around each halt candidates are made, and the most informative ones are
    kept (``select``); frames drawn at random are added (``audit``); all are labelled. The error of the potential on the
    audit frames, which are never trained on, is what the campaign is judged by (``stop``): it has converged when the
    walkers of the last of its ``stages`` are quiet, the audit error is within its target, and the properties
    (``validate``) are as DFT says. ``get_builder_from_protocol`` fills in all inputs.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        define_inputs(spec)
        spec.outline(
            cls.setup,
            if_(cls.should_check)(cls.check, cls.inspect_check),
            if_(cls.should_label_initial)(
                cls.generate_initial,
                cls.inspect_initial,
                cls.label,
                cls.inspect_labels,
            ),
            if_(cls.should_train)(cls.train, cls.inspect_training),
            while_(cls.should_run_cycle)(
                cls.explore,
                cls.inspect_exploration,
                cls.draw,
                if_(cls.has_halts)(cls.select, cls.inspect_selection),
                if_(cls.has_frames_to_label)(cls.label, cls.inspect_labels),
                if_(cls.has_audit)(cls.audit, cls.inspect_audit),
                cls.judge,
                if_(cls.should_validate)(cls.validate, cls.inspect_validation, cls.judge),
                if_(cls.should_train)(cls.train, cls.inspect_training),
            ),
            cls.choose_potential,
            if_(cls.should_validate_result)(cls.validate, cls.inspect_validation),
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

    def should_check(self) -> bool:
        """Return whether to try all codes first."""
        return bool(self.inputs.check.value)

    def check(self) -> ToContext:
        """Try every code on something tiny."""
        self._enter('check')
        inputs = check_inputs(self.inputs, self._elements)
        return ToContext(check_process=self.submit(CheckWorkChain, labelled('check', inputs)))

    def inspect_check(self) -> ExitCode | None:
        """Stop before the first DFT run when a code does not work."""
        process = self.ctx.check_process
        return None if process.is_finished_ok else self._stop(self.exit_codes.ERROR_CHECK_FAILED, process)

    def should_label_initial(self) -> bool:
        """Return whether an initial set has to be made and labelled."""
        return not self.ctx.datasets

    def generate_initial(self) -> ToContext:
        """Choose the structures that are labelled first."""
        self._enter('generate')
        inputs = {**self.exposed_inputs(InitialSetWorkChain, 'initial'), 'seed': self.inputs.seed}
        inputs['basis'] = {**inputs.get('basis', {}), 'parameters': self.inputs.train.fit.parameters}
        return ToContext(initial=self.submit(InitialSetWorkChain, labelled('initial_generate', inputs)))

    def inspect_initial(self) -> ExitCode | None:
        """Stop before the first DFT run when there is no initial set."""
        if not self.ctx.initial.is_finished_ok:
            return self._stop(self.exit_codes.ERROR_INITIAL_SET_FAILED, self.ctx.initial)
        self.ctx.candidates = self.ctx.initial.outputs.dataset
        return None

    def has_frames_to_label(self) -> bool:
        """Return whether there is something to label."""
        return self.ctx.candidates is not None or bool(self.ctx.drawn)

    def label(self) -> ToContext:
        """Label the candidates, and with them the frames drawn at random, with DFT."""
        candidates = {} if self.ctx.candidates is None else {'candidates': self.ctx.candidates}
        dataset = self._concatenated({**candidates, **self.ctx.drawn}, 'frames')
        self._enter('label', frames=dataset.count)
        inputs = {**self.exposed_inputs(LabelWorkChain, 'label'), 'dataset': dataset}
        return ToContext(labels=self.submit(LabelWorkChain, labelled(f'{self.cycle_label}_label', inputs)))

    def _concatenated(self, datasets: t.Mapping[str, t.Any], what: str) -> t.Any:
        """Return the frames of several data sets as one; a single one stays as it is."""
        if len(datasets) == 1:
            return next(iter(datasets.values()))
        return concatenate_frames(**datasets, metadata={'call_link_label': f'{self.cycle_label}_{what}'})

    def inspect_labels(self) -> ExitCode | None:
        """Take the new labels; stop when too many failed in all, or when the first ones make no fit."""
        labels = self.ctx.labels
        if 'output_parameters' not in labels.outputs:
            return self._stop(self.exit_codes.ERROR_LABELS_FAILED, labels)
        account = labels.outputs.output_parameters
        self.ctx.requested += account['requested']
        self.ctx.failed += account['failed']
        self.ctx.core_seconds += account['core_seconds']
        if 'dataset' in labels.outputs:
            self._take_labels(labels.outputs.dataset)
        # A cycle asks for few frames: what may fail is a share of all that the campaign has asked for.
        if self.ctx.failed > self.inputs.label.max_failed_fraction.value * self.ctx.requested:
            return self._stop(self.exit_codes.ERROR_LABELS_FAILED, labels)
        if self.ctx.potential is None and (cause := validate_training_data(self.ctx.datasets, self._training_config)):
            return self._stop(self.exit_codes.ERROR_LABELS_INSUFFICIENT, cause)
        return None

    def _take_labels(self, labels: t.Any) -> None:
        """Set the audit frames apart from what is trained on."""
        costs = label_costs(labels)
        parts = split_labels(labels, metadata={'call_link_label': f'{self.cycle_label}_split'})
        if 'audit' in parts:
            self.ctx.audits[self.cycle_label] = parts['audit']
            self.ctx.audited[self.cycle_label] = {'potential': self.ctx.potential.uuid, 'stage': self.ctx.stage}
        if 'training' in parts:
            self._add_training_set(self.cycle_label, parts['training'])
            self.ctx.new_labels = parts['training'].count
            self.ctx.training_core_seconds += sum(
                cost for cost, origin in zip(costs, labels.frames.origin, strict=True) if origin != 'audit'
            )

    def should_train(self) -> bool:
        """Return whether there is something new to learn, or a larger basis to learn it with."""
        return self.ctx.active_set is None or self.ctx.new_labels > 0 or self._verdict('action') == Action.GROW_BASIS

    def train(self) -> ToContext:
        """Train on everything labelled so far, but for audits, continuing from the last potential."""
        self._enter('train', frames=sum(dataset.count for dataset in self.ctx.datasets.values()))
        inputs = self.exposed_inputs(TrainBaseWorkChain, 'train')
        inputs['fit'] = {**inputs['fit'], 'datasets': self.ctx.datasets}
        if self.ctx.potential is not None:
            inputs['fit']['potential'] = self.ctx.potential
        if self.ctx.functions is not None:
            parameters = {**inputs['fit']['parameters'].get_dict(), 'functions_per_element': self.ctx.functions}
            inputs['fit']['parameters'] = orm.Dict(parameters)
        return ToContext(
            training_process=self.submit(TrainBaseWorkChain, labelled(f'{self.cycle_label}_train', inputs))
        )

    def inspect_training(self) -> ExitCode | None:
        """Take the new potential; stop when it is not whole, handing over what there is."""
        training = self.ctx.training_process
        if 'potential' in training.outputs:
            self._take_potential(training)
        if not training.is_finished_ok:
            return self._stop(self.exit_codes.ERROR_TRAINING_FAILED, training)
        forces, energies = (weighted_error(self.ctx.training, name) for name in ('rmse_f_comp', 'rmse_epa'))
        self.report(
            f'{self.cycle_label}: force RMSE {1000 * forces:.0f} meV/Å, energy RMSE {1000 * energies:.1f} meV/atom on '
            'the training set'
        )
        return None

    def should_run_cycle(self) -> bool:
        """Return whether to go on: the last verdict was neither the end nor convergence."""
        return self._verdict('action') not in (Action.STOP, Action.CONVERGED)

    def explore(self) -> ToContext:
        """Run the walkers of the current stage with the current potential."""
        self._begin_cycle()
        self._enter('explore', walkers=len(self._walkers), stage=self.ctx.stage + 1)
        inputs = {**self.exposed_inputs(ExploreWorkChain, 'explore'), 'seed': self._cycle_seed()}
        inputs['structures'] = self._walkers
        inputs['lammps'] = {**inputs['lammps'], **self._potential(), 'parameters': self._stage_parameters()}
        return ToContext(exploration=self.submit(ExploreWorkChain, labelled(f'{self.cycle_label}_explore', inputs)))

    def inspect_exploration(self) -> ExitCode | None:
        """Count the halts."""
        exploration = self.ctx.exploration
        if not exploration.is_finished_ok:
            return self._stop(self.exit_codes.ERROR_EXPLORATION_FAILED, exploration)
        summary = exploration.outputs.output_parameters
        self.ctx.halted = summary['halted']
        self.report(
            f'{self.cycle_label}: {len(self.ctx.halted)} walkers halted, {len(summary["failed"])} failed, '
            f'highest extrapolation grade {summary["max_grade"]:.1f}'
        )
        return None

    def draw(self) -> None:
        """Draw frames from the MD below the halting threshold, before candidates are chosen from it.

        Those of the audit, and others to train on where the last verdict asks for more than halts bring up.
        """
        samples = {f'samples__{name}': node for name, node in self._samples().items()}
        if samples:
            known = {f'known__{name}': node for name, node in self._known().items()}
            self.ctx.drawn = draw_frames(
                self.inputs.audit,
                orm.Int(self._growth_config.frames if self._wants_random_training_frames else 0),
                orm.Int(self._max_dft_atoms),
                self._cycle_seed(),
                **samples,
                **known,
                metadata={'call_link_label': f'{self.cycle_label}_draw'},
            )

    def has_halts(self) -> bool:
        """Return whether some walker met what the potential does not know."""
        return bool(self.ctx.halted)

    def select(self) -> ToContext:
        """Choose what to label around the halts."""
        self._enter('select', halts=len(self.ctx.halted))
        known = self._known() | {f'drawn_{name}': node for name, node in self.ctx.drawn.items()}
        inputs = {
            **self.exposed_inputs(CandidatesWorkChain, 'select'),
            **self._potential(),
            'extrapolative': dict(self.ctx.exploration.outputs.extrapolative),
            'samples': {name: frames for name, frames in self._samples().items() if name in self.ctx.halted},
            'known': known,
            'seed': self._cycle_seed(),
        }
        return ToContext(selection=self.submit(CandidatesWorkChain, labelled(f'{self.cycle_label}_select', inputs)))

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

    def has_audit(self) -> bool:
        """Return whether there are audit frames that may speak for the current potential."""
        return bool(self._audits_of_potential())

    def audit(self) -> ToContext:
        """Evaluate the potential that made the MD on the audit frames."""
        audits = self._audits_of_potential()
        dataset = self._concatenated(audits, 'audit_frames')
        self._enter('audit', frames=dataset.count)
        inputs = {**self.inputs.select.evaluate, **self._potential(), 'dataset': dataset}
        return ToContext(
            audit_process=self.submit(PaceEvaluateCalculation, labelled(f'{self.cycle_label}_audit', inputs))
        )

    def inspect_audit(self) -> None:
        """Compute the error on the audit frames; without it the campaign goes on, and is not converged."""
        process = self.ctx.audit_process
        if not process.is_finished_ok:
            self.report(f'{self.cycle_label}: no audit: {cause_of(process)}')
            return
        self.ctx.audit = summarise_audit(
            process.inputs.dataset,
            process.outputs.evaluation,
            self.inputs.audit,
            orm.Float(self._stop_config.target),
            metadata={'call_link_label': f'{self.cycle_label}_audit_errors'},
        )

    def judge(self) -> None:
        """Decide what comes next: the next cycle, the next stage, a larger basis, or the end."""
        evidence = {
            'training': self.ctx.training,
            'audit': self.ctx.audit,
            'validation': self.ctx.gates,
            'previous': self.ctx.previous,
        }
        self.ctx.verdict = judge_cycle(
            orm.Dict(self._numbers()),
            self.inputs.stop,
            self.inputs.growth,
            self.ctx.exploration.outputs.output_parameters,
            **{name: node for name, node in evidence.items() if node is not None},
            metadata={'call_link_label': f'{self.cycle_label}_judge' + ('_again' if self.ctx.gates else '')},
        )
        action = self._verdict('action')
        if action == Action.NEXT_STAGE:
            self.ctx.stage += 1
        elif action == Action.GROW_BASIS:
            self.ctx.functions = self._verdict('functions')
        elif action == Action.LEARN and self.ctx.gates is not None:
            self._learn_validation()
        self.report(f'{self.cycle_label}: {action.replace("_", " ")}: {self._verdict("message")}')

    def should_validate(self) -> bool:
        """Return whether the properties of the potential are all that is left to look at."""
        return self._verdict('action') == Action.VALIDATE

    def validate(self) -> ToContext:
        """Compare properties of the potential with DFT."""
        self._enter('validate', structures=len(self.inputs.validate.structures))
        inputs = {**self.exposed_inputs(ValidateWorkChain, 'validate'), **self._potential()}
        inputs['label'] = {
            name: value
            for name, value in self.exposed_inputs(LabelWorkChain, 'label').items()
            if name != 'duplicate_tolerance'
        }
        inputs['evaluate'] = self.inputs.select.evaluate
        # In the last cycle one potential may have been validated, and another one is handed over.
        label = f'{self.cycle_label}_validate' + ('' if self._verdict('action') == Action.VALIDATE else '_again')
        return ToContext(validation=self.submit(ValidateWorkChain, labelled(label, inputs)))

    def inspect_validation(self) -> None:
        """Take the properties; what could not be validated has not passed."""
        validation = self.ctx.validation
        outputs = validation.outputs
        if not validation.is_finished_ok:
            self.report(f'{self.cycle_label}: validation failed: {cause_of(validation)}')
        self.ctx.gates = outputs.gates if 'gates' in outputs else orm.Dict({'passed': False})
        for account in dict(outputs.accounts).values() if 'accounts' in outputs else ():
            self.ctx.core_seconds += account['core_seconds']

    def choose_potential(self) -> None:
        """Take the potential with the best audit error, when that is not the last one."""
        history = self._history
        best = best_cycle(history)
        if self._verdict('action') != Action.CONVERGED and best is not None and best < len(history) - 1:
            self._take_up(history[best].potential)
            self.report(f'the potential of cycle {best + 1} has the best audit error: it is handed over')

    def should_validate_result(self) -> bool:
        """Return whether the potential that is handed over has not been validated yet."""
        return 'validate' in self.inputs and self.ctx.active_set is not None and self.ctx.gates is None

    def results(self) -> ExitCode | None:
        """Hand over the potential, converged or not."""
        self._attach()
        message = self._verdict('message')
        if self._verdict('action') == Action.CONVERGED:
            self._enter('converged')
            self.report(f'converged after {self.ctx.cycle} cycles: {message}')
            return None
        self._enter('not converged')
        exit_code = {
            Reason.NO_IMPROVEMENT: self.exit_codes.ERROR_NO_IMPROVEMENT,
            Reason.BUDGET_SPENT: self.exit_codes.ERROR_BUDGET_SPENT,
        }.get(Reason(self._verdict('reason')), self.exit_codes.ERROR_CONVERGENCE_NOT_REACHED)
        return exit_code.format(message=message)
