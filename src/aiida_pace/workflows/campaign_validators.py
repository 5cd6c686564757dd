"""What `ActiveLearningWorkChain` refuses before anything runs."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from aiida import orm
from aiida.common.exceptions import NotExistent

from aiida_pace.calculations.base import validate_active_set
from aiida_pace.campaign.phases import Origin
from aiida_pace.config import InitialSetConfig, MdConfig, StageConfig, StopConfig, TrainingConfig, config_error
from aiida_pace.workflows.initial import InitialSetWorkChain
from aiida_pace.workflows.label.base import LabelWorkChain
from aiida_pace.workflows.records import lost_campaign, resumed_state
from aiida_pace.workflows.validators import (
    validate_embedding,
    validate_executables,
    validate_training_data,
)

__all__ = ('uuid_of', 'validate_campaign', 'validate_campaign_inputs', 'validate_stages')

PROCESS_TYPE = 'aiida.workflows:pace.active_learning'
Inputs = Mapping[str, t.Any]


def uuid_of(value: t.Any) -> orm.Str:
    """Return the UUID of a node, or of what identifies one, as a node."""
    if isinstance(value, orm.ProcessNode):
        return orm.Str(value.uuid)
    if isinstance(value, orm.Data):
        return t.cast(orm.Str, value)
    try:
        return orm.Str(orm.load_node(value).uuid)
    except (NotExistent, ValueError):
        return orm.Str(str(value))  # the validator tells


def validate_campaign(node: orm.Str | None, port: t.Any) -> str | None:
    """Refuse what is no campaign, and one that still runs."""
    if node is None:
        return None
    try:
        campaign = orm.load_node(node.value)
    except (NotExistent, ValueError):
        return f'`{port.name}`: there is no node `{node.value}` in this profile.'
    if not isinstance(campaign, orm.WorkChainNode) or campaign.process_type != PROCESS_TYPE:
        return f'`{port.name}`: node {campaign.pk} is not an `ActiveLearningWorkChain`.'
    if not campaign.is_terminated:
        return f'`{port.name}`: campaign {campaign.pk} has not ended: wait, or `verdi process kill {campaign.pk}`.'
    if lost := lost_campaign(t.cast(int, campaign.pk)):
        return f'`{port.name}`: campaign {campaign.pk} continues campaign {lost}: import that one into the profile.'
    return None


def validate_stages(node: orm.List | None, port: t.Any) -> str | None:
    """Refuse an empty list and wrong settings."""
    if node is None:
        return None
    if not len(node):
        return f'`{port.name}` is empty: leave it out, or give at least one stage.'
    for number, stage in enumerate(node):
        if not isinstance(stage, dict):
            return f'`{port.name}[{number}]` is {stage!r}: give settings of `StageConfig`, such as temperature: 600.'
        if error := config_error(StageConfig, stage):
            return f'`{port.name}[{number}]`: {error}'
    return None


def validate_campaign_inputs(inputs: Inputs) -> str | None:
    """Refuse inputs of a campaign that do not fit each other."""
    walkers = inputs['explore'].get('structures')
    if not walkers:
        return '`explore.structures` is empty: give at least one structure to start a walker from.'
    stop = StopConfig.model_validate(inputs['stop'].get_dict())
    if stop.max_cycles < stop.quiet_rounds:
        return (
            '`stop.max_cycles` is below `stop.quiet_rounds`, so the campaign cannot converge: raise `stop.max_cycles`.'
        )
    if error := _validate_stages(inputs) or _validate_restart(inputs) or _validate_start(inputs):
        return error
    elements = _elements(inputs)
    found = {symbol for structure in walkers.values() for symbol in structure.get_symbols_set()}
    if unknown := sorted(found - elements):
        return (
            f'`explore.structures` contain {", ".join(unknown)}, which the initial data do not: add the element to '
            '`initial.elements` or to `datasets`.'
        )
    return (
        LabelWorkChain.labeller(inputs['label']).validate_elements(elements)
        or validate_embedding(walkers, inputs['select']['embed'])
        or validate_executables(inputs)
    )


def _validate_stages(inputs: Inputs) -> str | None:
    """Refuse stages that name unknown walkers, or contradict the settings of the walkers."""
    base = inputs['explore']['lammps']['parameters'].get_dict()
    for number, values in enumerate(inputs.get('stages', [])):
        stage = StageConfig.model_validate(values)
        if unknown := sorted(set(stage.structures) - set(inputs['explore']['structures'])):
            return f'`stages[{number}].structures` names {unknown[0]}, which is not in `explore.structures`.'
        try:
            stage.md(MdConfig.model_validate(base))
        except ValueError as exception:
            detail = ' '.join(str(exception).split())
            return f'`stages[{number}]` and `explore.lammps.parameters` contradict each other: {detail}'
    return None


def _validate_restart(inputs: Inputs) -> str | None:
    """Refuse a campaign to go on from that has nothing to go on with, or other data sets of the same names."""
    if 'restart_from' not in inputs:
        return None
    campaign = orm.load_node(inputs['restart_from'].value)
    training = resumed_state(t.cast(int, campaign.pk)).training
    datasets = inputs.get('datasets', {})
    if not training and not datasets and 'elements' not in inputs['initial']:
        return f'`restart_from`: campaign {campaign.pk} has no labels: give `datasets` or `initial.elements`.'
    for name, node in datasets.items():
        known = training.get(Origin(given=name).name)
        if known is not None and known.uuid != node.uuid:
            return f'`datasets.{name}`: campaign {campaign.pk} has another data set of that name: give a new name.'
    return None


def _validate_start(inputs: Inputs) -> str | None:
    """Refuse a campaign that has nothing to start from."""
    if error := _validate_active_set(inputs):
        return error
    config = TrainingConfig.model_validate(inputs['train']['fit']['parameters'].get_dict())
    if inputs.get('datasets'):
        error = validate_training_data(inputs['datasets'], config)
        return f'`datasets`: {error}.' if error else None
    if 'restart_from' in inputs and 'elements' not in inputs['initial']:
        return None
    if 'elements' not in inputs['initial']:
        return 'neither `datasets` nor `initial.elements` are given: give labelled frames, or elements.'
    basis = {**inputs['initial'].get('basis', {}), 'parameters': orm.Dict()}
    initial = {**inputs['initial'], 'basis': basis, 'closest': inputs['closest']}
    if error := InitialSetWorkChain.validate_inputs(initial, None):
        return f'`initial`: {error}'
    return _validate_references(inputs, config)


def _validate_active_set(inputs: Inputs) -> str | None:
    if 'active_set' not in inputs:
        return None
    if 'potential' not in inputs or 'datasets' not in inputs:
        return '`active_set` is given without `potential` and `datasets`: give the three together.'
    return validate_active_set(inputs['active_set'], inputs['potential'])


def _validate_references(inputs: Inputs, config: TrainingConfig) -> str | None:
    """Refuse elements of the initial set for which there will be no reference energy."""
    elements = set(inputs['initial']['elements'])
    if isinstance(config.reference_energies, dict):
        known = set(config.reference_energies)
    elif InitialSetConfig.model_validate(inputs['initial']['parameters'].get_dict()).isolated_atoms:
        known = elements
    else:
        known = set(inputs['potential'].reference_energies) if 'potential' in inputs else set()
    if missing := sorted(elements - known):
        return (
            f'no reference energy for {", ".join(missing)}: give it in `train.fit.parameters.reference_energies`, or '
            'have an isolated atom of it in the initial data.'
        )
    return None


def _elements(inputs: Inputs) -> set[str]:
    """Return the elements that the first potential will know."""
    if inputs.get('datasets'):
        return {element for dataset in inputs['datasets'].values() for element in dataset.elements}
    if 'elements' in inputs['initial']:
        return set(inputs['initial']['elements'])
    campaign = orm.load_node(inputs['restart_from'].value)
    return {symbol for node in campaign.inputs.explore.structures.values() for symbol in node.get_symbols_set()}
