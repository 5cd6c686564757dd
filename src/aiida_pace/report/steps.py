"""The steps of a campaign, the initial set and the cycles: one row of numbers each."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Callable, Iterable

from aiida_pace.report import graph
from aiida_pace.report.phases import STRUCTURES, Phase, jobs, phases
from aiida_pace.report.verdicts import Audit, judged_cycles

__all__ = ('GATES', 'StepSummary', 'given_labels', 'summarise_steps')

#: End of the name of the row of a validation, beside that of its cycle.
GATES = '_gates'

#: What `LabelWorkChain` accounts for.
ACCOUNT = ('reused', 'cached', 'labelled', 'failed', 'rejected')


@dataclasses.dataclass(frozen=True)
class StepSummary:
    """One row of the table: the initial set, one cycle, or its validation; None where there is no result (yet).

    :param requested: frames asked for: reused + cached + labelled + failed + rejected, or, while the step runs, open.
    :param reused: labels that the profile had already.
    :param cached: DFT runs taken from AiiDA's cache instead of computed.
    :param labelled: labels that DFT computed.
    :param rejected: frames unfit for DFT, and labels that are implausible.
    :param max_grade: highest extrapolation grade that a walker met.
    :param force_rmse: root-mean-square error of a force component on the training set, in meV/Å.
    :param energy_rmse: the same of the energies, in meV/atom.
    :param audit: error on the audit frames, of the potential that the walkers of this cycle followed.
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
    audit: Audit | None = None
    core_seconds: float | None = None
    core_seconds_saved: float = 0.0
    labels: int = 0


Columns = Callable[[Phase], dict[str, t.Any]]


def summarise_steps(pk: int, children: list[Phase], audits: dict[str, Audit]) -> tuple[StepSummary, ...]:
    """Return the rows of the table, in the order of the steps.

    :param audits: errors on the audit frames, by step.
    """
    rows: dict[str, dict[str, t.Any]] = {}
    columns = {
        'label': _label_columns(pk),
        'explore': _explore_columns(pk),
        'train': _train_columns,
        'validate': _validate_columns(pk),
    }
    labels, new = given_labels(pk), dict(_training_labels(pk))
    for child in children:
        if not child.step:
            continue
        found = columns[child.phase](child) if child.phase in columns else {}
        if child.phase == 'validate' and not found:
            continue
        name = child.step + (GATES if child.phase == 'validate' else '')
        row = rows.setdefault(name, {'name': name, 'audit': audits.get(name)})
        row |= found
        if child.phase == 'label':
            labels += new.get(child.step, 0)
        row['labels'] = labels
    return tuple(StepSummary(**row) for row in rows.values())


def _label_columns(pk: int) -> Columns:
    """Return a function that gives the columns of a labelling: from its account, or counted while there is none."""
    frames = {key: count for key, _, count in graph.inputs_of_called(pk, 1, 'dataset', 'attributes.count')}
    cached: dict[int, set[int]] = {}
    for step, run in graph.cached_runs(pk):
        cached.setdefault(step, set()).add(run)

    def columns(child: Phase) -> dict[str, t.Any]:
        row: dict[str, t.Any] = {'requested': frames.get(child.pk)}
        if child.result:
            return row | _account_columns([child.result])
        found, from_cache = jobs(child.pk), len(cached.get(child.pk, ()))
        computed = max(0, found.done - found.failed - from_cache)
        return row | {'cached': from_cache, 'labelled': computed, 'failed': found.failed}

    return columns


def _account_columns(accounts: Iterable[dict[str, t.Any]]) -> dict[str, t.Any]:
    """Return the columns for what one or more labellings have accounted for."""
    saved = ('core_seconds_cached', 'core_seconds_reused')
    row: dict[str, t.Any] = dict.fromkeys((*ACCOUNT, 'core_seconds', 'core_seconds_saved'), 0)
    for account in accounts:
        for name in (*ACCOUNT, 'core_seconds'):
            row[name] += account.get(name, 0)
        row['core_seconds_saved'] += sum(account.get(name, 0.0) for name in saved)
    return row


def _validate_columns(pk: int) -> Columns:
    """Return a function that gives the columns of a validation; none while nothing of it is labelled."""
    accounts: dict[int, list[dict[str, t.Any]]] = {}
    labels = ('accounts__volumes', 'accounts__responses')
    for key, _, account in graph.outputs_of_called(pk, 1, labels, 'attributes'):
        accounts.setdefault(key, []).append(account)

    def columns(child: Phase) -> dict[str, t.Any]:
        found = accounts.get(child.pk, [])
        requested = sum(account['requested'] for account in found)
        return {'requested': requested} | _account_columns(found) if found else {}

    return columns


def _explore_columns(pk: int) -> Columns:
    """Return a function that gives the columns of an exploration: from its summary, or of the walkers so far."""
    walkers: dict[int, set[str]] = {}
    for key, label, _ in graph.inputs_of_called(pk, 1, STRUCTURES, 'id'):
        walkers.setdefault(key, set()).add(label)

    def columns(child: Phase) -> dict[str, t.Any]:
        halted, grade = len(child.result.get('halted', ())), child.result.get('max_grade')
        if not child.result:
            rows = graph.outputs_of_called(child.pk, 2, ['output_parameters'], 'attributes')
            halted = sum(bool(result.get('halted')) for *_, result in rows)
            grades = [result['max_grade'] for *_, result in rows if result.get('max_grade') is not None]
            grade = max(grades, default=None)
        return {'walkers': len(walkers.get(child.pk, ())), 'halted': halted, 'max_grade': grade}

    return columns


def _train_columns(child: Phase) -> dict[str, t.Any]:
    """Return the columns of a training, from eV to meV."""
    errors = {'force_rmse': child.result.get('rmse_f_comp'), 'energy_rmse': child.result.get('rmse_epa')}
    return {name: None if error is None else 1000 * error for name, error in errors.items()}


def _training_labels(pk: int) -> list[tuple[str, int]]:
    """Return, by step, how many of its labels may be trained on: all but the audit frames."""
    labels = {key: label.removesuffix('_split') for label, key in graph.called(pk, 1, None, ('id',), {1: '%split'})}
    rows = graph.outputs_of_called(pk, 1, ['training'], 'attributes.count')
    return [(labels[key], count) for key, _, count in rows if key in labels]


def given_labels(pk: int) -> int:
    """Return the number of labelled frames that the campaign was given, or has from the one that it goes on from."""
    given: int = sum(count for *_, count in graph.inputs_of_called(pk, 0, 'datasets%', 'attributes.count'))
    earlier = graph.restarted_from(pk)
    if earlier is None:
        return given
    # Of that campaign it takes whole cycles only, those that were judged.
    kept = {'initial', *judged_cycles(phases(earlier))}
    given += sum(count for step, count in _training_labels(earlier) if step in kept)
    return given + given_labels(earlier)
