"""How far the step of a campaign that runs now has come."""

from __future__ import annotations

import dataclasses

from aiida_pace.campaign.phases import Phase, cycle_label
from aiida_pace.workflows import rows
from aiida_pace.workflows.records import Call

__all__ = ('Progress', 'count_jobs', 'count_walkers', 'progress')

#: Labels of the structures that an exploration starts its walkers from, and that a lane labels.
STRUCTURES = 'structures%'


@dataclasses.dataclass(frozen=True)
class Progress:
    """What is going on in the step that runs now.

    :param step: name of the cycle, ``initial`` or ``cycle_01``, ...; empty for the check.
    :param done: DFT runs or walkers that came to their end, ``failed`` ones included; ``total`` is None when the phase
        is not one of many equal jobs.
    :param task: link labels of the jobs that run, such as ``iteration_02`` of a training.
    """

    step: str = ''
    phase: str = ''
    done: int = 0
    failed: int = 0
    active: int = 0
    total: int | None = None
    task: str = ''


def progress(call: Call) -> Progress:
    """Return how far the step that runs now has come."""
    phase = call.step.phase
    step = '' if phase is Phase.CHECK else cycle_label(call.step.cycle)
    if phase is Phase.LABEL:
        found = _labelling(call.pk)
    elif phase is Phase.EXPLORE:
        found = dataclasses.replace(count_jobs(call.pk), total=count_walkers(call.pk))
    else:
        tasks = {label: key for label, key in rows.called(call.pk, 1, rows.OPEN, ('id',))}
        labelling = next((key for label, key in tasks.items() if label.startswith('label_')), None)
        found = Progress(active=len(tasks), task=', '.join(tasks)) if labelling is None else _labelling(labelling)
    return dataclasses.replace(found, step=step, phase=phase.value)


def _labelling(pk: int) -> Progress:
    """Return how far the labelling ``pk`` has come."""
    # Of the lanes: what is reused or rejected is not given to DFT.
    total = len({label for _, label, _ in rows.inputs_of_called(pk, 1, STRUCTURES, ['id'])})
    total = total or sum(count for *_, count in rows.inputs_of_called(pk, 0, 'dataset', ['attributes.count']))
    return dataclasses.replace(count_jobs(pk), total=total)


def count_walkers(pk: int) -> int:
    """Return the number of walkers of the exploration ``pk``."""
    return len(rows.inputs_of_called(pk, 0, STRUCTURES, ['id']))


def count_jobs(pk: int) -> Progress:
    """Return how many jobs of the lanes of the process ``pk`` ended, failed and run; of two tries the second counts."""
    found = {label: (state, status) for _, label, state, status in rows.called(pk, 2, None, (rows.STATE, rows.STATUS))}
    ended = [(state, status) for state, status in found.values() if state in rows.ENDED]
    failed = sum(state != 'finished' or bool(status) for state, status in ended)
    return Progress(done=len(ended), failed=failed, active=len(found) - len(ended))
