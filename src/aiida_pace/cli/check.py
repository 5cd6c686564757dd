"""`aiida-pace check`: whether a campaign can run, before any DFT is spent on it."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Sequence

import click

from aiida_pace.cli.root import cmd_root, profile_option, verbose_option, with_profile

__all__ = ('cmd_check',)


class _CodeOption(click.Option):
    """An option whose help names the codes of a campaign, looked up when the help is shown: that imports AiiDA."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the help with the names."""
        from aiida_pace.workflows.check.trials import code_names
        from aiida_pace.workflows.label.labellers import DEFAULT_LABELLER

        record = super().get_help_record(ctx)
        return record and (record[0], f'{record[1]} Names: {", ".join(code_names(DEFAULT_LABELLER))}.')


def _elements(_: click.Context, __: click.Parameter, value: str) -> list[str]:
    """Return the chemical symbols in a text such as ``Si,C``."""
    from ase.data import chemical_symbols

    symbols = sorted(set(value.replace(',', ' ').split()))
    if not symbols or not set(symbols) <= set(chemical_symbols[1:]):
        raise click.BadParameter(f'`{value}` is not a list of chemical symbols: give some, such as Si or Si,C.')
    return symbols


def _labels(_: click.Context, __: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """Return the labels in texts such as ``lammps=lmp@cluster``, by the name of the code."""
    from aiida_pace.workflows.check.trials import code_names
    from aiida_pace.workflows.label.labellers import DEFAULT_LABELLER

    names = code_names(DEFAULT_LABELLER)
    labels = dict(value.partition('=')[::2] for value in values)
    for name, label in labels.items():
        if name not in names or not label:
            raise click.BadParameter(f'`{name}={label}`: give NAME=LABEL, with a name out of {", ".join(names)}.')
    return labels


def _options(_: click.Context, __: click.Parameter, value: str) -> dict[str, t.Any]:
    """Return the JSON object in a text."""
    try:
        options = json.loads(value)
    except json.JSONDecodeError as exception:
        raise click.BadParameter(f'the text is not JSON: {exception}') from exception
    if not isinstance(options, dict):
        raise click.BadParameter('give a JSON object, such as {"queue_name": "debug"}.')
    return options


@cmd_root.command('check')
@click.option(
    '-e', '--elements', required=True, callback=_elements, metavar='SYMBOLS', help='Elements, such as Si or Si,C.'
)
@click.option(
    '--pseudo-family',
    default='SSSP/1.3/PBEsol/efficiency',
    show_default=True,
    metavar='LABEL',
    help='Pseudopotential family.',
)
@click.option(
    '--computer',
    default='localhost',
    show_default=True,
    metavar='LABEL',
    help='Computer of the codes that --code does not give: pw@LABEL, pacemaker@LABEL, ...',
)
@click.option(
    '--code',
    'labels',
    cls=_CodeOption,
    multiple=True,
    callback=_labels,
    metavar='NAME=LABEL',
    help='Another code, such as lammps=lmp@cluster; may be repeated.',
)
@click.option(
    '--evaluator',
    type=click.Choice(['tensorpot', 'linear']),
    default='tensorpot',
    show_default=True,
    help='Evaluator of the fits; with `linear`, the default code of `pacemaker` is pace_fit_linear@...',
)
@click.option(
    '--options',
    default='{}',
    callback=_options,
    metavar='JSON',
    help='The `options` of the submit script, such as {"queue_name": "debug"}, for the jobs of the check.',
)
@verbose_option
@profile_option
@with_profile
def cmd_check(  # noqa: PLR0917  # one argument per option, by name
    elements: list[str],
    pseudo_family: str,
    computer: str,
    labels: dict[str, str],
    evaluator: str,
    options: dict[str, t.Any],
    verbose: bool,
) -> None:
    """Run every code of a campaign once on something tiny, and say what is missing.

    It takes about a minute, without a daemon. Without a queue, that is: on a cluster the jobs wait like all others.
    The exit code is 1 when a check failed; warnings do not count.
    """
    from aiida_pace.cli.check_run import load_codes, make_inputs, run_check, show_outcome
    from aiida_pace.cli.console import make_console
    from aiida_pace.workflows.check.trials import code_names
    from aiida_pace.workflows.label.labellers import DEFAULT_LABELLER

    console = make_console()
    fit = 'pace_fit_linear' if evaluator == 'linear' else 'pacemaker'
    defaults = {name: f'{fit if name == "pacemaker" else name}@{computer}' for name in code_names(DEFAULT_LABELLER)}
    codes = load_codes(defaults | labels)
    inputs = make_inputs(codes, pseudo_family, elements, evaluator=evaluator, options=options)
    node, seconds = run_check(console, inputs)
    if not show_outcome(console, node, seconds, verbose=verbose):
        raise click.exceptions.Exit(1)
