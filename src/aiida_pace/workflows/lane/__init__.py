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
        job = self.submit(self._process_class, labelled(key, self.job_inputs(key)))
        return ToContext(jobs=append_(job))

    def job_inputs(self, key: str) -> dict[str, t.Any]:
        """Return the inputs of the job ``key``."""
        raise NotImplementedError
