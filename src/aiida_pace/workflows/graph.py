"""Questions to the provenance graph around one process node."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable

from aiida import orm
from aiida.common.links import LinkType

from aiida_pace.formats.text import printable

__all__ = ('cause_of', 'children', 'jobs_of')

#: Exit statuses of ``BaseRestartWorkChain`` that say nothing of the cause.
RESTART_STATUSES = (301, 302, 401, 402)


def children(caller: orm.WorkflowNode) -> dict[str, orm.ProcessNode]:
    """Return the processes that ``caller`` called, by link label, in one query; the last one of each label.

    A child that was stored, but killed with its caller before its first checkpoint, can never run: it is left out.
    """
    links = caller.base.links.get_outgoing(link_type=(LinkType.CALL_CALC, LinkType.CALL_WORK)).all()
    nodes = [(link.link_label, t.cast(orm.ProcessNode, link.node)) for link in links]
    able = [(label, node) for label, node in nodes if node.is_terminated or node.checkpoint is not None]
    return dict(sorted(able, key=lambda item: item[1].ctime))


def jobs_of(lanes: Iterable[orm.WorkflowNode]) -> dict[str, orm.ProcessNode]:
    """Return the jobs of all lanes of a step, by the key of their structure."""
    return {key: job for lane in lanes for key, job in children(lane).items()}


def cause_of(node: orm.ProcessNode | None) -> str:
    """Return why a process did not finish well; for a restarting work chain that gave up, why its last job did not.

    The text is printable: it goes into messages and data of other processes.
    """
    if node is None:
        return 'never started, its lane stopped'
    if isinstance(node, orm.WorkChainNode) and node.exit_status in RESTART_STATUSES:
        jobs = [job for job in node.called if isinstance(job, orm.CalcJobNode) and not job.is_finished_ok]
        if jobs:
            return cause_of(max(jobs, key=lambda job: job.ctime))
    return printable(node.exit_message or node.exception or f'{node.process_label} {node.process_state}')
