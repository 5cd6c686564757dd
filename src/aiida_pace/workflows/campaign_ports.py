"""Inputs, outputs and exit codes of `ActiveLearningWorkChain`."""

from __future__ import annotations

import typing as t

from aiida import orm
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.config import InitialSetConfig
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.workflows.candidates import CandidatesWorkChain
from aiida_pace.workflows.explore import ExploreWorkChain
from aiida_pace.workflows.label import LabelWorkChain
from aiida_pace.workflows.train.base import TrainBaseWorkChain
from aiida_pace.workflows.validators import (
    unfit_campaign,
    validate_config,
    validate_elements,
    validate_labelled,
    validate_positive,
    validate_seed,
)

__all__ = ('define_inputs', 'define_outputs')


def define_inputs(spec: WorkChainSpec) -> None:
    """Declare the inputs of a campaign."""
    spec.input_namespace(
        'datasets',
        valid_type=AtomsDatasetData,
        dynamic=True,
        required=False,
        validator=validate_labelled,
        help='Labelled frames to start from, such as the `datasets` of another campaign; when absent, an initial '
        'set is generated and labelled.',
    )
    spec.input_namespace('initial', help='The structures that are labelled first, without `datasets`.')
    spec.input(
        'initial.elements',
        valid_type=orm.List,
        required=False,
        validator=validate_elements,
        help='Chemical symbols of the initial set that is made and labelled when no `datasets` are given.',
    )
    spec.input(
        'initial.count',
        valid_type=orm.Int,
        default=lambda: orm.Int(60),
        validator=validate_positive,
        help='Number of frames of the initial set.',
    )
    spec.input(
        'initial.parameters',
        valid_type=orm.Dict,
        default=orm.Dict,
        validator=validate_config(InitialSetConfig),
        help='Settings of `InitialSetConfig`: recipes and their shares.',
    )
    spec.input(
        'seed',
        valid_type=orm.Int,
        default=lambda: orm.Int(1),
        validator=validate_seed,
        help='Random seed of the campaign; every cycle and walker derives its own from it.',
    )
    spec.input(
        'max_cycles',
        valid_type=orm.Int,
        default=lambda: orm.Int(50),
        validator=validate_positive,
        help='Largest number of exploration cycles.',
    )
    spec.input(
        'quiet_rounds',
        valid_type=orm.Int,
        default=lambda: orm.Int(2),
        validator=validate_positive,
        help='The campaign has converged after this many cycles in a row in which every walker came to its end.',
    )
    spec.expose_inputs(
        LabelWorkChain,
        namespace='label',
        exclude=('dataset',),
        namespace_options={'help': 'Labels: inputs of `LabelWorkChain`, with those of `PwBaseWorkChain`.'},
    )
    spec.expose_inputs(
        TrainBaseWorkChain,
        namespace='train',
        exclude=('fit.datasets', 'fit.potential'),
        namespace_options={'help': 'Fits and active sets: inputs of `TrainBaseWorkChain`.'},
    )
    spec.expose_inputs(
        ExploreWorkChain,
        namespace='explore',
        exclude=('seed', 'lammps.potential', 'lammps.active_set'),
        namespace_options={'help': 'Walkers: inputs of `ExploreWorkChain`, with the `structures` they start from.'},
    )
    spec.expose_inputs(
        CandidatesWorkChain,
        namespace='select',
        exclude=('extrapolative', 'samples', 'potential', 'active_set', 'seed'),
        namespace_options={'help': 'Candidates around the halts: inputs of `CandidatesWorkChain`.'},
    )
    spec.inputs.validator = validate_inputs


def define_outputs(spec: WorkChainSpec) -> None:
    """Declare the outputs of a campaign, and every reason for which it ends without having converged."""
    spec.output('potential', valid_type=AcePotentialData, required=False, help='The last potential.')
    spec.output('active_set', valid_type=AceActiveSetData, required=False, help='Its active set.')
    spec.output('training', valid_type=orm.Dict, required=False, help='Errors of its fit.')
    spec.output_namespace(
        'datasets',
        valid_type=AtomsDatasetData,
        dynamic=True,
        required=False,
        help='The labelled frames, by the step that labelled them.',
    )
    spec.exit_code(
        310,
        'ERROR_INITIAL_SET_TOO_SMALL',
        message='the initial set has {atoms} atoms of {element} with neighbours, the basis {functions} functions '
        'for it: an active set needs more atoms than functions. Raise `initial.count` or lower '
        '`train.fit.parameters.functions_per_element`.',
    )
    spec.exit_code(
        320,
        'ERROR_LABELS_INSUFFICIENT',
        message='the initial labels make no fit: {cause}. They are attached: start again from them, with more.',
    )
    spec.exit_code(410, 'ERROR_LABELS_FAILED', message='labelling failed in `{step}`: {cause}')
    spec.exit_code(411, 'ERROR_TRAINING_FAILED', message='training failed in `{step}`: {cause}')
    spec.exit_code(412, 'ERROR_EXPLORATION_FAILED', message='exploration failed in `{step}`: {cause}')
    spec.exit_code(413, 'ERROR_SELECTION_FAILED', message='selection failed in `{step}`: {cause}')
    spec.exit_code(
        601,
        'ERROR_CONVERGENCE_NOT_REACHED',
        message='not converged after `max_cycles` = {cycles} cycles: in the last one {halted} walkers halted, '
        '{failed} failed. The last potential is attached. Start again from the `datasets`, with more cycles.',
    )


def validate_inputs(value: t.Any, _: t.Any) -> str | None:
    """Refuse inputs that do not fit each other, before anything runs."""
    return unfit_campaign(value)
