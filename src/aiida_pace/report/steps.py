"""The steps of a campaign, the initial set and the cycles: one row of numbers each, from its records and states."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Sequence

from aiida_pace.campaign.phases import Phase, cycle_label
from aiida_pace.campaign.records import (
    Account,
    ExplorationRecord,
    LabelsRecord,
    Record,
    TrainingRecord,
    ValidationRecord,
    VerdictRecord,
)
from aiida_pace.campaign.state import CampaignState, states
from aiida_pace.metrics.errors import Estimate
from aiida_pace.report.progress import count_jobs, count_walkers
from aiida_pace.workflows import rows
from aiida_pace.workflows.records import Call

__all__ = ('GATES', 'StepSummary', 'summarise_steps')

#: End of the name of the row of a validation, beside that of its cycle.
GATES = '_gates'


@dataclasses.dataclass(frozen=True)
class StepSummary:
    """One row of the table: the initial set, one cycle, or its validation; None where there is no result (yet).

    :param requested: frames asked for: reused + cached + labelled + failed + rejected, or, while the step runs, open.
    :param reused: labels that the profile had already.
    :param cached: DFT runs taken from AiiDA's cache instead of computed.
    :param labelled: labels that DFT computed.
    :param rejected: frames unfit for DFT, and labels that are implausible.
    :param max_grade: highest extrapolation grade that a walker met.
    :param force_rmse: root-mean-square error of a force component on the training set, in eV/Å.
    :param energy_rmse: the same of the energies, in eV/atom.
    :param audit: error in eV/Å on the audit frames, of the potential that the walkers of this cycle followed.
    :param core_seconds: what DFT took, by the engine's own timing, failed runs and all.
    :param core_seconds_saved: the same of the labels that were reused or cached.
    :param labels: labelled frames that the campaign may train on after this step.
    """

    name: str
    requested: int | None = None
    reused: int | None = None
    cached: int = 0
    labelled: int | None = None
    failed: int | None = None
    rejected: int | None = None
    walkers: int | None = None
    halted: int | None = None
    max_grade: float | None = None
    force_rmse: float | None = None
    energy_rmse: float | None = None
    audit: Estimate | None = None
    core_seconds: float | None = None
    core_seconds_saved: float = 0.0
    labels: int = 0


#: Number of the cycle, and whether it is the row of its validation: in this order the rows are shown.
Key = tuple[int, bool]


def summarise_steps(
    pk: int, calls: Sequence[Call], records: Sequence[Record], start: CampaignState
) -> tuple[StepSummary, ...]:
    """Return the rows of the table of the campaign ``pk``, in the order of the steps.

    :param start: the state that the campaign began in.
    """
    columns: dict[Key, dict[str, t.Any]] = {(call.step.cycle, False): {} for call in calls if _has_row(call)}
    validations: dict[int, Account] = {}
    for record in records:
        if isinstance(record, ValidationRecord):
            validations[record.cycle] = validations.get(record.cycle, Account()) + record.account
        else:
            columns.setdefault((record.cycle, False), {}).update(_columns(record))
    columns |= {
        (cycle, True): dataclasses.asdict(account) for cycle, account in validations.items() if account.requested
    }
    for call, found in _unfinished(pk, calls, records):
        columns[call.step.cycle, False].update(found)
    reached = [(0, start), *zip([record.cycle for record in records], list(states(records, start))[1:], strict=True)]
    return tuple(
        StepSummary(
            name=cycle_label(cycle) + (GATES if is_validation else ''),
            labels=[state for number, state in reached if number <= cycle][-1].labels,
            **columns[cycle, is_validation],
        )
        for cycle, is_validation in sorted(columns)
    )


def _has_row(call: Call) -> bool:
    return call.step.phase not in (Phase.CHECK, Phase.VALIDATE)


def _columns(record: Record) -> dict[str, t.Any]:
    """Return what a record says of its cycle."""
    if isinstance(record, LabelsRecord):
        return dataclasses.asdict(record.account)
    if isinstance(record, ExplorationRecord):
        return {'walkers': record.walkers, 'halted': record.halted, 'max_grade': record.max_grade}
    if isinstance(record, TrainingRecord):
        return {'force_rmse': record.force_rmse, 'energy_rmse': record.energy_rmse}
    return {'audit': record.history[-1].audit} if isinstance(record, VerdictRecord) else {}


def _unfinished(pk: int, calls: Sequence[Call], records: Sequence[Record]) -> list[tuple[Call, dict[str, t.Any]]]:
    """Return what is known of labellings and explorations that left no record: they run, or broke off."""
    labelled = {record.cycle for record in records if isinstance(record, LabelsRecord)}
    explored = {record.cycle for record in records if isinstance(record, ExplorationRecord)}
    labelling = [call for call in calls if call.step.phase is Phase.LABEL and call.step.cycle not in labelled]
    exploring = [call for call in calls if call.step.phase is Phase.EXPLORE and call.step.cycle not in explored]
    found = [(call, _count_labels(pk, call)) for call in labelling]
    return found + [(call, _count_walkers(call)) for call in exploring]


def _count_labels(pk: int, call: Call) -> dict[str, t.Any]:
    """Return the columns of a labelling without an account."""
    requested = next((count for *_, count in rows.inputs_of_called(call.pk, 0, 'dataset', ['attributes.count'])), None)
    cached = len({run for step, run in rows.cached_runs(pk) if step == call.pk})
    found = count_jobs(call.pk)
    computed = max(0, found.done - found.failed - cached)
    return {'requested': requested, 'cached': cached, 'labelled': computed, 'failed': found.failed}


def _count_walkers(call: Call) -> dict[str, t.Any]:
    """Return the columns of an exploration without a summary."""
    results = [result for *_, result in rows.outputs_of_called(call.pk, 2, ['output_parameters'], ['attributes'])]
    grades = [result['max_grade'] for result in results if result.get('max_grade') is not None]
    halted = sum(bool(result.get('halted')) for result in results)
    return {'walkers': count_walkers(call.pk), 'halted': halted, 'max_grade': max(grades, default=None)}
