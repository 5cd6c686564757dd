"""The phases of the steps of a campaign: what was called for them, and how far the one that runs has come."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from aiida_pace.report import graph
from aiida_pace.report.graph import ENDED

__all__ = ('STRUCTURES', 'Phase', 'Progress', 'jobs', 'phases', 'progress')

LABEL = re.compile(
    r'(?:(?P<step>initial|cycle_\d+)_)?(?P<phase>check|generate|label|train|explore|select|audit|judge|validate)'
    r'(?:_again)?'
)

#: Labels of the structures that an exploration starts its walkers from, and that a lane labels.
STRUCTURES = 'structures%'


@dataclasses.dataclass(frozen=True)
class Phase:
    """A process that the campaign called for one phase of a step, with its ``output_parameters``.

    :param step: ``initial`` or ``cycle_01``, ...; empty for what comes before all steps.
    """

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


@dataclasses.dataclass(frozen=True)
class Progress:
    """What is going on in the step that runs now.

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


def phases(pk: int) -> list[Phase]:
    """Return what the campaign called for its steps, in the order of the calls, with their output parameters."""
    results = {key: result for key, _, result in graph.outputs_of_called(pk, 1, ['output_parameters'], 'attributes')}
    return [
        Phase(key, match['step'] or '', match['phase'], state or 'created', status, results.get(key, {}))
        for label, key, state, status in graph.called(pk, 1, None, ('id', graph.STATE, graph.STATUS))
        if (match := LABEL.fullmatch(label))
    ]


def progress(child: Phase) -> Progress:
    """Return how far the phase that runs now has come."""
    if child.phase == 'label':
        return _labelling(child.pk, child)
    if child.phase == 'explore':
        total = len(graph.inputs_of_called(child.pk, 0, STRUCTURES, 'id'))
        return dataclasses.replace(jobs(child.pk), step=child.step, phase=child.phase, total=total)
    tasks = {label: key for label, key in graph.called(child.pk, 1, graph.OPEN, ('id',))}
    labelling = next((key for label, key in tasks.items() if label.startswith('label_')), None)
    if labelling is not None:
        return _labelling(labelling, child)
    return Progress(child.step, child.phase, active=len(tasks), task=', '.join(tasks))


def _labelling(pk: int, child: Phase) -> Progress:
    """Return how far the labelling ``pk`` has come, for the phase that it belongs to."""
    # Of the lanes: what is reused or rejected is not given to DFT.
    total = len({label for _, label, _ in graph.inputs_of_called(pk, 1, STRUCTURES, 'id')})
    total = total or sum(count for *_, count in graph.inputs_of_called(pk, 0, 'dataset', 'attributes.count'))
    return dataclasses.replace(jobs(pk), step=child.step, phase=child.phase, total=total)


def jobs(pk: int) -> Progress:
    """Return how many jobs of the lanes of the process ``pk`` ended, failed and run; of two tries the second counts."""
    rows = graph.called(pk, 2, None, (graph.STATE, graph.STATUS))
    found = {label: (state, status) for _, label, state, status in rows}
    ended = [(state, status) for state, status in found.values() if state in ENDED]
    failed = sum(state != 'finished' or bool(status) for state, status in ended)
    return Progress(done=len(ended), failed=failed, active=len(found) - len(ended))
