"""The loop, and only the loop: label, train, explore, select, audit, judge, until the potential can be trusted."""

from __future__ import annotations

import typing as t
from pathlib import Path

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ToContext, if_, while_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.calculations.evaluate import PaceEvaluateCalculation
from aiida_pace.calculations.functions.audit import (
    concatenate_frames,
    draw_frames,
    summarise_audit,
)
from aiida_pace.calculations.functions.judge import judge_cycle, weighted_error
from aiida_pace.campaign.judge import Action, Reason
from aiida_pace.campaign.phases import Phase, Step
from aiida_pace.workflows.campaign_base import CampaignWorkChain
from aiida_pace.workflows.campaign_ports import define_inputs, define_outputs
from aiida_pace.workflows.candidates import CandidatesWorkChain
from aiida_pace.workflows.check.base import CheckWorkChain, check_inputs
from aiida_pace.workflows.explore import ExploreWorkChain
from aiida_pace.workflows.graph import cause_of
from aiida_pace.workflows.initial import InitialSetWorkChain
from aiida_pace.workflows.label.base import LabelWorkChain
from aiida_pace.workflows.protocols import ProtocolMixin, fill_builder, protocol_inputs
from aiida_pace.workflows.resumable import labelled
from aiida_pace.workflows.train.base import TrainBaseWorkChain
from aiida_pace.workflows.validate import ValidateWorkChain
from aiida_pace.workflows.validators import validate_training_data

__all__ = ('ActiveLearningWorkChain',)


class ActiveLearningWorkChain(ProtocolMixin, CampaignWorkChain):  # type: ignore[misc]
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
        steps: t.Any = cls  # for `outline`, steps are functions of any work chain
        spec.outline(
            steps.setup,
            if_(steps.should_check)(steps.check, steps.inspect_check),
            if_(steps.should_label_initial)(
                steps.generate_initial, steps.inspect_initial, steps.label, steps.inspect_labels
            ),
            if_(steps.should_train)(steps.train, steps.inspect_training),
            while_(steps.should_run_cycle)(
                steps.explore,
                steps.inspect_exploration,
                steps.draw,
                if_(steps.has_halts)(steps.select, steps.inspect_selection),
                if_(steps.has_frames_to_label)(steps.label, steps.inspect_labels),
                if_(steps.has_audit)(steps.audit, steps.inspect_audit),
                steps.judge,
                if_(steps.should_validate)(steps.validate, steps.inspect_validation, steps.judge),
                if_(steps.should_train)(steps.train, steps.inspect_training),
            ),
            if_(steps.should_validate_result)(steps.validate_result, steps.inspect_validation),
            steps.results,
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

        :param codes: a code, or its label, for each of `check.trials.code_names`: ``pace_label`` takes the place of
            ``pw`` when the overrides have ``label.calculator``.
        :param structures: where the walkers start, by name.
        :param protocol: name of the protocol, the default one when None.
        :param overrides: values that come before the protocol's, nested like the inputs. ``label.pw.pseudo_family``
            is the label of the pseudopotential family; when that recommends no cutoffs, give ``ecutwfc`` and
            ``ecutrho`` in ``label.pw.pw.parameters.SYSTEM``.
        :param options: ``metadata.options`` of every job, such as ``queue_name``.
        :raises ValueError: when a code is missing, the protocol unknown, or a pseudopotential not installed.
        """
        inputs = protocol_inputs(cls, protocol, overrides)
        return fill_builder(cls.get_builder(), codes, structures, inputs, options or {})

    def should_check(self) -> bool:
        """Return whether to try all codes first."""
        return bool(self.inputs.check.value)

    def check(self) -> ToContext[str, t.Any]:
        """Try every code on something tiny."""
        self._enter(Phase.CHECK)
        inputs = check_inputs(self.inputs, self._elements)
        return ToContext(check_process=self.submit(CheckWorkChain, labelled(Step(Phase.CHECK).label, inputs)))

    def inspect_check(self) -> ExitCode | None:
        """Stop before the first DFT run when a code does not work."""
        process = self.ctx.check_process
        return None if process.is_finished_ok else self._stop(self.exit_codes.ERROR_CHECK_FAILED, process)

    def should_label_initial(self) -> bool:
        """Return whether an initial set has to be made and labelled."""
        return not self.ctx.state.training

    def generate_initial(self) -> ToContext[str, t.Any]:
        """Choose the structures that are labelled first."""
        self._enter(Phase.GENERATE)
        inputs = {**self.exposed_inputs(InitialSetWorkChain, 'initial'), 'seed': self.inputs.seed}
        inputs['basis'] = {**inputs.get('basis', {}), 'parameters': self.inputs.train.fit.parameters}
        inputs['closest'] = self.inputs.closest
        return ToContext(initial=self.submit(InitialSetWorkChain, labelled(self._label(Phase.GENERATE), inputs)))

    def inspect_initial(self) -> ExitCode | None:
        """Stop before the first DFT run when there is no initial set."""
        if not self.ctx.initial.is_finished_ok:
            return self._stop(self.exit_codes.ERROR_INITIAL_SET_FAILED, self.ctx.initial)
        self.ctx.candidates = self.ctx.initial.outputs.dataset
        return None

    def has_frames_to_label(self) -> bool:
        """Return whether there is something to label."""
        return self.ctx.candidates is not None or self.ctx.drawn is not None

    def label(self) -> ToContext[str, t.Any]:
        """Label the candidates, and with them the frames drawn at random, with DFT."""
        dataset = self.ctx.drawn if self.ctx.candidates is None else self.ctx.candidates
        self._enter(Phase.LABEL, frames=dataset.count)
        inputs = {**self.exposed_inputs(LabelWorkChain, 'label'), 'dataset': dataset, 'closest': self.inputs.closest}
        return ToContext(labels=self.submit(LabelWorkChain, labelled(self._label(Phase.LABEL), inputs)))

    def inspect_labels(self) -> ExitCode | None:
        """Take the new labels; stop when too many failed in all, or when the first ones make no fit."""
        labels = self.ctx.labels
        self._read_state()
        state = self.ctx.state
        # A cycle asks for few frames: what may fail is a share of all that the campaign has asked for.
        has_failed = state.failed > self.inputs.label.max_failed_fraction.value * state.requested
        if has_failed or 'output_parameters' not in labels.outputs:
            return self._stop(self.exit_codes.ERROR_LABELS_FAILED, labels)
        if state.potential is None:
            cause = validate_training_data(self._training_sets(), self._training_config)
            return self._stop(self.exit_codes.ERROR_LABELS_INSUFFICIENT, cause) if cause else None
        return None

    def should_train(self) -> bool:
        """Return whether there is something new to learn, or a larger basis to learn it with."""
        return bool(self.ctx.state.needs_training)

    def train(self) -> ToContext[str, t.Any]:
        """Train on everything labelled so far, but for audits, continuing from the last potential."""
        state = self.ctx.state
        self._enter(Phase.TRAIN, frames=state.labels)
        inputs = self.exposed_inputs(TrainBaseWorkChain, 'train')
        inputs['fit'] = {**inputs['fit'], 'datasets': self._training_sets()}
        if state.potential is not None:
            inputs['fit']['potential'] = self._potential()['potential']
        if state.functions is not None:
            parameters = {**inputs['fit']['parameters'].get_dict(), 'functions_per_element': state.functions}
            inputs['fit']['parameters'] = orm.Dict(parameters)
        return ToContext(training_process=self.submit(TrainBaseWorkChain, labelled(self._label(Phase.TRAIN), inputs)))

    def inspect_training(self) -> ExitCode | None:
        """Take the new potential; stop when it is not whole, handing over what there is."""
        training = self.ctx.training_process
        self._read_state()
        if not training.is_finished_ok:
            if self.ctx.state.potential is None and 'potential' in training.outputs:
                self.out('potential', training.outputs.potential)
            return self._stop(self.exit_codes.ERROR_TRAINING_FAILED, training)
        errors = training.outputs.output_parameters
        forces, energies = (weighted_error(errors, name) for name in ('rmse_f_comp', 'rmse_epa'))
        self.report(
            f'{self.cycle_label}: force RMSE {1000 * forces:.0f} meV/Å, energy RMSE {1000 * energies:.1f} meV/atom on '
            'the training set'
        )
        return None

    def should_run_cycle(self) -> bool:
        """Return whether to go on: the last verdict of this run was neither the end nor convergence."""
        return self._action not in (Action.STOP, Action.CONVERGED)

    @property
    def _action(self) -> Action | None:
        """What the judge said comes next, in this run; None before its first verdict."""
        verdict = self.ctx.state.verdict
        return None if self.ctx.state.cycle == self.ctx.first_cycle else verdict.action

    def explore(self) -> ToContext[str, t.Any]:
        """Run the walkers of the current stage with the current potential."""
        self._begin_cycle()
        self._enter(Phase.EXPLORE, walkers=len(self._walkers), stage=self.ctx.state.stage + 1)
        inputs = {**self.exposed_inputs(ExploreWorkChain, 'explore'), 'seed': self._cycle_seed()}
        inputs['structures'] = self._walkers
        inputs['lammps'] = {**inputs['lammps'], **self._potential(), 'parameters': self._stage_parameters()}
        return ToContext(exploration=self.submit(ExploreWorkChain, labelled(self._label(Phase.EXPLORE), inputs)))

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
            drawn = draw_frames(
                self.inputs.audit,
                orm.Int(self._growth_config.frames if self.ctx.state.wants_random_frames else 0),
                orm.Int(self._max_dft_atoms),
                self._cycle_seed(),
                **samples,
                **known,
                metadata={'call_link_label': self._label(Phase.DRAW)},  # type: ignore[arg-type]
            )
            self.ctx.drawn = drawn.get('dataset')

    def has_halts(self) -> bool:
        """Return whether some walker met what the potential does not know."""
        return bool(self.ctx.halted)

    def select(self) -> ToContext[str, t.Any]:
        """Choose what to label around the halts."""
        self._enter(Phase.SELECT, halts=len(self.ctx.halted))
        inputs = {
            **self.exposed_inputs(CandidatesWorkChain, 'select'),
            **self._potential(),
            **({} if self.ctx.drawn is None else {'drawn': self.ctx.drawn}),
            'evaluate': self.inputs.evaluate,
            'closest': self.inputs.closest,
            'extrapolative': dict(self.ctx.exploration.outputs.extrapolative),
            'samples': {name: frames for name, frames in self._samples().items() if name in self.ctx.halted},
            'known': self._known(),
            'seed': self._cycle_seed(),
        }
        return ToContext(selection=self.submit(CandidatesWorkChain, labelled(self._label(Phase.SELECT), inputs)))

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

    def audit(self) -> ToContext[str, t.Any]:
        """Evaluate the potential that made the MD on the audit frames."""
        audits = self._audit_sets(self._audits_of_potential())
        dataset = next(iter(audits.values()))
        if len(audits) > 1:
            dataset = concatenate_frames(**audits, metadata={'call_link_label': self._label(Phase.GATHER_AUDIT)})  # type: ignore[arg-type]
        self._enter(Phase.AUDIT, frames=dataset.count)
        inputs = {**self.inputs.evaluate, **self._potential(), 'dataset': dataset}
        label = self._label(Phase.AUDIT)
        return ToContext(audit_process=self.submit(PaceEvaluateCalculation, labelled(label, inputs)))

    def inspect_audit(self) -> None:
        """Compute the error on the audit frames; without it the campaign goes on, and is not converged."""
        process = self.ctx.audit_process
        if not process.is_finished_ok:
            self.report(f'{self.cycle_label}: no audit: {cause_of(process)}')
            return
        self.ctx.audit = summarise_audit(  # type: ignore[call-arg]
            process.inputs.dataset,
            process.outputs.evaluation,
            self.inputs.audit,
            orm.Float(self._stop_config.target),
            metadata={'call_link_label': self._label(Phase.AUDIT_ERRORS)},
        )

    def judge(self) -> None:
        """Decide what comes next: the next cycle, the next stage, a larger basis, or the end."""
        errors = self.ctx.state.potentials[self.ctx.state.potential].errors
        gates = self._new_gates()
        evidence = {
            'training': None if errors is None else orm.load_node(errors),
            'audit': self.ctx.audit,
            'validation': gates,
            'previous': None if self.ctx.previous is None else orm.load_node(self.ctx.previous),
        }
        judge_cycle(  # type: ignore[call-arg]
            orm.Dict(self._numbers()),
            self.inputs.stop,
            self.inputs.growth,
            self.ctx.exploration.outputs.output_parameters,
            **{name: node for name, node in evidence.items() if node is not None},
            metadata={'call_link_label': self._label(Phase.JUDGE, again=gates is not None)},
        )
        self._read_state()
        verdict = self.ctx.state.verdict
        self.report(f'{self.cycle_label}: {verdict.action.value.replace("_", " ")}: {verdict.message}')

    def _new_gates(self) -> orm.Dict | None:
        """Return what came of the validation of this cycle; None when there was none, or nobody knows."""
        state = self.ctx.state
        validation = state.validations.get(state.potential)
        if not state.is_validated(state.potential) or validation.cycle != self.ctx.cycle:
            return None
        gates = orm.Dict({'passed': False}) if validation.gates is None else orm.load_node(validation.gates)
        return t.cast(orm.Dict, gates)

    def should_validate(self) -> bool:
        """Return whether the properties of the potential are all that is left to look at."""
        return self._action == Action.VALIDATE

    def validate(self) -> ToContext[str, t.Any]:
        """Compare properties of the last potential with DFT."""
        return self._run_validation(self.ctx.state.potential, self._label(Phase.VALIDATE))

    def _run_validation(self, potential: str | None, label: str) -> ToContext[str, t.Any]:
        self._enter(Phase.VALIDATE, structures=len(self.inputs.validate.structures))
        inputs = {**self.exposed_inputs(ValidateWorkChain, 'validate'), **self._potential(potential)}
        inputs['label'] = {'closest': self.inputs.closest} | {
            name: value
            for name, value in self.exposed_inputs(LabelWorkChain, 'label').items()
            if name != 'duplicate_tolerance'
        }
        inputs['evaluate'] = self.inputs.evaluate
        return ToContext(validation=self.submit(ValidateWorkChain, labelled(label, inputs)))

    def inspect_validation(self) -> None:
        """Take the properties; what could not be validated has not passed."""
        validation = self.ctx.validation
        self._read_state()
        if not validation.is_finished_ok:
            self.report(f'{self.cycle_label}: validation failed: {cause_of(validation)}')

    def should_validate_result(self) -> bool:
        """Return whether the potential that is handed over has not been validated yet."""
        return 'validate' in self.inputs and not self.ctx.state.is_validated(self._best_potential)

    def validate_result(self) -> ToContext[str, t.Any]:
        """Compare properties of the potential that is handed over with DFT."""
        # In the last cycle one potential may have been validated, and another one is handed over.
        return self._run_validation(self._best_potential, self._label(Phase.VALIDATE, again=True))

    def results(self) -> ExitCode | None:
        """Hand over the potential, converged or not."""
        self._attach()
        verdict = self.ctx.state.verdict
        if verdict.action is Action.CONVERGED:
            self._enter('converged')
            self.report(f'converged after {self.ctx.cycle} cycles: {verdict.message}')
            return None
        if self._best_potential != self.ctx.state.potential:
            self.report('an earlier potential has the lowest audit error: that potential is the output')
        self._enter('not converged')
        exit_code = {
            Reason.NO_IMPROVEMENT: self.exit_codes.ERROR_NO_IMPROVEMENT,
            Reason.BUDGET_SPENT: self.exit_codes.ERROR_BUDGET_SPENT,
        }.get(verdict.reason, self.exit_codes.ERROR_CONVERGENCE_NOT_REACHED)
        return exit_code.format(message=verdict.message)  # type: ignore[no-any-return]
