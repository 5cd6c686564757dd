"""Where a campaign stands and what each of its steps gave: from the node of the work chain to numbers."""

from __future__ import annotations

import dataclasses

from aiida import orm
from aiida.common import timezone

from aiida_pace.campaign.history import quiet_rounds
from aiida_pace.campaign.phases import CAMPAIGN_EXTRA, Phase
from aiida_pace.campaign.records import Record, ValidationRecord, VerdictRecord
from aiida_pace.campaign.state import CampaignState, fold
from aiida_pace.report.checks import Check, checks
from aiida_pace.report.progress import Progress, progress
from aiida_pace.report.steps import StepSummary, summarise_steps
from aiida_pace.workflows import rows
from aiida_pace.workflows.records import Call, calls, lost_campaign, read_records, start_state

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
    :param stages: number of stages of temperature and pressure; None before the campaign has started.
    :param quiet_target: number of quiet rounds in a row that are asked for.
    :param campaign: where it stands, as its work chain and a restart see it.
    :param restarted_from: the campaign that this one goes on from.
    :param lost_campaign: UUID of one of those, when the profile lacks it: its labels and costs are not counted.
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
    stages: int | None
    quiet_target: int | None
    campaign: CampaignState
    elapsed: float
    restarted_from: int | None
    lost_campaign: str | None
    steps: tuple[StepSummary, ...]
    progress: Progress | None
    failed_gates: tuple[str, ...] | None
    checks: tuple[Check, ...]
    faults: tuple[Fault, ...]
    pauses: tuple[Pause, ...]

    @property
    def is_ended(self) -> bool:
        """Whether the campaign has come to an end, good or bad."""
        return self.state in rows.ENDED

    @property
    def is_ok(self) -> bool:
        """Whether the campaign has converged."""
        return self.state == 'finished' and self.exit_status == 0

    @property
    def stage(self) -> int:
        """Number of the stage of temperature and pressure, from 1."""
        return self.campaign.stage + 1

    @property
    def labels(self) -> int:
        """Number of labelled frames to train on, those given at the start included."""
        return self.campaign.labels

    @property
    def quiet_rounds(self) -> int:
        """Number of cycles in a row, up to now, in which every walker came to its end."""
        return quiet_rounds(self.campaign.history)

    @property
    def verdict(self) -> VerdictRecord | None:
        """The verdict on the last cycle that was judged."""
        return self.campaign.verdict

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
        raise ValueError('the node of the campaign is not stored yet')
    pk, state = node.pk, node.process_state.value if node.process_state else 'created'
    stand = node.base.extras.get(CAMPAIGN_EXTRA, {})
    steps = calls(pk)
    records, start = read_records(pk, steps), start_state(pk)
    running = next((call for call in reversed(steps) if call.is_open), None) if state not in rows.ENDED else None
    return CampaignSummary(
        pk=pk,
        state=state,
        exit_status=node.exit_status,
        exit_message=node.exit_message or node.exception or (node.process_status if state == 'killed' else None),
        phase=stand.get('phase', 'waiting for the daemon'),
        cycle=stand.get('cycle', 0),
        max_cycles=stand.get('max_cycles'),
        stages=stand.get('stages'),
        quiet_target=stand.get('quiet_target'),
        campaign=fold(records, start),
        elapsed=((node.mtime if state in rows.ENDED else timezone.now()) - node.ctime).total_seconds(),
        restarted_from=rows.restarted_from(pk),
        lost_campaign=lost_campaign(pk),
        steps=summarise_steps(pk, steps, records, start),
        progress=progress(running) if running else None,
        failed_gates=_failed_gates(records, running),
        checks=checks(steps),
        faults=_faults(pk, steps),
        pauses=_pauses(pk, node) if state not in rows.ENDED else (),
    )


def _failed_gates(records: list[Record], running: Call | None) -> tuple[str, ...] | None:
    """Return a sentence on every property of the last validation beyond its tolerance; None when it told nothing."""
    if running is not None and running.step.phase is Phase.VALIDATE:
        return None
    validations = [record for record in records if isinstance(record, ValidationRecord)]
    return validations[-1].failed if validations else None


def _faults(pk: int, steps: list[Call]) -> tuple[Fault, ...]:
    """Return what went wrong below the campaign: its phases, their calculations, the jobs of the lanes."""
    passed = {call.step.label for call in steps if call.status == 0}
    # A validation has its lanes one call deeper.
    second = [rows.called(pk, 3, None, (), {2: 'robust_lane%'}), rows.called(pk, 4, None, (), {3: 'robust_lane%'})]
    retried = {(*path[:-2], path[-1]) for found in second for path in found}
    project = ('id', 'attributes.exit_message', 'attributes.exception', rows.STATE)
    return tuple(
        Fault('/'.join(path), key, (message or exception or state).strip())
        for depth in (1, 2, 3, 4)
        for *path, key, message, exception, state in rows.called(pk, depth, rows.FAILED, project)
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
    filters = {'and': [{'attributes.paused': True}, rows.OPEN]}
    project = ('id', 'attributes.process_label', 'attributes.process_status')
    found = [(pk, node.process_label, node.process_status)] if node.paused else []
    for depth in (1, 2, 3, 4, 5):
        found += [tuple(row[depth:]) for row in rows.called(pk, depth, filters, project)]
    return tuple(Pause(key, process or 'process', reason or 'paused') for key, process, reason in found)
