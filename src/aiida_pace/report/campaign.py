"""Where a campaign stands and what each of its steps gave: from the node of the work chain to numbers."""

from __future__ import annotations

import dataclasses

from aiida import orm
from aiida.common import timezone

from aiida_pace.report import graph
from aiida_pace.report.graph import ENDED
from aiida_pace.report.steps import Phase, Progress, StepSummary, given_labels, phases, progress, summarise_steps
from aiida_pace.workflows.campaign_state import CAMPAIGN_EXTRA

__all__ = ('PROCESS_TYPE', 'CampaignSummary', 'Fault', 'Pause', 'summarise_campaign')

#: Process type of the work chain; by name, as importing it, with all engines' plugins, takes seconds.
PROCESS_TYPE = 'aiida.workflows:pace.active_learning'


@dataclasses.dataclass(frozen=True)
class Fault:
    """A process below the campaign that went wrong; ``path`` holds the link labels that lead to it."""

    path: str
    pk: int
    message: str


@dataclasses.dataclass(frozen=True)
class Pause:
    """A process of the campaign that waits for ``verdi process play``."""

    pk: int
    process: str
    reason: str


@dataclasses.dataclass(frozen=True)
class CampaignSummary:
    """A campaign in numbers.

    :param state: process state in AiiDA's words.
    :param exit_message: why it ended, whatever AiiDA keeps of it.
    :param phase: what the campaign does, in its own words; the last one when it has ended.
    :param quiet_rounds: cycles in a row, up to now, in which every walker came to its end.
    :param quiet_target: as many of them are asked for.
    :param labels: labelled frames, those given at the start included.
    :param elapsed: seconds from its submission to its last change, or to now while it runs.
    """

    pk: int
    state: str
    exit_status: int | None
    exit_message: str | None
    phase: str
    cycle: int
    max_cycles: int | None
    quiet_rounds: int
    quiet_target: int | None
    labels: int
    elapsed: float
    steps: tuple[StepSummary, ...]
    progress: Progress | None
    faults: tuple[Fault, ...]
    pauses: tuple[Pause, ...]

    @property
    def is_ended(self) -> bool:
        """Whether the campaign has come to an end, good or bad."""
        return self.state in ENDED

    @property
    def is_ok(self) -> bool:
        """Whether the campaign has converged."""
        return self.state == 'finished' and self.exit_status == 0

    @property
    def core_seconds(self) -> float:
        """What DFT took for this campaign, in core-seconds."""
        return sum(step.core_seconds or 0.0 for step in self.steps)

    @property
    def core_seconds_saved(self) -> float:
        """What the labels that were reused or cached took when they were computed, in core-seconds."""
        return sum(step.core_seconds_saved for step in self.steps)

    @property
    def cached(self) -> int:
        """Number of DFT runs that came from the cache."""
        return sum(step.cached for step in self.steps)

    @property
    def reused(self) -> int:
        """Number of labels that the profile had already."""
        return sum(step.reused or 0 for step in self.steps)


def summarise_campaign(node: orm.WorkChainNode) -> CampaignSummary:
    """Return the numbers of the campaign ``node``, at whatever point it is.

    The graph is asked some fifteen questions and no node is loaded: fit to be called every few seconds.

    :param node: stored node of an ``ActiveLearningWorkChain``.
    :raises ValueError: when ``node`` is not stored.
    """
    if node.pk is None:
        raise ValueError('the node of the campaign is not stored: nothing is known of it yet')
    pk, state = node.pk, node.process_state.value if node.process_state else 'created'
    stand = node.base.extras.get(CAMPAIGN_EXTRA, {})
    children = phases(pk)
    running = next((child for child in reversed(children) if child.is_open), None) if state not in ENDED else None
    steps = summarise_steps(pk, children)
    return CampaignSummary(
        pk=pk,
        state=state,
        exit_status=node.exit_status,
        exit_message=node.exit_message or node.exception or (node.process_status if state == 'killed' else None),
        phase=stand.get('phase', 'waiting for the daemon'),
        cycle=stand.get('cycle', 0),
        max_cycles=stand.get('max_cycles'),
        quiet_rounds=stand.get('quiet_rounds', 0),
        quiet_target=stand.get('quiet_target'),
        labels=steps[-1].labels if steps else given_labels(pk),
        elapsed=((node.mtime if state in ENDED else timezone.now()) - node.ctime).total_seconds(),
        steps=steps,
        progress=progress(running) if running else None,
        faults=_faults(pk, children),
        pauses=_pauses(pk, node) if state not in ENDED else (),
    )


def _faults(pk: int, children: list[Phase]) -> tuple[Fault, ...]:
    """Return what went wrong below the campaign: its phases, their calculations, the jobs of the lanes.

    A fit that failed in a training that went well was restarted there, and is left out; of a DFT run that got a second
    try, the first one is.
    """
    mended = {f'{child.step}_train' for child in children if child.phase == 'train' and child.status == 0}
    retried = {
        (step, frame)
        for step, lane, key in graph.called(pk, 2, None, ('id',))
        if lane.startswith('robust_lane')
        for frame, _ in graph.called(key, 1, None, ('id',))
    }
    project = ('id', 'attributes.exit_message', 'attributes.exception', graph.STATE)
    faults = []
    for depth in (1, 2, 3):
        for *path, key, message, exception, state in graph.called(pk, depth, graph.FAILED, project):
            is_first_try = depth == 3 and path[1].startswith('lane') and (path[0], path[2]) in retried
            if not is_first_try and (depth == 1 or path[0] not in mended):
                faults.append(Fault('/'.join(path), key, (message or exception or state).strip()))
    return tuple(faults)


def _pauses(pk: int, node: orm.WorkChainNode) -> tuple[Pause, ...]:
    """Return the processes that wait for somebody: the campaign itself and all below it."""
    filters = {'and': [{'attributes.paused': True}, graph.OPEN]}
    project = ('id', 'attributes.process_label', 'attributes.process_status')
    found = [(pk, node.process_label, node.process_status)] if node.paused else []
    for depth in (1, 2, 3, 4):
        found += [tuple(row[depth:]) for row in graph.called(pk, depth, filters, project)]
    return tuple(Pause(key, process or 'process', reason or 'paused') for key, process, reason in found)
