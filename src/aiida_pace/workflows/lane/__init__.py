"""Lanes: work chains that run their share of the jobs of a step one after another."""

from __future__ import annotations

import heapq
import typing as t
from collections.abc import Mapping

from aiida import orm
from aiida.engine import Process, ToContext, append_, while_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.workflows.resumable import ResumableWorkChain, labelled

__all__ = ('LaneWorkChain', 'balanced_shares')


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


class LaneWorkChain(ResumableWorkChain):
    """Run one process per job, one after another; a process that fails does not stop the lane."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        """Define the process specification."""
        super().define(spec)
        spec.input_namespace(
            'structures',
            valid_type=orm.StructureData,
            dynamic=True,
            help='The structures of this lane; each key becomes the link label of a process.',
        )
        steps: t.Any = cls  # for `outline`, steps are functions of any work chain
        spec.outline(steps.setup, while_(steps.has_next)(steps.run_next))

    def setup(self) -> None:
        """Queue the jobs."""
        self.ctx.queue = sorted(self.inputs.structures)
        self.ctx.jobs = []

    def has_next(self) -> bool:
        """Return whether a job is left."""
        return len(self.ctx.jobs) < len(self.ctx.queue)

    def run_next(self) -> ToContext[str, t.Any]:
        """Submit the next job."""
        key = self.ctx.queue[len(self.ctx.jobs)]
        process, inputs = self.job(key)
        return ToContext(jobs=append_(self.submit(process, labelled(key, inputs))))

    def job(self, key: str) -> tuple[type[Process], dict[str, t.Any]]:
        """Return the process of the job ``key`` and its inputs."""
        raise NotImplementedError
