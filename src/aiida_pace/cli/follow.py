"""Following a campaign until it ends: live in a terminal, line by line in a log."""

from __future__ import annotations

import threading
import time
import typing as t
from collections.abc import Iterator, Mapping

import psutil
from aiida import orm
from rich.console import Console
from rich.live import Live

from aiida_pace.cli.display import duration, notices, standing, view
from aiida_pace.report.campaign import CampaignSummary, summarise_campaign

__all__ = ('HEARTBEAT', 'daemon_fault', 'follow_live', 'follow_plainly', 'has_no_worker')

#: Seconds after which a log gets a line even without news, so that the reader sees that the command still runs.
HEARTBEAT = 60.0
#: Seconds after the start of the daemon in which its workers connect to the broker.
CONNECTING = 60.0


def daemon_fault() -> str | None:
    """Return what is wrong with the daemon of the profile, with the remedy, or None when it runs."""
    from aiida.brokers.zeromq.broker import ZeromqBroker
    from aiida.engine.daemon.client import get_daemon_client
    from aiida.manage import get_manager

    client = get_daemon_client()
    if client.profile.process_control_backend is None:
        return None  # without a broker there are no daemons: the campaign runs in the Python that started it
    pid = client.get_daemon_pid()
    if pid is None:
        return 'The daemon is not running: `verdi daemon start` continues a submitted campaign'
    try:
        is_young = time.time() - psutil.Process(pid).create_time() < CONNECTING
    except psutil.NoSuchProcess:
        return 'The daemon was killed: `verdi daemon start` continues a submitted campaign'
    broker = get_manager().get_broker()
    if not is_young and isinstance(broker, ZeromqBroker) and has_no_worker(broker.probe_service_status()):
        return 'No worker of the daemon is connected to the broker: run `verdi daemon restart`'
    return None


def has_no_worker(status: Mapping[str, t.Any]) -> bool:
    """Return whether tasks wait at a ZeroMQ broker to which no worker is connected.

    AiiDA's broker leaves the address of its socket behind when it is killed. After the next start of the daemon, a
    worker that is faster than the new broker connects to the old address, and receives no task until it is restarted.

    :param status: as the broker reports it.
    """
    return bool(status.get('connected') and status.get('pending_tasks') and not status.get('task_subscribers', 1))


def _looks(node: orm.WorkChainNode, interval: float) -> Iterator[tuple[CampaignSummary, str | None]]:
    """Yield the campaign and the fault of the daemon every ``interval`` seconds; the last time when it has ended."""
    pause = threading.Event()
    while True:
        summary = summarise_campaign(node)
        yield summary, None if summary.is_ended else daemon_fault()
        if summary.is_ended:
            return
        pause.wait(interval)


def follow_plainly(console: Console, node: orm.WorkChainNode, interval: float, verbose: bool) -> None:
    """Write a line for every change, and a line every `HEARTBEAT` seconds without a change."""
    last, known, written = '', set[str](), 0.0
    for summary, daemon in _looks(node, interval):
        line, found = standing(summary), notices(summary, daemon, verbose)
        is_due = time.monotonic() - written > HEARTBEAT
        news = [notice for notice in found if notice not in known]
        for text in ([line] if line != last or is_due else []) + news:
            console.print(f'[{duration(summary.elapsed)}] {text}', markup=False, soft_wrap=True)
            written = time.monotonic()
        last, known = line, set(found)


def follow_live(console: Console, node: orm.WorkChainNode, interval: float, verbose: bool) -> None:
    """Show the campaign in place, and refresh it every ``interval`` seconds."""
    with Live(console=console, transient=True, auto_refresh=False) as live:
        for summary, daemon in _looks(node, interval):
            live.update(view(summary, daemon, verbose, rows=console.height), refresh=True)
