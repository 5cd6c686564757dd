"""From halted frames to the few candidates that teach the potential most."""

from __future__ import annotations

import typing as t

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, ToContext, if_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.calculations.evaluate import PaceEvaluateCalculation
from aiida_pace.calculations.functions.candidates import make_candidate_pool, take_above_grade, take_highest_grades
from aiida_pace.calculations.select import PaceSelectCalculation
from aiida_pace.config import SwarmConfig
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.workflows.lane import ResumableWorkChain, cause_of
from aiida_pace.workflows.validators import validate_config, validate_positive

__all__ = ('CandidatesWorkChain',)

#: Inputs that the work chain itself passes on to both calculations.
SHARED = ('dataset', 'potential', 'active_set')


class CandidatesWorkChain(ResumableWorkChain):
    """Make a swarm around every halted frame, keep what is extrapolative, choose the most informative by MaxVol."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace(
            'extrapolative',
            valid_type=AtomsDatasetData,
            dynamic=True,
            help='By walker: its extrapolative frames; around those of origin `halt` a swarm is made.',
        )
        spec.input_namespace(
            'samples',
            valid_type=AtomsDatasetData,
            dynamic=True,
            required=False,
            help='By walker: frames from before the halt, the way out when the guards reject all others.',
        )
        spec.input_namespace(
            'known',
            valid_type=AtomsDatasetData,
            dynamic=True,
            required=False,
            help='Frames that are labelled already: no candidate is one of them.',
        )
        spec.input('potential', valid_type=AcePotentialData, help='The potential that ran into the halts.')
        spec.input('active_set', valid_type=AceActiveSetData, help='Its active set.')
        spec.input(
            'swarm',
            valid_type=orm.Dict,
            default=orm.Dict,
            validator=validate_config(SwarmConfig),
            help='Settings of `SwarmConfig`: the candidates made around each halted frame.',
        )
        spec.input('seed', valid_type=orm.Int, help='Random seed of the swarms.')
        spec.input(
            'grade_threshold',
            valid_type=orm.Float,
            default=lambda: orm.Float(2.0),
            help='Candidates below this extrapolation grade teach little and are left out.',
        )
        spec.input(
            'max_per_halt',
            valid_type=orm.Int,
            default=lambda: orm.Int(5),
            validator=validate_positive,
            help='Number of candidates kept per halted walker.',
        )
        spec.expose_inputs(PaceEvaluateCalculation, namespace='evaluate', exclude=SHARED)
        spec.expose_inputs(PaceSelectCalculation, namespace='select', exclude=(*SHARED, 'max_frames'))
        spec.inputs.validator = cls.validate_inputs
        spec.outline(
            cls.make_pool,
            cls.inspect_pool,
            cls.evaluate,
            cls.inspect_evaluation,
            if_(cls.should_select)(cls.select, cls.inspect_selection),
            cls.results,
        )
        spec.output('dataset', valid_type=AtomsDatasetData, required=False, help='The candidates to label.')
        spec.output('output_parameters', valid_type=orm.Dict, help='Candidates made, and rejected by cause.')
        spec.exit_code(
            410,
            'ERROR_POOL_EMPTY',
            message='every candidate was rejected ({causes}), and no frame before the halts was acceptable: lower the '
            'temperature, shorten the time step, or add short distances to the initial set.',
        )
        spec.exit_code(
            411, 'ERROR_EVALUATION_FAILED', message='the grades of the candidates could not be computed: {cause}'
        )
        spec.exit_code(
            412, 'ERROR_SELECTION_FAILED', message='`pace_select` could not choose among the candidates: {cause}'
        )

    @classmethod
    def validate_inputs(cls, value: t.Any, _: t.Any) -> str | None:
        """Refuse an active set of another potential."""
        if 'active_set' in value and 'potential' in value and not value['active_set'].matches(value['potential']):
            return '`active_set` belongs to another potential: build it anew with `pace.active_set` for `potential`.'
        return None

    @property
    def max_frames(self) -> int:
        """Largest number of candidates to keep."""
        halts = sum(int(np.sum(node.frames.origin == 'halt')) for node in self.inputs.extrapolative.values())
        return int(self.inputs.max_per_halt.value) * max(1, halts)

    def make_pool(self) -> None:
        """Make the swarms and let the guards judge them."""
        frames = {
            f'{kind}__{name}': node
            for kind in ('extrapolative', 'samples', 'known')
            for name, node in self.inputs.get(kind, {}).items()
        }
        results = make_candidate_pool(self.inputs.swarm, self.inputs.seed, **frames)
        self.out('output_parameters', results['output_parameters'])
        self.ctx.pool = results.get('pool')

    def inspect_pool(self) -> ExitCode | None:
        """Stop when the guards left nothing."""
        account = self.outputs['output_parameters']
        causes = ', '.join(f'{count} x {cause}' for cause, count in account['rejected'].items())
        self.report(f'{account["candidates"]} candidates; rejected: {causes or "none"}')
        if self.ctx.pool is None:
            return self.exit_codes.ERROR_POOL_EMPTY.format(causes=causes)
        return None

    def evaluate(self) -> ToContext:
        """Compute the extrapolation grade of every candidate."""
        return ToContext(evaluation=self.submit_once(PaceEvaluateCalculation, 'evaluate', self._inputs('evaluate')))

    def inspect_evaluation(self) -> ExitCode | None:
        """Keep the candidates above the threshold."""
        if not self.ctx.evaluation.is_finished_ok:
            return self.exit_codes.ERROR_EVALUATION_FAILED.format(cause=cause_of(self.ctx.evaluation))
        self.ctx.pool = take_above_grade(
            self.ctx.pool, self.ctx.evaluation.outputs.evaluation, self.inputs.grade_threshold
        )
        return None

    def should_select(self) -> bool:
        """Return whether there are more candidates than may be kept."""
        return bool(self.ctx.pool.count > self.max_frames)

    def select(self) -> ToContext:
        """Choose by D-optimality against the current active set."""
        inputs = {**self._inputs('select'), 'max_frames': orm.Int(self.max_frames)}
        return ToContext(selection=self.submit_once(PaceSelectCalculation, 'select', inputs))

    def inspect_selection(self) -> ExitCode | None:
        """Take the selected candidates, or those of highest grade when none would enter the active set."""
        selection = self.ctx.selection
        if selection.is_finished_ok:
            self.ctx.pool = selection.outputs.selected
        elif selection.exit_status == PaceSelectCalculation.exit_codes.ERROR_SELECTION_EMPTY.status:
            self.ctx.pool = take_highest_grades(self.ctx.pool, orm.Int(self.max_frames))
        else:
            return self.exit_codes.ERROR_SELECTION_FAILED.format(cause=cause_of(selection))
        return None

    def results(self) -> None:
        """Attach the candidates."""
        self.out('dataset', self.ctx.pool)
        self.report(f'{self.ctx.pool.count} candidates kept')

    def _inputs(self, namespace: str) -> dict[str, t.Any]:
        """Return the inputs of the calculation exposed in ``namespace``, for the current pool."""
        potential, active_set = self.inputs.potential, self.inputs.active_set
        return {**self.inputs[namespace], 'dataset': self.ctx.pool, 'potential': potential, 'active_set': active_set}
