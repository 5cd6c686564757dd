"""Calcfunction that judges a campaign at the end of a cycle."""

from __future__ import annotations

import typing as t

from aiida import orm
from aiida.engine import calcfunction

from aiida_pace.campaign.history import CycleRecord
from aiida_pace.campaign.judge import judge
from aiida_pace.config import GrowthConfig, StopConfig
from aiida_pace.metrics.errors import Estimate

__all__ = ('judge_cycle', 'weighted_error')


def weighted_error(training: orm.Dict, name: str) -> float:
    """Return an error of a fit on its training set, with the weights of the fit: buffers of boxes do not count.

    A loss without forces, or without energies, knows no weights of theirs.
    """
    return float(training.get(f'{name}_weighted', training[name]))


@calcfunction
def judge_cycle(  # noqa: PLR0917
    numbers: orm.Dict,
    stop: orm.Dict,
    growth: orm.Dict,
    exploration: orm.Dict,
    training: orm.Dict | None = None,
    audit: orm.Dict | None = None,
    validation: orm.Dict | None = None,
    previous: orm.Dict | None = None,
) -> orm.Dict:
    """Return the history of the campaign with this cycle, and what comes next.

    :param numbers: what the campaign has counted: fields of ``CycleRecord``; and ``stages``, their number; ``gated``,
        whether there are property gates.
    :param stop: settings of ``StopConfig``.
    :param growth: settings of ``GrowthConfig``.
    :param exploration: ``output_parameters`` of the walkers.
    :param training: ``output_parameters`` of the fit of the potential they followed.
    :param audit: output of ``summarise_audit`` for that potential.
    :param validation: ``output_parameters`` of the validation of that potential.
    :param previous: what this function returned for the cycle before.
    :returns: ``history``, ``action``, ``reason``, ``message`` and, when the basis is to grow, ``functions``.
    """
    counted = numbers.get_dict()
    stages, gated = counted.pop('stages'), counted.pop('gated')
    walkers = exploration.get_dict()
    error = None if audit is None else audit['force_rmse']
    record = CycleRecord(
        **counted,
        completed=len(walkers['completed']),
        halted=len(walkers['halted']),
        failed=len(walkers['failed']),
        audit=None if error is None else Estimate(**error),
        training_error=None if training is None else weighted_error(training, 'rmse_f_comp'),
        gates=None if validation is None else bool(validation['passed']),
    )
    past = [] if previous is None else [CycleRecord.from_dict(values) for values in previous['history']]
    history = [*past, record]
    verdict = judge(
        history,
        StopConfig.model_validate(stop.get_dict()),
        GrowthConfig.model_validate(growth.get_dict()),
        stages=stages,
        gated=gated,
    )
    values: dict[str, t.Any] = {
        'history': [record.to_dict() for record in history],
        'action': verdict.action.value,
        'reason': verdict.reason.value,
        'message': verdict.message,
        'functions': None if verdict.functions is None else dict(verdict.functions),
    }
    return orm.Dict(values)
