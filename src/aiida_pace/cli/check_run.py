"""Running the pre-flight check from the command line, and how it looks."""

from __future__ import annotations

import contextlib
import logging
import time
import typing as t
from collections.abc import Iterator, Mapping, Sequence

import click
from aiida import orm
from aiida.common.exceptions import AiidaException, MultipleObjectsError, NotExistent
from aiida.common.log import override_log_level
from aiida.engine.runners import Runner
from aiida.manage import get_manager
from aiida.plugins import GroupFactory
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from aiida_pace.cli.follow import daemon_fault
from aiida_pace.structures.check_structures import even_electron_cell
from aiida_pace.workflows.active_learning import ActiveLearningWorkChain
from aiida_pace.workflows.check.base import CheckWorkChain, check_inputs
from aiida_pace.workflows.check.trials import TRIALS
from aiida_pace.workflows.graph import children

__all__ = ('load_codes', 'make_inputs', 'run_check', 'show_outcome')

STYLES = {'ok': 'green', 'warning': 'yellow', 'failed': 'red', 'skipped': 'bright_black'}

#: Seconds between two looks at the jobs.
INTERVAL = 0.5

#: Enough to start: the cutoffs of the campaign, in Ry, are no matter of whether pw.x runs.
PW_PARAMETERS = {'SYSTEM': {'ecutwfc': 30.0, 'ecutrho': 240.0}}

#: Last lines of what a failed code printed that are shown when more is asked for.
MAX_LINES = 20


def load_codes(labels: Mapping[str, str]) -> dict[str, orm.AbstractCode]:
    """Return the codes by name.

    :raises click.ClickException: naming all those that do not exist.
    """
    codes: dict[str, orm.AbstractCode] = {}
    missing = []
    for name, label in labels.items():
        try:
            codes[name] = orm.load_code(label)
        except (NotExistent, MultipleObjectsError):
            missing.append(f'{name}={label}')
    if missing:
        raise click.ClickException(
            f'no such codes: {", ".join(missing)}. Make them with `verdi code create`, on this machine with '
            '`verdi run examples/localhost.py`, or name others with `--code NAME=LABEL`; `verdi code list` shows all.'
        )
    return codes


def make_inputs(
    codes: Mapping[str, orm.AbstractCode],
    pseudo_family: str,
    elements: Sequence[str],
    *,
    evaluator: str,
    options: dict[str, t.Any],
) -> dict[str, t.Any]:
    """Return the inputs of `CheckWorkChain`: those of a campaign that the protocol makes with the same options.

    :raises click.ClickException: when there is no such family, it has none of the elements, or an option is unknown.
    """
    cell = orm.StructureData(ase=even_electron_cell(_covered(pseudo_family, elements)))  # only its elements count
    overrides = {
        'label': {'pw': {'pseudo_family': pseudo_family, 'pw': {'parameters': PW_PARAMETERS}}},
        'train': {'fit': {'parameters': {'evaluator': evaluator}}},
    }
    try:
        builder = ActiveLearningWorkChain.get_builder_from_protocol(
            codes, {'check': cell}, overrides=overrides, options=options
        )
    except (AttributeError, TypeError, ValueError) as exception:  # of AiiDA's builder, for an option
        raise click.ClickException(f'the check cannot start: {exception}; see `--options`.') from exception
    return check_inputs(builder._inputs(prune=True), elements)


def _covered(label: str, elements: Sequence[str]) -> list[str]:
    """Return those of the ``elements`` that the pseudopotential family has some for."""
    query = orm.QueryBuilder().append(GroupFactory('pseudo.family'), subclassing=True, filters={'label': label})
    family = query.first(flat=True)
    if family is None:
        raise click.ClickException(
            f'there is no pseudopotential family `{label}`: install it with `aiida-pseudo install`, or name another '
            'one with `--pseudo-family`; `aiida-pseudo list` shows all.'
        )
    covered = [element for element in elements if element in family.elements]
    if not covered:
        raise click.ClickException(
            f'the pseudopotential family `{label}` has none for {", ".join(elements)}: name another one with '
            '`--pseudo-family`.'
        )
    return covered


def run_check(console: Console, inputs: Mapping[str, t.Any]) -> tuple[orm.WorkChainNode, float]:
    """Run the check in this process, telling which job runs; return its node and how many seconds it took."""
    start = time.perf_counter()
    # As `aiida.engine.run` does, without the broker of the daemon, but looking more often whether a job has ended.
    runner = get_manager().create_runner(communicator=None, poll_interval=INTERVAL)
    # What the engine reports of its work is kept on the nodes; here the table tells it.
    with override_log_level(logging.CRITICAL):
        try:
            process = runner.instantiate_process(CheckWorkChain, **inputs)
        except (AiidaException, TypeError, ValueError) as exception:
            raise click.ClickException(f'the check cannot start: {exception}; see `--options`.') from exception
        node = t.cast(orm.WorkChainNode, process.node)
        with _progress(console, runner, node, start):
            runner.run_get_node(process)
    return node, time.perf_counter() - start


@contextlib.contextmanager
def _progress(console: Console, runner: Runner, node: orm.WorkChainNode, start: float) -> Iterator[None]:
    """Tell, from within the engine's event loop, which jobs run: in place in a terminal, else once each."""
    with contextlib.ExitStack() as stack:
        live = None
        if console.is_terminal and not console.is_dumb_terminal:
            live = stack.enter_context(Live(console=console, transient=True, auto_refresh=False))
        told: set[str] = set()

        def look() -> None:
            jobs = {name: job for name, job in children(node).items() if isinstance(job, orm.CalcJobNode)}
            if live is not None:
                live.update(_jobs_table(jobs, time.perf_counter() - start), refresh=True)
            else:
                for name in [name for name, job in jobs.items() if job.is_terminated and name not in told]:
                    console.print(f'[{time.perf_counter() - start:5.1f} s] {name} ended', markup=False)
                    told.add(name)
            handles.append(runner.loop.call_later(INTERVAL, look))

        handles = [runner.loop.call_later(INTERVAL, look)]
        try:
            yield
        finally:
            handles[-1].cancel()


def _jobs_table(jobs: Mapping[str, orm.CalcJobNode], seconds: float) -> Table:
    """Return what runs and what has ended."""
    table = Table(box=None, title=f'Pre-flight check · {seconds:.0f} s', title_justify='left', show_header=False)
    for name, job in jobs.items():
        state = 'ended' if job.is_terminated else _waiting(job)
        table.add_row(name, Text(state, style='green' if job.is_terminated else 'yellow'))
    return table


def _waiting(job: orm.CalcJobNode) -> str:
    """Return what a job waits for, with the scheduler's reason where it gives one, such as ``PartitionTimeLimit``."""
    state = str(job.process_status or 'starting')
    reason = getattr(job.get_last_job_info(), 'annotation', None)
    return f'{state} ({reason})' if reason and reason != 'None' else state


def show_outcome(console: Console, node: orm.WorkChainNode, seconds: float, *, verbose: bool = False) -> bool:
    """Write the table of the checks, the remedies and how it ended; return whether a campaign can run.

    :param verbose: write the job of each check, and the last lines of what a failed code printed.
    """
    if 'output_parameters' not in node.outputs:
        state = node.exit_message or node.exception or node.process_status or node.process_state
        console.print(f'The check itself came to no end: {state}', style='red', markup=False, soft_wrap=True)
        return False
    outcome = node.outputs.output_parameters.get_dict()
    console.print(_outcome_table(outcome['checks'], verbose=verbose))
    for check in outcome['checks']:
        if check['status'] in ('warning', 'failed'):
            line = f'{check["name"]}: {check["remedy"]}'
            console.print(line, style=STYLES[check['status']], markup=False, soft_wrap=True)
        if verbose and check['status'] == 'failed' and check['process']:
            for text in _last_lines(check):
                console.print(f'    {text}', markup=False, soft_wrap=True)
    if fault := daemon_fault():
        console.print(f'{fault}.', style=STYLES['warning'], markup=False, soft_wrap=True)
    count, failed = len(outcome['checks']), outcome['failed']
    verdict = f'{failed} of {count} checks failed' if failed else 'A campaign can run'
    details = f'{outcome["ok"]} ok, {outcome["warning"]} warnings, {outcome["skipped"]} skipped'
    console.print(
        f'{verdict}: {details} ({seconds:.0f} s; `verdi process status {node.pk}`)',
        style='red' if failed else 'green',
        markup=False,
        soft_wrap=True,
    )
    return not failed


def _last_lines(check: Mapping[str, str]) -> list[str]:
    """Return the last lines that the code of a check printed, after the name of the file with them."""
    trial = next(trial for trial in TRIALS if trial.name == check['name'])
    text, filename = trial.printed(t.cast(orm.CalcJobNode, orm.load_node(check['process'])))
    return [f'{filename}:', *text.splitlines()[-MAX_LINES:]] if filename else ['It printed nothing.']


def _outcome_table(checks: Sequence[Mapping[str, str]], *, verbose: bool) -> Table:
    """Return the checks, one a row."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column('check', no_wrap=True)
    table.add_column('', no_wrap=True)
    table.add_column('found', overflow='fold')
    table.add_column('version', overflow='fold')
    if verbose:
        table.add_column('job', justify='right')
    for check in checks:
        status = Text(check['status'], style=STYLES[check['status']])
        job = [str(orm.load_node(check['process']).pk) if check['process'] else ''] if verbose else []
        table.add_row(check['name'], status, Text(check['found']), Text(check['version']), *job)
    return table
