"""Inputs, outputs and exit codes of `CandidatesWorkChain`."""

from __future__ import annotations

import typing as t

import numpy as np
from aiida import orm
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.calculations.base import validate_active_set, validate_closest, validate_known_elements
from aiida_pace.calculations.embed import PaceEmbedCalculation
from aiida_pace.calculations.evaluate import PaceEvaluateCalculation
from aiida_pace.calculations.select import PaceSelectCalculation
from aiida_pace.calculations.swarm import PaceSwarmCalculation
from aiida_pace.config import CLOSEST, EmbeddingConfig, GuardConfig
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.structures.strategies import STRATEGIES
from aiida_pace.workflows.validators import validate_config, validate_positive, validate_seed

__all__ = ('define_inputs', 'define_outputs', 'max_dft_atoms')

#: Inputs that the work chain itself passes on to the calculations, and to that of the swarm.
SHARED = ('dataset', 'potential', 'active_set')
SWARM = ('datasets', 'indices', 'potential', 'active_set', 'closest')


def define_inputs(spec: WorkChainSpec) -> None:
    """Declare the inputs."""
    spec.input_namespace(
        'extrapolative',
        valid_type=AtomsDatasetData,
        dynamic=True,
        help='By walker: extrapolative frames; a swarm is made around the frames of origin `halt`.',
    )
    spec.input_namespace(
        'samples',
        valid_type=AtomsDatasetData,
        dynamic=True,
        required=False,
        help='By walker: frames before the halt; the last acceptable one is taken when the guards reject all other '
        'candidates.',
    )
    spec.input_namespace(
        'known',
        valid_type=AtomsDatasetData,
        dynamic=True,
        required=False,
        help='Labelled frames: candidates that are alike are rejected.',
    )
    spec.input(
        'drawn',
        valid_type=AtomsDatasetData,
        required=False,
        help='Frames to label together with the candidates, such as audit frames; candidates that are alike are '
        'rejected, and the output `dataset` holds both.',
    )
    spec.input('potential', valid_type=AcePotentialData, help='The potential of the walkers.')
    spec.input('active_set', valid_type=AceActiveSetData, help='The active set of `potential`.')
    spec.input('seed', valid_type=orm.Int, validator=validate_seed, help='Random seed of swarms and strategies.')
    spec.input(
        'closest',
        valid_type=orm.Float,
        default=lambda: orm.Float(CLOSEST),
        validator=validate_closest,
        help='Smallest distance in a candidate, as a share of the sum of the two covalent radii.',
    )
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
        validator=validate_strategy,
        help='Which candidates are kept. `d_optimal`: the most informative candidates above the threshold, by '
        'MaxVol; `max_grade`: those of highest grade; `threshold_random`: any above the threshold; '
        '`random`: any.',
    )
    spec.input(
        'grade_threshold',
        valid_type=orm.Float,
        default=lambda: orm.Float(2.0),
        validator=validate_threshold,
        help='Smallest extrapolation grade of a candidate; `random` and `max_grade` do not use it.',
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
        exclude=(*SHARED, 'closest'),
        namespace_options={
            'help': 'Boxes for frames that are too large for DFT; `code` is needed only for such frames.'
        },
    )
    t.cast(t.Any, spec.inputs['embed'])['code'].required = False
    spec.expose_inputs(PaceSwarmCalculation, namespace='swarm', exclude=(*SWARM, 'seed'))
    spec.expose_inputs(PaceEvaluateCalculation, namespace='evaluate', exclude=(*SHARED, 'posterior'))
    spec.expose_inputs(
        PaceSelectCalculation,
        namespace='maxvol',
        exclude=(*SHARED, 'candidates', 'max_frames'),
        namespace_options={'help': 'The selection of `d_optimal`: inputs of `PaceSelectCalculation`.'},
    )
    spec.inputs.validator = validate_inputs


def define_outputs(spec: WorkChainSpec) -> None:
    """Declare the outputs and exit codes."""
    spec.output(
        'dataset',
        valid_type=AtomsDatasetData,
        required=False,
        help='The candidates to label, and after them the frames `drawn`.',
    )
    spec.output(
        'output_parameters',
        valid_type=orm.Dict,
        required=False,
        help='Number of `candidates`: `made` by origin = `rejected` by cause + `not_chosen` by reason + `kept` by '
        'origin. `embedded`: sizes and grades of each large frame. `failed`: by skipped step, the cause.',
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


def validate_strategy(node: orm.Str, _: t.Any) -> str | None:
    """Refuse an unknown strategy."""
    if node.value not in STRATEGIES:
        return f'`strategy` is `{node.value}`: give one of {", ".join(STRATEGIES)}.'
    return None


def validate_threshold(node: orm.Float, _: t.Any) -> str | None:
    """Refuse a threshold that is no grade."""
    if not 0 <= node.value < np.inf:
        return f'`grade_threshold` is {node.value}: give a number from 0 up.'
    return None


def validate_inputs(value: t.Any, _: t.Any) -> str | None:
    """Refuse inputs that do not fit each other."""
    potential, limit = value.get('potential'), max_dft_atoms(value)
    for name, dataset in value.get('extrapolative', {}).items():
        port = f'extrapolative.{name}'
        if error := validate_known_elements(
            port, dataset.elements, potential, 'give the potential that the walker had'
        ):
            return error
        if 'code' not in value['embed'] and (largest := int(dataset.frames.sizes.max())) > limit:
            return (
                f'`{port}` holds frames of {largest} atoms, more than `embed.parameters.max_dft_atoms` = {limit}: '
                'give `embed.code`, or raise the limit.'
            )
    return validate_active_set(value.get('active_set'), potential)


def max_dft_atoms(inputs: t.Any) -> int:
    """Return the largest number of atoms of a frame that goes to DFT whole."""
    return EmbeddingConfig.model_validate(inputs['embed']['parameters'].get_dict()).max_dft_atoms
