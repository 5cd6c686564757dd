"""Inputs, outputs and exit codes of `ActiveLearningWorkChain`."""

from __future__ import annotations

import typing as t

from aiida import orm
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.calculations.base import validate_closest
from aiida_pace.calculations.evaluate import PaceEvaluateCalculation
from aiida_pace.config import CLOSEST, AuditConfig, GrowthConfig, StopConfig
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.workflows.campaign_validators import (
    uuid_of,
    validate_campaign,
    validate_campaign_inputs,
    validate_stages,
)
from aiida_pace.workflows.candidates import CandidatesWorkChain
from aiida_pace.workflows.explore import ExploreWorkChain
from aiida_pace.workflows.initial import InitialSetWorkChain
from aiida_pace.workflows.label.base import LabelWorkChain
from aiida_pace.workflows.train.base import TrainBaseWorkChain
from aiida_pace.workflows.validate import ValidateWorkChain
from aiida_pace.workflows.validators import validate_config, validate_labelled, validate_seed

__all__ = ('define_inputs', 'define_outputs')

#: What the campaign gives to the choice of candidates itself.
CAMPAIGN_OWN = (
    *('extrapolative', 'samples', 'known', 'drawn', 'potential', 'active_set'),
    *('seed', 'closest', 'evaluate'),
)


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
    spec.input(
        'potential',
        valid_type=AcePotentialData,
        required=False,
        help='A potential to start from: the first fit continues from it or, with its `active_set` and the `datasets` '
        'it was trained on, the walkers start with it at once.',
    )
    spec.input('active_set', valid_type=AceActiveSetData, required=False, help='Active set of `potential`.')
    spec.input(
        'restart_from',
        valid_type=orm.Str,
        required=False,
        serializer=uuid_of,
        validator=validate_campaign,
        help='An earlier campaign, converged or not (node, UUID or PK): the new campaign continues after the last '
        'complete cycle of the earlier one, with all labels, potentials and audits of the earlier one.',
    )
    spec.expose_inputs(
        InitialSetWorkChain,
        namespace='initial',
        exclude=('seed', 'closest', 'basis.parameters'),
        namespace_options={
            'help': 'The structures that are labelled first, when there are no `datasets`: inputs of '
            '`InitialSetWorkChain`.',
            'validator': None,
        },
    )
    t.cast(t.Any, spec.inputs)['initial']['elements'].required = False
    spec.input(
        'check',
        valid_type=orm.Bool,
        default=lambda: orm.Bool(False),
        help='Whether to run every code on a tiny input first, which takes about a minute: `CheckWorkChain`.',
    )
    spec.input(
        'seed',
        valid_type=orm.Int,
        default=lambda: orm.Int(1),
        validator=validate_seed,
        help='Random seed of the campaign; the seeds of cycles and walkers are derived from this seed.',
    )
    spec.input(
        'stages',
        valid_type=orm.List,
        required=False,
        validator=validate_stages,
        help='Settings of `StageConfig`, one per stage, from the mildest to the hardest conditions of the walkers; '
        'without stages, there is one stage with `explore.lammps.parameters`.',
    )
    spec.input(
        'closest',
        valid_type=orm.Float,
        default=lambda: orm.Float(CLOSEST),
        validator=validate_closest,
        help='Smallest distance in a new or labelled frame, as a share of the sum of the two covalent radii.',
    )
    for name, model, purpose in (
        ('stop', StopConfig, 'when the campaign has converged, and when it stops without converging'),
        ('audit', AuditConfig, 'the frames drawn at random, labelled and never trained on'),
        (
            'growth',
            GrowthConfig,
            'which frames are added, and when the basis grows, where walkers are quiet and the audit error is above '
            'the target',
        ),
    ):
        spec.input(
            name,
            valid_type=orm.Dict,
            default=orm.Dict,
            validator=validate_config(model),
            help=f'Settings of `{model.__name__}`: {purpose}.',
        )
    spec.expose_inputs(
        LabelWorkChain,
        namespace='label',
        exclude=('dataset', 'closest'),
        namespace_options={'help': 'Labels: inputs of `LabelWorkChain`, with the namespace of one labeller.'},
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
        exclude=CAMPAIGN_OWN,
        namespace_options={'help': 'Candidates around the halts: inputs of `CandidatesWorkChain`.'},
    )
    spec.expose_inputs(
        PaceEvaluateCalculation,
        namespace='evaluate',
        exclude=('dataset', 'potential', 'active_set', 'posterior'),
        namespace_options={
            'help': 'Predictions of the potential for candidates, audit frames and frames of the validation: inputs of '
            '`PaceEvaluateCalculation`.'
        },
    )
    spec.expose_inputs(
        ValidateWorkChain,
        namespace='validate',
        exclude=('potential', 'active_set', 'label', 'evaluate'),
        namespace_options={
            'help': 'Property gates: inputs of `ValidateWorkChain`; without `structures` no property is computed.',
            'required': False,
            'populate_defaults': False,
            'validator': None,
        },
    )
    spec.inputs.validator = validate_inputs


def define_outputs(spec: WorkChainSpec) -> None:
    """Declare the outputs of a campaign, and every reason for which it ends without having converged."""
    spec.output(
        'potential',
        valid_type=AcePotentialData,
        required=False,
        help='The potential with the lowest audit error, otherwise the last one; also after a failure (exit codes '
        '4xx).',
    )
    spec.output('active_set', valid_type=AceActiveSetData, required=False, help='The active set of `potential`.')
    spec.output('training', valid_type=orm.Dict, required=False, help='Errors of the fit of `potential`.')
    spec.output_namespace(
        'datasets',
        valid_type=AtomsDatasetData,
        dynamic=True,
        required=False,
        help='The labelled frames, by the step that labelled them.',
    )
    spec.output_namespace(
        'audits',
        valid_type=AtomsDatasetData,
        dynamic=True,
        required=False,
        help='The labelled audit frames, by cycle; they are not in any training set.',
    )
    spec.output(
        'history',
        valid_type=orm.Dict,
        required=False,
        help='The last verdict, and the `history` of the campaign: one record per cycle, with audit error and cost.',
    )
    spec.output('validation', valid_type=orm.Dict, required=False, help='Properties of the potential against DFT.')
    spec.output(
        'gates',
        valid_type=orm.Dict,
        required=False,
        help='Which properties of `validation` are within their tolerances.',
    )
    spec.exit_code(
        310, 'ERROR_INITIAL_SET_FAILED', message='the initial set could not be made; no DFT was spent: {cause}'
    )
    spec.exit_code(
        320,
        'ERROR_LABELS_INSUFFICIENT',
        message='not enough initial labels for a fit: {cause}. The labels are attached as `datasets`: start a campaign '
        'with these `datasets` and more frames.',
    )
    spec.exit_code(410, 'ERROR_LABELS_FAILED', message='labelling failed in `{step}`: {cause}')
    spec.exit_code(411, 'ERROR_TRAINING_FAILED', message='training failed in `{step}`: {cause}')
    spec.exit_code(412, 'ERROR_EXPLORATION_FAILED', message='exploration failed in `{step}`: {cause}')
    spec.exit_code(413, 'ERROR_SELECTION_FAILED', message='selection failed in `{step}`: {cause}')
    spec.exit_code(414, 'ERROR_CHECK_FAILED', message='the campaign cannot run; no DFT was spent: {cause}')
    spec.exit_code(
        601,
        'ERROR_CONVERGENCE_NOT_REACHED',
        message='not converged after the largest number of cycles: {message}. The best potential is attached; continue '
        'with `restart_from` and a larger `stop.max_cycles`.',
    )
    spec.exit_code(
        602,
        'ERROR_NO_IMPROVEMENT',
        message='not converged; no further improvement expected: {message}. The best potential is attached; raise '
        '`stop.target`, `growth.max_functions` or the cutoff.',
    )
    spec.exit_code(
        603,
        'ERROR_BUDGET_SPENT',
        message='not converged, the budget is spent: {message}. The best potential is attached; continue with '
        '`restart_from` and a larger `stop.max_core_hours`.',
    )


def validate_inputs(value: t.Any, _: t.Any) -> str | None:
    """Refuse inputs that do not fit each other, before anything runs."""
    return validate_campaign_inputs(value)
