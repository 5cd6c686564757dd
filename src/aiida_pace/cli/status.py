"""`aiida-pace status`: where a campaign stands."""

from __future__ import annotations

import typing as t

import click

from aiida_pace.cli.root import cmd_root, profile_option, verbose_option, with_profile

if t.TYPE_CHECKING:
    from rich.console import Console

    from aiida_pace.report.campaign import CampaignSummary

__all__ = ('cmd_status',)


@cmd_root.command('status')
@click.argument('campaign', metavar='[PK]', required=False)
@click.option('-f', '--follow', is_flag=True, help='Follow the campaign until it ends.')
@click.option(
    '--interval',
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar='SECONDS',
    help='Refresh interval with --follow.',
)
@verbose_option
@profile_option
@with_profile
def cmd_status(campaign: str | None, follow: bool, interval: float, verbose: bool) -> None:
    """Show where a campaign stands: cycle, stage, phase, labels, halts, errors, cost, and the last verdict.

    PK, or UUID, of the campaign; without it, the newest one. In the row of a cycle, `audit` is the error of the
    potential that its walkers followed, on frames that it was never trained on; `fit` is that of the potential trained
    at its end, on what it was trained on. The exit code is 1 when the campaign ended without
    converging, 130 when you stopped following with Ctrl-C.
    """
    import sys

    from aiida_pace.cli.campaigns import find_campaign
    from aiida_pace.cli.console import make_console
    from aiida_pace.cli.follow import daemon_fault, follow_live, follow_plainly
    from aiida_pace.report.campaign import summarise_campaign

    node = find_campaign(campaign)
    console = make_console()
    if follow:
        watch = follow_live if sys.stdout.isatty() and not console.is_dumb_terminal else follow_plainly
        try:
            watch(console, node, interval, verbose)
        except KeyboardInterrupt:
            console.print(
                f'\nCampaign {node.pk} continues. Follow it again: `aiida-pace status {node.pk} --follow`',
                markup=False,
                soft_wrap=True,
            )
            raise click.exceptions.Exit(130) from None
    summary = summarise_campaign(node)
    _show(console, summary, None if summary.is_ended else daemon_fault(), verbose)
    if summary.is_ended and not summary.is_ok:
        raise click.exceptions.Exit(1)


def _show(console: Console, summary: CampaignSummary, daemon: str | None, verbose: bool) -> None:
    """Write the summary of a campaign."""
    from aiida_pace.cli import display
    from aiida_pace.cli.tables import steps_table

    def line(text: str, style: str | None = None) -> None:
        console.print(text, style=style, markup=False)

    line(display.headline(summary), style='bold')
    if not summary.is_ended:
        line(display.standing(summary))
    if summary.steps:
        console.print(steps_table(summary))
    if summary.cached:
        line(f'{summary.cached} DFT runs came from the cache: their core-seconds were not spent again.')
    for finding in display.findings(summary):
        line(finding)
    for notice in display.notices(summary, daemon, verbose):
        line(notice, style='yellow')
    for text in display.closing(summary):
        line(text, style='green' if summary.is_ok else 'red')
