"""The table of the steps of a campaign, and how its numbers are written."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from aiida_pace.formats.text import counted
from aiida_pace.metrics.errors import Estimate
from aiida_pace.report.campaign import CampaignSummary
from aiida_pace.report.steps import GATES, StepSummary

__all__ = ('audit_words', 'grade_form', 'steps_table')


def steps_table(summary: CampaignSummary, last: int | None = None) -> Table:
    """Return the table of the steps, of the ``last`` ones only when given."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, show_footer=True, padding=0)
    asked, labelled, failed, rejected = (
        sum(getattr(step, name) or 0 for step in summary.steps)
        for name in ('requested', 'labelled', 'failed', 'rejected')
    )
    confidence = next((step.audit.confidence for step in summary.steps if step.audit is not None), 0.95)
    columns = {
        '\n\nstep': 'total',
        'frames\nasked\nfor': str(asked),
        'reused\nor\ncached': str(summary.reused + summary.cached),
        '\nnew\nlabels': str(labelled),
        '\n\nfailed': str(failed),
        '\nre-\njected': str(rejected),
        'DFT\ncore-\nsec.': f'{summary.core_seconds:.0f}',
        'walk-\ners\nhalted': '',
        'high-\nest\ngrade': '',
        'audit\nRMSE\nmeV/Å': '',
        f'\n{100 * confidence:g} %\ninterval': '',
        'audit\nframes': '',
        'fit\nRMSE\nmeV/Å': '',
        'labels\nto\ntrain': str(summary.labels),
    }
    for header, footer in columns.items():
        justify = 'left' if footer == 'total' else 'right'
        table.add_column(header, Text(footer), justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for step in summary.steps[-last:] if last else summary.steps:
        table.add_row(*_cells(step))
    return table


def _cells(step: StepSummary) -> list[str]:
    """Return one row of the table; a dash stands for what has no result yet, nothing for what was not asked for."""
    is_labelled, is_explored = step.requested is not None, step.walkers is not None
    is_validated = step.name.endswith(GATES)
    return [
        '  gates' if is_validated else step.name,
        _cell(step.requested, is_labelled),
        _cell((step.reused or 0) + step.cached if is_labelled else None, is_labelled),
        _cell(step.labelled, is_labelled),
        _cell(step.failed, is_labelled),
        _cell(step.rejected, is_labelled),
        _cell(step.core_seconds, is_labelled, '.0f'),
        f'{_cell(step.halted, is_explored)}/{step.walkers}' if is_explored else '',
        _cell(step.max_grade, is_explored, grade_form(step.max_grade)),
        *_audit_cells(step.audit),
        # A cycle that was judged and labelled nothing but audit frames trains nothing.
        _cell(
            None if step.force_rmse is None else 1000 * step.force_rmse,
            is_labelled and not is_validated and step.audit is None,
            '.0f',
        ),
        '' if is_validated else str(step.labels),
    ]


def _audit_cells(audit: Estimate | None) -> list[str]:
    """Return error, interval and number of frames of an audit; nothing where there was none."""
    if audit is None:
        return ['', '', '']
    return [f'{1000 * audit.value:.0f}', _interval(audit), str(audit.frames)]


def _interval(audit: Estimate) -> str:
    """Return the interval of an audit error; a dash when there are too few frames for one."""
    if audit.lower is None:
        return '-'
    return f'{1000 * audit.lower:.0f}-' + ('?' if audit.upper is None else f'{1000 * audit.upper:.0f}')


def audit_words(audit: Estimate) -> str:
    """Return an audit error in words."""
    limits = '' if _interval(audit) == '-' else f'{100 * audit.confidence:g} % interval {_interval(audit)}, '
    return f'{1000 * audit.value:.0f} meV/Å ({limits}{counted(audit.frames, "frame")})'


def grade_form(grade: float | None) -> str:
    """Return the format of a grade: early ones run into the thousands."""
    return '.1f' if grade is None or grade < 100 else '.0f' if grade < 1e6 else '.0e'


def _cell(value: float | None, is_asked: bool, form: str = 'd') -> str:
    return format(value, form) if value is not None else '-' if is_asked else ''
