"""Where a campaign stands and what each of its steps gave: from the node of the work chain to numbers."""

from __future__ import annotations

import dataclasses

from aiida import orm
from aiida.common import timezone

from aiida_pace.campaign.phases import CAMPAIGN_EXTRA
from aiida_pace.report import graph
from aiida_pace.report.graph import ENDED
from aiida_pace.report.phases import Phase, Progress, phases, progress
from aiida_pace.report.steps import StepSummary, given_labels, summarise_steps
from aiida_pace.report.verdicts import Check, Verdict, checks, failed_gates, last_verdict

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
    :param stage: number of the stage of temperature and pressure, from 1; None before the campaign has started.
    :param quiet_rounds: cycles in a row, up to now, in which every walker came to its end.
    :param quiet_target: as many of them are asked for.
    :param labels: labelled frames to train on, those given at the start included.
    :param restarted_from: the campaign that this one goes on from.
    :param verdict: of the last cycle that was judged.
    :param failed_gates: a sentence on each property of the last validation that is beyond its tolerance; None when
        there is none.
    :param checks: what the check before the first DFT run found wrong.
    :param elapsed: seconds from its submission to its last change, or to now while it runs.
    """

    pk: int
    state: str
    exit_status: int | None
    exit_message: str | None
    phase: str
    cycle: int
    max_cycles: int | None
    stage: int | None
    stages: int | None
    quiet_rounds: int
    quiet_target: int | None
    labels: int
    elapsed: float
    restarted_from: int | None
    steps: tuple[StepSummary, ...]
    progress: Progress | None
    verdict: Verdict | None
    failed_gates: tuple[str, ...] | None
    checks: tuple[Check, ...]
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

    The graph is asked some thirty questions, however many cycles there are, and no node is loaded: fit to be called
    every few seconds.

    :param node: stored node of an ``ActiveLearningWorkChain``.
    :raises ValueError: when ``node`` is not stored.
    """
    if node.pk is None:
        raise ValueError('the node of the campaign is not stored: nothing is known of it yet')
    pk, state = node.pk, node.process_state.value if node.process_state else 'created'
    stand = node.base.extras.get(CAMPAIGN_EXTRA, {})
    children = phases(pk)
    running = next((child for child in reversed(children) if child.is_open), None) if state not in ENDED else None
    verdict = last_verdict(children)
    steps = summarise_steps(pk, children, verdict.audits if verdict else {})
    return CampaignSummary(
        pk=pk,
        state=state,
        exit_status=node.exit_status,
        exit_message=node.exit_message or node.exception or (node.process_status if state == 'killed' else None),
        phase=stand.get('phase', 'waiting for the daemon'),
        cycle=stand.get('cycle', 0),
        max_cycles=stand.get('max_cycles'),
        stage=stand.get('stage'),
        stages=stand.get('stages'),
        quiet_rounds=stand.get('quiet_rounds', 0),
        quiet_target=stand.get('quiet_target'),
        labels=steps[-1].labels if steps else given_labels(pk),
        elapsed=((node.mtime if state in ENDED else timezone.now()) - node.ctime).total_seconds(),
        restarted_from=graph.restarted_from(pk),
        steps=steps,
        progress=progress(running) if running else None,
        verdict=verdict,
        failed_gates=failed_gates(pk, children),
        checks=checks(children),
        faults=_faults(pk, children),
        pauses=_pauses(pk, node) if state not in ENDED else (),
    )


def _faults(pk: int, children: list[Phase]) -> tuple[Fault, ...]:
    """Return what went wrong below the campaign: its phases, their calculations, the jobs of the lanes."""
    passed = {f'{child.step}_{child.phase}' for child in children if child.status == 0}
    # A validation has its lanes one call deeper.
    second = [graph.called(pk, 3, None, (), {2: 'robust_lane%'}), graph.called(pk, 4, None, (), {3: 'robust_lane%'})]
    retried = {(*path[:-2], path[-1]) for rows in second for path in rows}
    project = ('id', 'attributes.exit_message', 'attributes.exception', graph.STATE)
    return tuple(
        Fault('/'.join(path), key, (message or exception or state).strip())
        for depth in (1, 2, 3, 4)
        for *path, key, message, exception, state in graph.called(pk, depth, graph.FAILED, project)
        if _is_fault(path, passed, retried)
    )


def _is_fault(path: list[str], passed: set[str], retried: set[tuple[str, ...]]) -> bool:
    """Return whether what failed at the end of ``path`` did harm that is not told otherwise.

    :param passed: phases that went well: their fits were restarted, and MaxVol gave way to another choice.
    :param retried: DFT runs that got a second try, without their lanes: the first one does not count.
    """
    if len(path) == 1:
        return True
    if path[0] == 'check' or (path[0] in passed and (path[0].endswith('_train') or path[1:] == ['select'])):
        return False
    if len(path) > 2 and path[-2].startswith('lane') and (*path[:-2], path[-1]) in retried:
        return False
    return len(path) < 4 or 'lane' in path[2]


def _pauses(pk: int, node: orm.WorkChainNode) -> tuple[Pause, ...]:
    """Return the processes that wait for somebody: the campaign itself and all below it."""
    filters = {'and': [{'attributes.paused': True}, graph.OPEN]}
    project = ('id', 'attributes.process_label', 'attributes.process_status')
    found = [(pk, node.process_label, node.process_status)] if node.paused else []
    for depth in (1, 2, 3, 4, 5):
        found += [tuple(row[depth:]) for row in graph.called(pk, depth, filters, project)]
    return tuple(Pause(key, process or 'process', reason or 'paused') for key, process, reason in found)
