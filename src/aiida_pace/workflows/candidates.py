"""From halted frames to the few candidates that teach the potential most."""

from __future__ import annotations

import typing as t

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, ToContext, if_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.calculations.base import validate_active_set, validate_known_elements
from aiida_pace.calculations.embed import PaceEmbedCalculation
from aiida_pace.calculations.evaluate import PaceEvaluateCalculation
from aiida_pace.calculations.functions.candidates import (
    HALT,
    choose_candidates,
    gather_frames,
    guard_candidates,
    kinds_of,
    sum_up,
    take_halts,
    take_highest_grades,
)
from aiida_pace.calculations.select import PaceSelectCalculation
from aiida_pace.calculations.swarm import PaceSwarmCalculation
from aiida_pace.config import EmbeddingConfig, GuardConfig, SwarmConfig
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.structures.strategies import STRATEGIES
from aiida_pace.workflows.graph import cause_of
from aiida_pace.workflows.resumable import ResumableWorkChain, labelled
from aiida_pace.workflows.validators import validate_config, validate_positive, validate_seed

__all__ = ('CandidatesWorkChain',)

#: Inputs that the work chain itself passes on to the calculations.
SHARED = ('dataset', 'potential', 'active_set')


class CandidatesWorkChain(ResumableWorkChain):
    """Embed what is too large for DFT, make swarms around the halts, guard, evaluate, and choose what teaches most."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        cls.define_inputs(spec)
        spec.outline(
            cls.gather,
            if_(cls.has_large_frames)(cls.embed, cls.inspect_embedding),
            if_(cls.should_swarm)(cls.swarm, cls.inspect_swarm),
            cls.guard,
            cls.inspect_guards,
            cls.evaluate,
            cls.inspect_evaluation,
            if_(cls.should_select)(cls.select, cls.inspect_selection),
            cls.results,
        )
        spec.output('dataset', valid_type=AtomsDatasetData, required=False, help='The candidates to label.')
        spec.output(
            'output_parameters',
            valid_type=orm.Dict,
            required=False,
            help='Number of `candidates`: `made` by origin = `rejected` by cause + `not_chosen` by reason + `kept` by '
            'origin. `embedded`: sizes and grades of each large frame. `failed`: by step, why it was gone without.',
        )
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
            412, 'ERROR_SELECTION_FAILED', message='`pace-select` could not choose among the candidates: {cause}'
        )
        spec.exit_code(
            413,
            'ERROR_EMBEDDING_FAILED',
            message='all frames have more than `embed.parameters.max_dft_atoms` = {atoms} atoms, and none could be '
            'embedded: {cause}',
        )

    @classmethod
    def define_inputs(cls, spec: WorkChainSpec) -> None:
        """Declare the inputs."""
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
            help='Frames that are labelled already: no candidate is like one of them.',
        )
        spec.input('potential', valid_type=AcePotentialData, help='The potential that ran into the halts.')
        spec.input('active_set', valid_type=AceActiveSetData, help='Its active set.')
        spec.input('seed', valid_type=orm.Int, validator=validate_seed, help='Random seed of swarms and strategies.')
        spec.input(
            'guards',
            valid_type=orm.Dict,
            default=orm.Dict,
            validator=validate_config(GuardConfig),
            help='Settings of `GuardConfig`: which candidates are fit for DFT, and new.',
        )
        spec.input(
            'strategy',
            valid_type=orm.Str,
            default=lambda: orm.Str('d_optimal'),
            validator=cls.validate_strategy,
            help='What is kept. `d_optimal`: the most informative candidates above the threshold, by MaxVol; '
            '`max_grade`: those of highest grade; `threshold_random`: any above the threshold; `random`: any.',
        )
        spec.input(
            'grade_threshold',
            valid_type=orm.Float,
            default=lambda: orm.Float(2.0),
            validator=cls.validate_threshold,
            help='Candidates below this extrapolation grade teach little; `random` and `max_grade` do not use it.',
        )
        spec.input(
            'max_per_halt',
            valid_type=orm.Int,
            default=lambda: orm.Int(5),
            validator=validate_positive,
            help='Number of candidates kept per halt, on average over the halts.',
        )
        spec.expose_inputs(
            PaceEmbedCalculation,
            namespace='embed',
            exclude=SHARED,
            namespace_options={
                'help': 'Boxes around what is too large for DFT; `code` is needed only for such frames.'
            },
        )
        t.cast(t.Any, spec.inputs['embed'])['code'].required = False
        spec.expose_inputs(PaceSwarmCalculation, namespace='swarm', exclude=(*SHARED, 'seed'))
        spec.expose_inputs(PaceEvaluateCalculation, namespace='evaluate', exclude=(*SHARED, 'posterior'))
        spec.expose_inputs(PaceSelectCalculation, namespace='select', exclude=(*SHARED, 'max_frames'))
        spec.inputs.validator = cls.validate_inputs

    @classmethod
    def validate_strategy(cls, node: orm.Str, _: t.Any) -> str | None:
        """Refuse an unknown strategy."""
        if node.value not in STRATEGIES:
            return f'`strategy` is `{node.value}`: give one of {", ".join(STRATEGIES)}.'
        return None

    @classmethod
    def validate_threshold(cls, node: orm.Float, _: t.Any) -> str | None:
        """Refuse a threshold that is no grade."""
        if not 0 <= node.value < np.inf:
            return f'`grade_threshold` is {node.value}: give a number from 0 up.'
        return None

    @classmethod
    def validate_inputs(cls, value: t.Any, _: t.Any) -> str | None:
        """Refuse inputs that do not fit each other."""
        potential, limit = value.get('potential'), _max_dft_atoms(value)
        for name, dataset in value.get('extrapolative', {}).items():
            port = f'extrapolative.{name}'
            if error := validate_known_elements(
                port, dataset.elements, potential, 'give the potential that the walker had'
            ):
                return error
            if 'code' not in value['embed'] and (largest := int(dataset.frames.sizes.max())) > limit:
                return (
                    f'`{port}` holds frames of {largest} atoms, more than `embed.parameters.max_dft_atoms` = {limit}: '
                    'give `embed.code`, or raise that number.'
                )
        return validate_active_set(value.get('active_set'), potential)

    @property
    def max_frames(self) -> int:
        """Largest number of candidates to keep."""
        halts = sum(int(np.sum(node.frames.origin == HALT)) for node in self.inputs.extrapolative.values())
        return int(self.inputs.max_per_halt.value) * max(1, halts)

    def gather(self) -> None:
        """Sort out the frames that are worth considering."""
        frames = {
            f'{kind}__{name}': node
            for kind in ('extrapolative', 'samples')
            for name, node in self.inputs.get(kind, {}).items()
        }
        limit = orm.Int(_max_dft_atoms(self.inputs))
        gathered = gather_frames(
            self.inputs.guards, limit, self.inputs.max_per_halt, **frames, metadata={'call_link_label': 'gather'}
        )
        self.ctx.walkers = gathered['walkers']
        self.ctx.parts = {name: gathered[name] for name in ('small', 'large') if name in gathered}
        self.ctx.details, self.ctx.failed = {}, {}

    def has_large_frames(self) -> bool:
        """Return whether something is too large for DFT."""
        return 'large' in self.ctx.parts

    def embed(self) -> ToContext:
        """Put boxes around the worst surroundings of the large frames."""
        inputs = self._inputs(PaceEmbedCalculation, 'embed', self.ctx.parts['large'])
        return ToContext(embedding=self.submit(PaceEmbedCalculation, labelled('embed', inputs)))

    def inspect_embedding(self) -> ExitCode | None:
        """Take the boxes; go on without them as long as there is something else."""
        self._take('embedding', 'embedded')
        if 'embedded' not in self.ctx.parts and 'small' not in self.ctx.parts:
            return self.exit_codes.ERROR_EMBEDDING_FAILED.format(
                atoms=_max_dft_atoms(self.inputs), cause=cause_of(self.ctx.embedding)
            )
        return None

    def should_swarm(self) -> bool:
        """Return whether there is something to make a swarm around, and a swarm is asked for."""
        count = SwarmConfig.model_validate(self.inputs.swarm.parameters.get_dict()).count
        return count > 0 and bool(self._halting())

    def swarm(self) -> ToContext:
        """Make swarms around the halting frames."""
        inputs = self._inputs(
            PaceSwarmCalculation, 'swarm', take_halts(**self._halting(), metadata={'call_link_label': 'take_halts'})
        )
        return ToContext(
            swarming=self.submit(PaceSwarmCalculation, labelled('swarm', {**inputs, 'seed': self.inputs.seed}))
        )

    def inspect_swarm(self) -> None:
        """Take the swarms; go on with the frames of the walkers alone when there are none."""
        self._take('swarming', 'swarm')

    def guard(self) -> None:
        """Let the guards judge all candidates."""
        known = {f'known__{name}': node for name, node in self.inputs.get('known', {}).items()}
        guarded = guard_candidates(
            self.inputs.guards,
            self.ctx.walkers,
            **self.ctx.details,
            **self.ctx.parts,
            **known,
            metadata={'call_link_label': 'guard'},
        )
        self.ctx.guarded, self.ctx.walkers = guarded['account'], guarded['walkers']
        self.ctx.pool = guarded.get('pool')

    def inspect_guards(self) -> ExitCode | None:
        """Stop when the guards left nothing."""
        account = self.ctx.guarded
        causes = ', '.join(f'{count} x {cause}' for cause, count in account['rejected'].items())
        self.report(f'{account["candidates"]} candidates; rejected: {causes or "none"}')
        if self.ctx.pool is None:
            self.out('output_parameters', account)
            return self.exit_codes.ERROR_POOL_EMPTY.format(causes=causes)
        return None

    def evaluate(self) -> ToContext:
        """Compute energy and extrapolation grade of every candidate."""
        inputs = self._inputs(PaceEvaluateCalculation, 'evaluate', self.ctx.pool)
        return ToContext(evaluation=self.submit(PaceEvaluateCalculation, labelled('evaluate', inputs)))

    def inspect_evaluation(self) -> ExitCode | None:
        """Leave out what lies outside the energy window, and choose by the strategy."""
        if not self.ctx.evaluation.is_finished_ok:
            return self.exit_codes.ERROR_EVALUATION_FAILED.format(cause=cause_of(self.ctx.evaluation))
        chosen = choose_candidates(
            pool=self.ctx.pool,
            walkers=self.ctx.walkers,
            evaluation=self.ctx.evaluation.outputs.evaluation,
            max_frames=orm.Int(self.max_frames),
            metadata={'call_link_label': 'choose'},
            **{name: self.inputs[name] for name in ('potential', 'guards', 'strategy', 'grade_threshold', 'seed')},
        )
        self.ctx.pool, self.ctx.chosen = chosen['chosen'], chosen['account']
        return None

    def should_select(self) -> bool:
        """Return whether MaxVol has to choose, since there are more candidates than may be kept."""
        return bool(self.ctx.pool.count > self.max_frames)

    def select(self) -> ToContext:
        """Choose by D-optimality against the current active set."""
        inputs = self._inputs(PaceSelectCalculation, 'select', self.ctx.pool)
        inputs['max_frames'] = orm.Int(self.max_frames)
        return ToContext(selection=self.submit(PaceSelectCalculation, labelled('select', inputs)))

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
        """Attach the candidates, and what became of all others."""
        boxes = {'boxes': self.ctx.details['embedding']} if 'embedding' in self.ctx.details else {}
        account = sum_up(
            self.ctx.guarded,
            self.ctx.chosen,
            self.ctx.pool,
            orm.Dict(self.ctx.failed),
            **boxes,
            metadata={'call_link_label': 'sum_up'},
        )
        self.out('dataset', self.ctx.pool)
        self.out('output_parameters', account)
        self.report(f'{self.ctx.pool.count} candidates kept')

    def _inputs(self, process: t.Any, namespace: str, dataset: AtomsDatasetData) -> dict[str, t.Any]:
        """Return the inputs of ``process``, exposed in ``namespace``, for a data set."""
        potential, active_set = self.inputs.potential, self.inputs.active_set
        inputs = self.exposed_inputs(process, namespace)
        return {**inputs, 'dataset': dataset, 'potential': potential, 'active_set': active_set}

    def _halting(self) -> dict[str, AtomsDatasetData]:
        """Return the parts, of those fit for DFT, that hold halting frames."""
        parts = {name: self.ctx.parts[name] for name in ('embedded', 'small') if name in self.ctx.parts}
        return {name: part for name, part in parts.items() if HALT in kinds_of(part.frames)}

    def _take(self, step: str, part: str) -> None:
        """Take the frames of a finished ``step`` as a ``part`` of the pool, or note why there are none."""
        process = self.ctx[step]
        if 'dataset' in process.outputs:
            self.ctx.parts[part] = process.outputs.dataset
        if 'output_parameters' in process.outputs:
            self.ctx.details[step] = process.outputs.output_parameters
        if not process.is_finished_ok:
            self.ctx.failed[step] = cause_of(process)
            self.report(f'{step} failed, going on without: {cause_of(process)}')


def _max_dft_atoms(inputs: t.Any) -> int:
    """Return the largest number of atoms of a frame that goes to DFT whole."""
    return EmbeddingConfig.model_validate(inputs['embed']['parameters'].get_dict()).max_dft_atoms
