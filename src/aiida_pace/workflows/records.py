"""The records of a campaign, read from its provenance graph in a few queries; no node is loaded."""

from __future__ import annotations

import collections
import dataclasses
import typing as t
from collections.abc import Sequence

from aiida_pace.campaign.history import CycleRecord
from aiida_pace.campaign.judge import Action, Reason
from aiida_pace.campaign.phases import VALIDATION_PARTS, Phase, Step
from aiida_pace.campaign.records import (
    Account,
    DataSet,
    ExplorationRecord,
    GivenRecord,
    LabelsRecord,
    Record,
    TrainingRecord,
    ValidationRecord,
    VerdictRecord,
)
from aiida_pace.campaign.state import CampaignState, fold
from aiida_pace.workflows import rows

__all__ = ('Call', 'calls', 'campaign_state', 'lost_campaign', 'read_records', 'resumed_state', 'start_state')

OUTPUTS = (
    *('output_parameters', 'dataset', 'training', 'audit', 'potential', 'active_set', 'gates'),
    *(f'{port}__{part}' for port in ('accounts', 'datasets') for part in VALIDATION_PARTS),
)


@dataclasses.dataclass(frozen=True)
class Call:
    """A process that the campaign called for a step.

    :param state: process state in AiiDA's words.
    :param status: exit status; None when it has not finished.
    """

    pk: int
    step: Step
    state: str
    status: int | None

    @property
    def is_open(self) -> bool:
        """Whether the process has not come to its end."""
        return self.state not in rows.ENDED


class Output(t.NamedTuple):
    """An output of a process."""

    uuid: str
    attributes: dict[str, t.Any]


Outputs = dict[str, Output]


def calls(pk: int) -> list[Call]:
    """Return what the campaign ``pk`` called for its steps, in the order of the calls.

    A step that AiiDA ran again after a crash is there once: with the last process that finished, or else the last one.
    """
    found: dict[Step, Call] = {}
    for label, key, state, status in rows.called(pk, 1, None, ('id', rows.STATE, rows.STATUS)):
        step = Step.parse(label)
        if step is not None and not (step in found and found[step].status == 0 and status != 0):
            found.pop(step, None)
            found[step] = Call(key, step, state or 'created', status)
    return list(found.values())


def campaign_state(pk: int) -> CampaignState:
    """Return where the campaign ``pk`` stands, whether it runs or has ended."""
    return fold(read_records(pk), start_state(pk))


def start_state(pk: int) -> CampaignState:
    """Return the state that the campaign ``pk`` begins in: with what it was given, where an earlier one stood."""
    earlier = rows.restarted_from(pk)
    state = CampaignState() if earlier is None else resumed_state(earlier)
    return state.with_given(_given(pk))


def resumed_state(pk: int) -> CampaignState:
    """Return where a campaign goes on that restarts from the campaign ``pk``."""
    return start_state(pk).resumed(read_records(pk))


def lost_campaign(pk: int) -> str | None:
    """Return the UUID of a campaign that ``pk`` goes on from, directly or not, when the profile lacks it."""
    earlier = rows.restarted_from(pk)
    return rows.restart_uuid(pk) if earlier is None else lost_campaign(earlier)


def _given(pk: int) -> GivenRecord:
    """Return what the campaign ``pk`` was given to start from."""
    datasets, given = {}, {}
    for _, label, uuid, count in rows.inputs_of_called(pk, 0, '%', ['uuid', 'attributes.count']):
        if label.startswith('datasets__'):
            datasets[label.removeprefix('datasets__')] = DataSet(uuid, count)
        elif label in ('potential', 'active_set'):
            given[label] = uuid
    return GivenRecord(datasets, **given)


def read_records(pk: int, steps: Sequence[Call] | None = None) -> list[Record]:
    """Return the records of the campaign ``pk`` itself, in the order in which they were made.

    :param steps: its `calls`, where they are known.
    """
    steps = calls(pk) if steps is None else steps
    outputs: dict[int, Outputs] = collections.defaultdict(dict)
    for key, label, uuid, attributes in rows.outputs_of_called(pk, 1, OUTPUTS, ['uuid', 'attributes']):
        outputs[key][label] = Output(uuid, attributes)
    by_step = {call.step: outputs[call.pk] for call in steps}
    verdicts = _verdicts(pk, steps)
    validated = {
        key: uuid
        for key, _, uuid in rows.inputs_of_called(pk, 1, 'potential', ['uuid'], {1: f'%{Phase.VALIDATE.value}%'})
    }
    records: list[Record | None] = []
    for call in steps:
        found = outputs[call.pk]
        match call.step.phase:
            case Phase.EXPLORE:
                records.append(_exploration(call, found))
            case Phase.LABEL:
                records.append(_labels(call, found, by_step.get(Step(Phase.SPLIT, call.step.cycle), {})))
            case Phase.TRAIN:
                records.append(_training(call, found))
            case Phase.JUDGE:
                records.append(verdicts.get(call.pk))
            case Phase.VALIDATE:
                records.append(_validation(call, found, validated.get(call.pk, '')))
    return [record for record in records if record is not None]


def _exploration(call: Call, outputs: Outputs) -> ExplorationRecord | None:
    if 'output_parameters' not in outputs:
        return None
    summary = outputs['output_parameters'].attributes
    walkers = sum(len(summary.get(name, ())) for name in ('completed', 'halted', 'failed'))
    return ExplorationRecord(call.step.cycle, walkers, len(summary['halted']), summary.get('max_grade'))


def _labels(call: Call, outputs: Outputs, split: Outputs) -> LabelsRecord | None:
    if 'output_parameters' not in outputs:
        return None
    account = Account.from_dict(outputs['output_parameters'].attributes)
    training, audit, costs = outputs.get('dataset'), outputs.get('audit'), None
    if split:  # of an earlier version: a step of its own set the audit frames apart, and the labels say what all cost
        costs = None if training is None else training.uuid
        training, audit = split.get('training'), split.get('audit')
    return LabelsRecord(call.step.cycle, account, _dataset(training, costs), _dataset(audit, costs))


def _dataset(output: Output | None, costs: str | None) -> DataSet | None:
    return None if output is None else DataSet(output.uuid, output.attributes['count'], costs or output.uuid)


def _training(call: Call, outputs: Outputs) -> TrainingRecord | None:
    if call.status != 0 or 'potential' not in outputs:
        return None
    errors = outputs.get('output_parameters')
    return TrainingRecord(
        call.step.cycle,
        outputs['potential'].uuid,
        outputs['active_set'].uuid if 'active_set' in outputs else None,
        None if errors is None else errors.uuid,
        force_rmse=None if errors is None else errors.attributes.get('rmse_f_comp'),
        energy_rmse=None if errors is None else errors.attributes.get('rmse_epa'),
    )


def _validation(call: Call, outputs: Outputs, potential: str) -> ValidationRecord | None:
    if call.is_open:
        return None
    parts = {part: outputs[f'datasets__{part}'] for part in VALIDATION_PARTS if f'datasets__{part}' in outputs}
    accounts = [outputs[name].attributes for part in VALIDATION_PARTS if (name := f'accounts__{part}') in outputs]
    gates = outputs.get('gates')
    passed = bool(gates.attributes['passed']) if gates else None if call.state == 'killed' else False
    return ValidationRecord(
        call.step.cycle,
        potential,
        sum(map(Account.from_dict, accounts), Account()),
        passed=passed,
        failed=None if gates is None else tuple(gates.attributes['failed']),
        properties=outputs['output_parameters'].uuid if 'output_parameters' in outputs else None,
        gates=None if gates is None else gates.uuid,
        datasets={part: DataSet(one.uuid, one.attributes['count'], one.uuid) for part, one in parts.items()},
    )


def _verdicts(pk: int, steps: Sequence[Call]) -> dict[int, VerdictRecord]:
    """Return the verdicts of the campaign by the key of the process.

    Each verdict holds the whole history: it is read from the last one only. A cycle that was judged for the first time
    had no answer on the gates yet.
    """
    judged = {call.pk: call.step for call in steps if call.step.phase is Phase.JUDGE and call.status == 0}
    if not judged:
        return {}
    names = ('action', 'reason', 'message', 'functions')
    found = rows.outputs_of_called(
        pk, 1, ['result'], ['uuid', *(f'attributes.{name}' for name in names)], {1: f'%{Phase.JUDGE.value}%'}
    )
    last = rows.outputs_of_called(list(judged)[-1], 0, ['result'], ['attributes.history'])
    history = [CycleRecord.from_dict(values) for values in last[0][-1]]
    verdicts = {}
    for key, _, uuid, action, reason, message, functions in found:
        if key in judged:
            step = judged[key]
            past = history[: step.cycle]
            if not step.again:
                past[-1] = dataclasses.replace(past[-1], gates=None)
            known = None if reason is None else Reason(reason)
            verdicts[key] = VerdictRecord(
                step.cycle, uuid, Action(action), known, message, tuple(past), functions=functions
            )
    return verdicts
