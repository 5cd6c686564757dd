"""Lanes: work chains that run their share of the jobs of a step one after another."""

from __future__ import annotations

import heapq
import typing as t
from collections.abc import Iterable, Mapping

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import Process, ProcessState, ToContext, WorkChain, append_, while_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

__all__ = ('LaneWorkChain', 'ResumableWorkChain', 'balanced_shares', 'cause_of', 'children', 'jobs_of')

#: Exit statuses of ``BaseRestartWorkChain`` that say nothing of the cause.
RESTART_STATUSES = (301, 302, 401, 402)


def balanced_shares(costs: Mapping[str, float], count: int) -> list[list[str]]:
    """Return at most ``count`` non-empty shares of the keys of ``costs``, of nearly equal total cost.

    Longest processing time first: every job, from the dearest to the cheapest, goes to the share that is cheapest so
    far; no share takes longer than 4/3 of the best possible (R. L. Graham, SIAM J. Appl. Math. 17, 416, 1969).

    :param costs: estimated cost of each job, in any unit.
    :param count: largest number of shares.
    """
    shares: list[list[str]] = [[] for _ in range(min(count, len(costs)))]
    heap = [(0.0, index) for index in range(len(shares))]
    for key in sorted(costs, key=lambda key: (-costs[key], key)):
        total, index = heapq.heappop(heap)
        shares[index].append(key)
        heapq.heappush(heap, (total + costs[key], index))
    return shares


class ResumableWorkChain(WorkChain):
    """A work chain whose steps submit nothing twice when a crash makes AiiDA run them anew."""

    def submit_once(self, process: type[Process], label: str, inputs: Mapping[str, t.Any]) -> orm.ProcessNode:
        """Submit ``process`` with ``label`` on its link, or return the child that already has this label.

        AiiDA runs a step that was interrupted between two checkpoints again from its start, and would submit its
        children again. A child that was stored without its task being sent would wait for ever: it is sent again, and
        the worker that has the child already ignores that.
        """
        child = children(self.node).get(label)
        if child is not None:
            if child.process_state is ProcessState.CREATED and self.runner.controller is not None:
                self.runner.controller.continue_process(child.pk, nowait=False, no_reply=True)
            return child
        metadata = {**inputs.get('metadata', {}), 'call_link_label': label}
        return self.submit(process, **{**inputs, 'metadata': metadata})


def children(caller: orm.WorkflowNode) -> dict[str, orm.ProcessNode]:
    """Return the processes that ``caller`` called, by link label, in one query.

    A child that was stored, but killed with its caller before its first checkpoint, can never run: it is left out.
    """
    links = caller.base.links.get_outgoing(link_type=(LinkType.CALL_CALC, LinkType.CALL_WORK)).all()
    nodes = {link.link_label: t.cast(orm.ProcessNode, link.node) for link in links}
    return {label: node for label, node in nodes.items() if node.is_terminated or node.checkpoint is not None}


def jobs_of(lanes: Iterable[orm.WorkflowNode]) -> dict[str, orm.ProcessNode]:
    """Return the jobs of all lanes of a step, by the key of their structure."""
    return {key: job for lane in lanes for key, job in children(lane).items()}


def cause_of(node: orm.ProcessNode | None) -> str:
    """Return why a process did not finish well; for a restarting work chain that gave up, why its last job did not."""
    if node is None:
        return 'never started, its lane stopped'
    if isinstance(node, orm.WorkChainNode) and node.exit_status in RESTART_STATUSES:
        jobs = [job for job in node.called if isinstance(job, orm.CalcJobNode) and not job.is_finished_ok]
        if jobs:
            return cause_of(max(jobs, key=lambda job: t.cast(int, job.pk)))
    return node.exit_message or node.exception or f'{node.process_label} {node.process_state}'


class LaneWorkChain(ResumableWorkChain):
    """Run one process per structure, one after another; a process that fails does not stop the lane."""

    _process_class: type[Process]

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace(
            'structures',
            valid_type=orm.StructureData,
            dynamic=True,
            help='The share of this lane; the key becomes the link label of the process.',
        )
        spec.outline(cls.setup, while_(cls.has_next)(cls.run_next))

    def setup(self) -> None:
        """Queue the jobs."""
        self.ctx.queue = sorted(self.inputs.structures)
        self.ctx.jobs = []

    def has_next(self) -> bool:
        """Return whether a job is left."""
        return len(self.ctx.jobs) < len(self.ctx.queue)

    def run_next(self) -> ToContext:
        """Submit the next job."""
        key = self.ctx.queue[len(self.ctx.jobs)]
        job = self.submit_once(self._process_class, key, self.job_inputs(key))
        return ToContext(jobs=append_(job))

    def job_inputs(self, key: str) -> dict[str, t.Any]:
        """Return the inputs of the job ``key``."""
        raise NotImplementedError
