"""How a campaign looks in the terminal: from its numbers to text and tables."""

from __future__ import annotations

import datetime

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from aiida_pace.cli.tables import grade_form, steps_table
from aiida_pace.formats.text import counted
from aiida_pace.report.campaign import CampaignSummary, Fault
from aiida_pace.report.progress import Progress
from aiida_pace.report.steps import GATES, StepSummary

__all__ = (
    'closing',
    'duration',
    'findings',
    'headline',
    'notices',
    'outcome',
    'standing',
    'view',
)

#: Causes of failure shown unless all are asked for.
MAX_CAUSES = 5

UNITS = {'label': 'DFT runs', 'explore': 'walkers', 'validate': 'DFT runs'}
PHASES = {
    'check': 'checking that every code works',
    'generate': 'choosing the structures to label first',
    'label': 'labelling with DFT',
    'train': 'training',
    'explore': 'exploring with MD',
    'select': 'selecting candidates',
    'audit': 'auditing the potential',
    'judge': 'judging the potential',
    'validate': 'comparing properties with DFT',
}
STATES = {'created': 'submitted', 'waiting': 'running'}
TASKS = {
    'active_set': 'building the active set',
    'basis': 'listing the functions of the basis',
    'embed': 'cutting boxes out of large cells',
    'evaluate': 'grading',
    'select': 'MaxVol',
    'swarm': 'making candidates',
}
ACTIONS = {
    'continue': 'go on',
    'next_stage': 'next stage',
    'learn': 'learn more',
    'grow_basis': 'grow the basis',
    'validate': 'compute the properties',
}


def duration(seconds: float) -> str:
    """Return ``seconds`` as hours, minutes and seconds."""
    return str(datetime.timedelta(seconds=int(seconds)))


def standing(summary: CampaignSummary) -> str:
    """Return where the campaign stands, in one line that changes when something happens."""
    if summary.is_ended:
        parts = [outcome(summary)]
    else:
        name = f'cycle {summary.cycle}: ' if summary.cycle else '' if summary.phase == 'check' else 'initial set: '
        parts = [f'{name}{PHASES.get(summary.phase, summary.phase)}', *_progress_parts(summary.progress)]
    step = next((step for step in reversed(summary.steps) if not step.name.endswith(GATES)), StepSummary(''))
    if step.max_grade is not None:
        parts.append(
            f'{step.halted} of {step.walkers} walkers halted, '
            f'highest grade {step.max_grade:{grade_form(step.max_grade)}}'
        )
    if step.audit is not None:
        parts.append(f'audit {1000 * step.audit.value:.0f} meV/Å')
    return ' · '.join([*parts, counted(summary.labels, 'label')])


def outcome(summary: CampaignSummary) -> str:
    """Return in a few words how the campaign ended, or that it runs."""
    if not summary.is_ended:
        return STATES.get(summary.state, summary.state)
    if summary.is_ok:
        return f'converged after {counted(summary.cycle, "cycle")}'
    return f'exit status {summary.exit_status}' if summary.state == 'finished' else summary.state


def headline(summary: CampaignSummary) -> str:
    """Return the title of the campaign: what it is, how far it may go, and how long it took."""
    most = '' if summary.max_cycles is None else f' of at most {summary.max_cycles}'
    quiet = '' if summary.quiet_target is None else f' of {summary.quiet_target}'
    parts = [f'Campaign {summary.pk}', outcome(summary)]
    if not summary.is_ok:
        parts.append(f'cycle {summary.cycle}{most}')
    if (summary.stages or 1) > 1:
        parts.append(f'stage {summary.stage} of {summary.stages}')
    parts.append(f'quiet rounds {summary.quiet_rounds}{quiet}')
    return ' · '.join([*parts, duration(summary.elapsed)])


def findings(summary: CampaignSummary) -> list[str]:
    """Return what the judge said last, and how the properties compare, one line each."""
    found = []
    if summary.verdict is not None and not (summary.is_ended and summary.verdict.message in _why(summary)):
        action = ACTIONS.get(summary.verdict.action, summary.verdict.action.value)
        found.append(f'Verdict of cycle {summary.verdict.cycle}: {action}: {summary.verdict.message}')
    if summary.failed_gates == ():
        found.append('Properties: all are within the tolerances')
    found += [f'Property beyond its tolerance: {sentence}' for sentence in summary.failed_gates or ()]
    if summary.restarted_from is not None:
        found.append(f'The campaign continues {summary.restarted_from}, with all labels and cycles of that campaign.')
    if summary.lost_campaign is not None:
        found.append(
            f'The campaign continues {summary.lost_campaign}, which is not in this profile: the labels and the '
            'cost of that campaign are not counted here.'
        )
    return found


def _progress_parts(progress: Progress | None) -> list[str]:
    """Return how far the running phase has come, in words."""
    if progress is None:
        return []
    if progress.total is not None:
        failed = f', {progress.failed} failed' if progress.failed else ''
        return [f'{progress.done}/{progress.total} {UNITS[progress.phase]} done{failed}']
    if progress.phase == 'check':
        return [progress.task] if progress.task else []
    if progress.task.startswith('iteration_') and progress.task != 'iteration_01':
        return [f'restart {int(progress.task.removeprefix("iteration_")) - 1}']
    return [TASKS[progress.task]] if progress.task in TASKS else []


def notices(summary: CampaignSummary, daemon: str | None = None, verbose: bool = False) -> list[str]:
    """Return what somebody should know or do: failures by cause, paused processes, a daemon that is not there.

    :param daemon: what is wrong with the daemon, when something is.
    :param verbose: name every failure, not the first few causes.
    """
    found = [f'{daemon}.'] if daemon else []
    for pause in summary.pauses:
        remedy = f'fix the cause, then `verdi process play {pause.pk}`'
        found.append(f'{pause.process}<{pause.pk}> is paused: {pause.reason}; {remedy}.')
    for check in summary.checks:
        if check.status == 'failed' or verbose:
            status = 'failed' if check.status == 'failed' else 'warns'
            found.append(f'check `{check.name}` {status}: {check.found}. {check.remedy}')
    faults = [fault for fault in summary.faults if fault.message not in (summary.exit_message or '')]
    if verbose:
        return found + [f'{fault.path}<{fault.pk}> failed: {fault.message}' for fault in faults]
    causes: dict[str, list[Fault]] = {}
    for fault in faults:
        causes.setdefault(fault.message, []).append(fault)
    for message, group in list(causes.items())[:MAX_CAUSES]:
        more = f' and {len(group) - 1} more' if len(group) > 1 else ''
        found.append(f'{group[0].path}<{group[0].pk}>{more} failed: {message}')
    if len(causes) > MAX_CAUSES:
        found.append(f'{len(causes) - MAX_CAUSES} more causes of failure: `aiida-pace status {summary.pk} --verbose`.')
    return found


def view(summary: CampaignSummary, daemon: str | None, verbose: bool, rows: int) -> RenderableType:
    """Return what a terminal shows while the campaign runs, in about ``rows`` lines."""
    parts: list[RenderableType] = [Text(headline(summary), style='bold'), Text(standing(summary))]
    progress = summary.progress
    if progress is not None and progress.total:
        parts.append(Padding(ProgressBar(total=progress.total, completed=progress.done, width=60), 0))
    parts += [Text(notice, style='yellow') for notice in notices(summary, daemon, verbose)]
    told = [Text(finding) for finding in findings(summary)]
    return Group(*parts, steps_table(summary, last=max(1, rows - 8 - len(parts) - 2 * len(told))), *told)


def closing(summary: CampaignSummary) -> list[str]:
    """Return the last words: how and why the campaign ended, and what to do next; nothing while it runs."""
    if not summary.is_ended:
        return []
    save = f'`aiida-pace save-potential FOLDER --campaign {summary.pk}`'
    if summary.is_ok:
        words = f'Campaign {summary.pk} {outcome(summary)}'
        return [f'{words}: {why}' if (why := _why(summary)) else f'{words}.', f'Save the potential: {save}']
    ended = f'ended with exit status {summary.exit_status}' if summary.state == 'finished' else f'was {summary.state}'
    found = [
        f'Campaign {summary.pk} {ended}: {_why(summary) or "no message"}',
        f'More: `verdi process status {summary.pk}`, `verdi process report {summary.pk}`',
    ]
    if summary.labels:
        found.append(
            f'Continue the campaign with all its labels: `builder.restart_from = {summary.pk}` in the submit script'
        )
    if any(step.force_rmse is not None for step in summary.steps):
        found.append(f'Save the potential: {save}')
    return found


def _why(summary: CampaignSummary) -> str:
    """Return why the campaign ended; of a converged one that is the last verdict."""
    if summary.is_ok:
        return summary.verdict.message if summary.verdict else ''
    return (summary.exit_message or '').strip()
