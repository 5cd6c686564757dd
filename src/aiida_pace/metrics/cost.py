"""The DFT-cost curve: error against the cost of the labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from aiida_pace.campaign.history import CycleRecord
from aiida_pace.frames import FloatArray

__all__ = ('CostCurve', 'cost_curve')


@dataclasses.dataclass(frozen=True)
class CostCurve:
    """One point per cycle; NaN where a cycle lacks the number.

    :param core_seconds: (n,) of DFT, for the training labels of the potential of the cycle, without audit frames.
    :param labels: (n,) number of training frames of the potential.
    :param audit: (n,) force RMSE of the audit, in eV/Å.
    :param lower: (n,) lower confidence limit of ``audit``.
    :param upper: (n,) upper confidence limit of ``audit``.
    :param training: (n,) force RMSE of the fit on its training set, in eV/Å.
    """

    core_seconds: FloatArray
    labels: FloatArray
    audit: FloatArray
    lower: FloatArray
    upper: FloatArray
    training: FloatArray


def cost_curve(history: Sequence[CycleRecord]) -> CostCurve:
    """Return the error of the potential that explored in each cycle, against the cost of its labels."""

    def column(values: Sequence[float | None]) -> FloatArray:
        return np.array([np.nan if value is None else value for value in values], dtype='f8')

    audits = [record.audit for record in history]
    return CostCurve(
        core_seconds=column([record.training_core_seconds for record in history]),
        labels=column([record.labels for record in history]),
        audit=column([None if audit is None else audit.value for audit in audits]),
        lower=column([None if audit is None else audit.lower for audit in audits]),
        upper=column([None if audit is None else audit.upper for audit in audits]),
        training=column([record.training_error for record in history]),
    )
