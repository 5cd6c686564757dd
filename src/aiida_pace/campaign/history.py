"""The history of a campaign, cycle by cycle, and what can be read off it."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping, Sequence

from aiida_pace.config import StopConfig
from aiida_pace.metrics.errors import Estimate

__all__ = ('CycleRecord', 'basis_errors', 'best_cycle', 'quiet_rounds', 'stale_cycles')


@dataclasses.dataclass(frozen=True)
class CycleRecord:
    """One cycle, as it is known at its end.

    :param stage: number of the stage of temperature and pressure, from 0.
    :param potential: any name of the potential that the walkers followed and the audit error belongs to.
    :param walkers: number of walkers; ``completed`` came to their end at the temperature and pressure of the stage.
    :param halted: how many walkers met what the potential does not know.
    :param failed: how many walkers died.
    :param audit: force RMSE of the potential on the audit frames that may speak for it, in eV/Å; None without any.
    :param labels: number of frames that the potential was trained on.
    :param new_labels: number of frames for training that this cycle added to them.
    :param core_seconds: of DFT, all the campaign has spent so far.
    :param training_core_seconds: of DFT, spent on the frames that the potential was trained on.
    :param training_error: force RMSE of the potential on its training set, in eV/Å.
    :param functions: number of basis functions of each element of the potential.
    :param atoms: number of atoms with neighbours that a fit can learn from now, by element.
    :param gates: whether the properties of the potential are as they must be; None when they were not looked at.
    """

    stage: int
    potential: str
    walkers: int
    completed: int
    halted: int = 0
    failed: int = 0
    audit: Estimate | None = None
    labels: int = 0
    new_labels: int = 0
    core_seconds: float = 0.0
    training_core_seconds: float = 0.0
    training_error: float | None = None
    functions: Mapping[str, int] = dataclasses.field(default_factory=dict)
    atoms: Mapping[str, int] = dataclasses.field(default_factory=dict)
    gates: bool | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether every walker came to its end."""
        return 0 < self.walkers == self.completed

    def to_dict(self) -> dict[str, t.Any]:
        """Return plain values, as JSON knows them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, t.Any]) -> CycleRecord:
        """Return the record that `to_dict` took apart."""
        audit = values.get('audit')
        return cls(**{**values, 'audit': None if audit is None else Estimate(**audit)})


def best_cycle(history: Sequence[CycleRecord], min_audit: int) -> int | None:
    """Return the index of the cycle with the best potential; None when no cycle has an audit error.

    It is one of the highest stage that was audited, and there the last whose error is not above the upper limit of the
    lowest one: what cannot be told apart is decided by the number of labels. An error without an upper limit can be
    told apart from none.

    :param min_audit: cycles with fewer audit frames count only when no cycle of that stage has so many.
    """
    audits = {index: record.audit for index, record in enumerate(history) if record.audit is not None}
    if not audits:
        return None
    stage = max(history[index].stage for index in audits)
    audits = {index: audit for index, audit in audits.items() if history[index].stage == stage}
    audits = {index: audit for index, audit in audits.items() if audit.frames >= min_audit} or audits
    lowest = min(audits.values(), key=lambda audit: audit.value)
    limit = float('inf') if lowest.upper is None else lowest.upper
    return max(index for index, audit in audits.items() if audit.value <= limit)


def quiet_rounds(history: Sequence[CycleRecord]) -> int:
    """Return the number of quiet cycles at the end, at the stage and with the potential of the last one."""
    count = 0
    for record in reversed(history):
        if not record.is_quiet or (record.stage, record.potential) != (history[-1].stage, history[-1].potential):
            break
        count += 1
    return count


def basis_errors(history: Sequence[CycleRecord]) -> list[float]:
    """Return the last audit error in eV/Å of each potential of this stage with the current number of functions."""
    errors: dict[str, float] = {}
    for record in history:
        same = (record.stage, record.functions) == (history[-1].stage, history[-1].functions)
        if same and record.audit is not None:
            errors[record.potential] = record.audit.value
    return list(errors.values())


def stale_cycles(history: Sequence[CycleRecord], stop: StopConfig) -> tuple[int, int]:
    """Return the index of the best cycle of the current stage, and the number of cycles since that brought nothing.

    A new best has an error lower than the last best by `StopConfig.min_improvement`. Something else is brought by a
    cycle without an audit error that has new labels, by a quiet one that has them, which the next potential learns
    from, and by one that adds to the audit frames of the same potential while they are too few to be judged by.

    :raises ValueError: when the history is empty.
    """
    if not history:
        raise ValueError('there is no cycle yet')
    start = len(history) - 1
    while start > 0 and history[start - 1].stage == history[-1].stage:
        start -= 1
    best, lowest, stale = start, float('inf'), 0
    for index in range(start, len(history)):
        record = history[index]
        audit = record.audit
        if audit is None:
            stale += record.new_labels == 0
        elif audit.value < (1 - stop.min_improvement) * lowest:
            best, lowest, stale = index, audit.value, 0
        elif not (record.is_quiet and record.new_labels):
            stale += audit.frames > stop.min_audit or not _adds_frames(history, index)
    return best, stale


def _adds_frames(history: Sequence[CycleRecord], index: int) -> bool:
    """Return whether a cycle has more audit frames than the one before, for the same potential."""
    if index == 0 or history[index].potential != history[index - 1].potential:
        return False
    before, now = history[index - 1].audit, history[index].audit
    return now is not None and now.frames > (0 if before is None else before.frames)
