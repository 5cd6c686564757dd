"""Where an earlier campaign stood, read from its provenance graph."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from aiida import orm

from aiida_pace.campaign.judge import Action, Reason
from aiida_pace.campaign.phases import cycle_label
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.workflows.graph import children
from aiida_pace.workflows.label.reuse import label_costs

__all__ = ('CampaignState', 'restored_state', 'validation_sets')


@dataclasses.dataclass
class CampaignState:
    """What a campaign knows at the end of a cycle.

    :param cycle: number of the cycle; 0 before the first.
    :param stage: number of the stage of temperature and pressure, from 0.
    :param datasets: what is trained on, by the first part of the link label of the step that labelled it.
    :param audits: the audit frames, likewise; ``audited`` says of which potential and stage.
    :param potentials: by UUID: potential, training parameters, active set.
    :param functions: number of basis functions of each element that the next fit is to have; None: as in the settings.
    :param new_labels: number of frames that the potential was not trained on yet.
    :param previous: verdict and history of the cycle.
    :param requested: number of frames that were to be labelled; ``failed`` could not be.
    :param core_seconds: spent on DFT.
    :param training_core_seconds: what the labels that are trained on cost, whoever paid.
    """

    cycle: int = 0
    stage: int = 0
    datasets: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    audits: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    audited: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    potentials: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    potential: t.Any = None
    training: t.Any = None
    active_set: t.Any = None
    functions: dict[str, int] | None = None
    new_labels: int = 0
    previous: orm.Dict | None = None
    requested: int = 0
    failed: int = 0
    core_seconds: float = 0.0
    training_core_seconds: float = 0.0


def restored_state(campaign: orm.WorkChainNode) -> CampaignState:
    """Return where ``campaign`` stood at the end of its last cycle that was judged.

    What it did after that, it did with seeds that depend on the number of the cycle only: whoever goes on from here
    does the same again, and finds the labels that were made.

    :param campaign: node of an ``ActiveLearningWorkChain`` in whatever state.
    """
    inputs = campaign.inputs
    if 'restart_from' in inputs:
        state = restored_state(t.cast(orm.WorkChainNode, orm.load_node(inputs.restart_from.value)))
    else:
        given = inputs.datasets if 'datasets' in inputs else {}
        state = CampaignState(datasets={f'given_{name}': node for name, node in given.items()})
        for name in ('potential', 'active_set'):
            if name in inputs:
                setattr(state, name, inputs[name])
    steps = children(campaign)
    if state.cycle == 0:
        _add_labels(state, steps, 0)
        _add_potential(state, steps, 0)
    for cycle in itertools.count(state.cycle + 1):
        verdict = steps.get(f'{cycle_label(cycle)}_judge_again') or steps.get(f'{cycle_label(cycle)}_judge')
        if verdict is None or not verdict.is_finished_ok:
            return state
        _add_verdict(state, verdict.outputs.result, cycle)
        _add_labels(state, steps, cycle)
        _add_validation(state, steps, verdict.outputs.result, cycle)
        _add_potential(state, steps, cycle)
    raise AssertionError('unreachable')


def _add_verdict(state: CampaignState, verdict: orm.Dict, cycle: int) -> None:
    record = verdict['history'][-1]
    state.cycle, state.previous = cycle, verdict
    state.audited[cycle_label(cycle)] = {'stage': record['stage'], 'potential': record['potential']}
    state.stage = record['stage'] + (verdict['action'] == Action.NEXT_STAGE)
    if verdict['action'] == Action.GROW_BASIS:
        state.functions = verdict['functions']


def _add_labels(state: CampaignState, steps: dict[str, orm.ProcessNode], cycle: int) -> None:
    label = cycle_label(cycle)
    labelling, split = steps.get(f'{label}_label'), steps.get(f'{label}_split')
    if labelling is None or 'output_parameters' not in labelling.outputs:
        return
    account = labelling.outputs.output_parameters
    state.requested += account['requested']
    state.failed += account['failed']
    state.core_seconds += account['core_seconds']
    if split is None or not split.is_finished_ok:
        return
    if 'audit' in split.outputs:
        state.audits[label] = split.outputs.audit
    if 'training' in split.outputs:
        labels, state.datasets[label] = labelling.outputs.dataset, split.outputs.training
        state.new_labels += split.outputs.training.count
        origins = zip(label_costs(labels), labels.frames.origin, strict=True)
        state.training_core_seconds += sum(cost for cost, origin in origins if origin != 'audit')


def _add_validation(state: CampaignState, steps: dict[str, orm.ProcessNode], verdict: orm.Dict, cycle: int) -> None:
    validation = steps.get(f'{cycle_label(cycle)}_validate')
    if validation is None:
        return
    accounts = dict(validation.outputs.accounts) if 'accounts' in validation.outputs else {}
    state.core_seconds += sum(account['core_seconds'] for account in accounts.values())
    if (verdict['action'], verdict['reason']) == (Action.LEARN, Reason.GATES_NOT_MET):
        for name, dataset in validation_sets(validation, cycle_label(cycle), state.datasets).items():
            state.datasets[name] = dataset
            state.new_labels += dataset.count
            state.training_core_seconds += sum(label_costs(dataset))


def _add_potential(state: CampaignState, steps: dict[str, orm.ProcessNode], cycle: int) -> None:
    training = steps.get(f'{cycle_label(cycle)}_train')
    if training is None or not training.is_finished_ok:
        return
    names = {'potential': 'potential', 'training': 'output_parameters', 'active_set': 'active_set'}
    triple = {name: training.outputs[output] for name, output in names.items()}
    state.potentials[training.outputs.potential.uuid] = triple
    for name, node in triple.items():
        setattr(state, name, node)
    state.new_labels = 0


def validation_sets(validation: orm.ProcessNode, label: str, known: t.Collection[str]) -> dict[str, AtomsDatasetData]:
    """Return the labelled frames of a validation, by names to train on them by; none when an earlier one is there.

    Each validation of a campaign has the same frames: they do not depend on the potential.

    :param label: of the cycle.
    :param known: names of the data sets that are trained on.
    """
    steps = ('volumes', 'responses')
    if 'datasets' not in validation.outputs or any(name.endswith(steps) for name in known):
        return {}
    datasets = validation.outputs.datasets
    return {f'{label}_{step}': datasets[step] for step in steps if step in datasets}
