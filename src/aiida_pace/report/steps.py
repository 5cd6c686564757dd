"""The steps of a campaign, the initial set and the cycles: one row of numbers each, and how far the running one is."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Callable

from aiida_pace.report import graph
from aiida_pace.report.graph import ENDED

__all__ = ('Phase', 'Progress', 'StepSummary', 'given_labels', 'phases', 'progress', 'summarise_steps')

LABEL = re.compile(r'(?P<step>initial|cycle_\d+)_(?P<phase>label|train|explore|select)')

#: Labels of the structures that an exploration starts its walkers from, and that a lane labels.
STRUCTURES = 'structures%'


@dataclasses.dataclass(frozen=True)
class StepSummary:
    """One row of the table: the initial set or one cycle; None where a phase has not come to a result.

    :param requested: frames asked for: reused + cached + labelled + failed + rejected, or, while the step runs, open.
    :param reused: labels that the profile had already.
    :param cached: DFT runs taken from AiiDA's cache instead of computed.
    :param labelled: labels that DFT computed.
    :param rejected: frames unfit for DFT, and labels that are absurd.
    :param max_grade: highest extrapolation grade that a walker met.
    :param force_rmse: root-mean-square error of a force component on the training set, in meV/Å.
    :param energy_rmse: the same of the energies, in meV/atom.
    :param core_seconds: what DFT took, by the engine's own timing, failed runs and all.
    :param core_seconds_saved: the same of the labels that were reused or cached.
    :param labels: labelled frames of the campaign after this step.
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
    core_seconds: float | None = None
    core_seconds_saved: float = 0.0
    labels: int = 0


@dataclasses.dataclass(frozen=True)
class Progress:
    """What is going on in the step that runs now.

    :param done: DFT runs or walkers that came to their end, ``failed`` ones included; ``total`` is None when the phase
        is not one of many equal jobs.
    :param task: link label of the job that runs, such as ``iteration_02`` of a training.
    """

    step: str = ''
    phase: str = ''
    done: int = 0
    failed: int = 0
    active: int = 0
    total: int | None = None
    task: str = ''


@dataclasses.dataclass(frozen=True)
class Phase:
    """A process that the campaign called for one phase of a step, with its ``output_parameters``."""

    pk: int
    step: str
    phase: str
    state: str
    status: int | None
    result: dict[str, t.Any]

    @property
    def is_open(self) -> bool:
        """Whether the process has not come to its end."""
        return self.state not in ENDED


Columns = Callable[[Phase], dict[str, t.Any]]


def phases(pk: int) -> list[Phase]:
    """Return what the campaign called for its steps, in the order of the calls, with their output parameters."""
    results = {key: result for key, result in graph.outputs_of_called(pk, 1, 'output_parameters', 'attributes')}
    return [
        Phase(key, match['step'], match['phase'], state or 'created', status, results.get(key, {}))
        for label, key, state, status in graph.called(pk, 1, None, ('id', graph.STATE, graph.STATUS))
        if (match := LABEL.fullmatch(label))
    ]


def summarise_steps(pk: int, children: list[Phase]) -> tuple[StepSummary, ...]:
    """Return the rows of the table, in the order of the steps."""
    rows: dict[str, dict[str, t.Any]] = {}
    columns = {'label': _label_columns(pk), 'explore': _explore_columns(pk), 'train': _train_columns}
    labels = given_labels(pk)
    for child in children:
        row = rows.setdefault(child.step, {'name': child.step})
        if child.phase in columns:
            row |= columns[child.phase](child)
        labels += sum(child.result.get(name, 0) for name in ('reused', 'cached', 'labelled'))
        row['labels'] = labels
    return tuple(StepSummary(**row) for row in rows.values())


def _label_columns(pk: int) -> Columns:
    """Return a function that gives the columns of a labelling: from its account, or counted while there is none."""
    frames = {key: count for key, _, count in graph.inputs_of_called(pk, 1, 'dataset', 'attributes.count')}
    cached: dict[int, set[int]] = {}
    for step, run in graph.cached_runs(pk):
        cached.setdefault(step, set()).add(run)

    def columns(child: Phase) -> dict[str, t.Any]:
        account = child.result
        row: dict[str, t.Any] = {'requested': frames.get(child.pk)}
        if not account:
            jobs, from_cache = _jobs(child.pk), len(cached.get(child.pk, ()))
            computed = max(0, jobs.done - jobs.failed - from_cache)
            return row | {'cached': from_cache, 'labelled': computed, 'failed': jobs.failed}
        row |= {name: account.get(name, 0) for name in ('reused', 'cached', 'labelled', 'failed', 'rejected')}
        saved = sum(account.get(name, 0.0) for name in ('core_seconds_cached', 'core_seconds_reused'))
        return row | {'core_seconds': account.get('core_seconds'), 'core_seconds_saved': saved}

    return columns


def _explore_columns(pk: int) -> Columns:
    """Return a function that gives the columns of an exploration: from its summary, or of the walkers so far."""
    walkers: dict[int, set[str]] = {}
    for key, label, _ in graph.inputs_of_called(pk, 1, STRUCTURES, 'id'):
        walkers.setdefault(key, set()).add(label)

    def columns(child: Phase) -> dict[str, t.Any]:
        halted, grade = len(child.result.get('halted', ())), child.result.get('max_grade')
        if not child.result:
            results = [result for _, result in graph.outputs_of_called(child.pk, 2, 'output_parameters', 'attributes')]
            halted = sum(bool(result.get('halted')) for result in results)
            grade = max(
                (result['max_grade'] for result in results if result.get('max_grade') is not None), default=None
            )
        return {'walkers': len(walkers.get(child.pk, ())), 'halted': halted, 'max_grade': grade}

    return columns


def _train_columns(child: Phase) -> dict[str, t.Any]:
    """Return the columns of a training, from eV to meV."""
    errors = {'force_rmse': child.result.get('rmse_f_comp'), 'energy_rmse': child.result.get('rmse_epa')}
    return {name: None if error is None else 1000 * error for name, error in errors.items()}


def given_labels(pk: int) -> int:
    """Return the number of labelled frames that the campaign was given."""
    return sum(count for _, _, count in graph.inputs_of_called(pk, 0, 'dataset', 'attributes.count'))


def progress(child: Phase) -> Progress:
    """Return how far the phase that runs now has come."""
    if child.phase in ('train', 'select'):
        tasks = graph.called(child.pk, 1, graph.OPEN, ('id',))
        return Progress(child.step, child.phase, active=len(tasks), task=tasks[-1][0] if tasks else '')
    if child.phase == 'label':
        # Of the lanes: what is reused or rejected is not given to DFT.
        total = len({label for _, label, _ in graph.inputs_of_called(child.pk, 1, STRUCTURES, 'id')})
        total = total or sum(count for *_, count in graph.inputs_of_called(child.pk, 0, 'dataset', 'attributes.count'))
    else:
        total = len(graph.inputs_of_called(child.pk, 0, STRUCTURES, 'id'))
    return dataclasses.replace(_jobs(child.pk), step=child.step, phase=child.phase, total=total)


def _jobs(pk: int) -> Progress:
    """Return how many jobs of the lanes of the process ``pk`` ended, failed and run; of two tries the second counts."""
    rows = graph.called(pk, 2, None, (graph.STATE, graph.STATUS))
    jobs = {label: (state, status) for _, label, state, status in rows}
    ended = [(state, status) for state, status in jobs.values() if state in ENDED]
    failed = sum(state != 'finished' or bool(status) for state, status in ended)
    return Progress(done=len(ended), failed=failed, active=len(jobs) - len(ended))
