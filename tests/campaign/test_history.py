import json

import numpy as np
import pytest
from hypothesis import given, settings

from aiida_pace.campaign.history import CycleRecord, best_cycle, quiet_rounds, stale_cycles
from aiida_pace.config import StopConfig
from aiida_pace.metrics.cost import cost_curve
from aiida_pace.metrics.errors import Estimate
from tests.campaign.test_judge import audit, cycle, records


@settings(deadline=None)
@given(records())
def test_records_survive_json(record: CycleRecord) -> None:
    assert CycleRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_quiet_rounds_are_counted_from_the_end() -> None:
    assert quiet_rounds([]) == 0
    assert quiet_rounds([cycle(quiet=False), cycle(), cycle()]) == 2
    assert quiet_rounds([cycle(), cycle(quiet=False)]) == 0
    assert quiet_rounds([cycle(), cycle(stage=1)]) == 1


def test_stale_cycles_are_those_since_the_best_one_of_the_stage() -> None:
    stop = StopConfig(min_improvement=0.1)
    values = [0.5, 0.2, 0.19, 0.3]
    history = [cycle(value, potential=str(index)) for index, value in enumerate(values)]
    assert stale_cycles(history, stop) == (1, 2)
    assert stale_cycles([*history, cycle(0.6, stage=1)], stop) == (4, 0)
    with pytest.raises(ValueError, match='no cycle'):
        stale_cycles([], stop)


def test_the_best_potential_is_the_latest_that_cannot_be_told_from_the_best() -> None:
    assert best_cycle([], 4) is None
    assert best_cycle([cycle(None)], 4) is None
    assert best_cycle([cycle(0.5), cycle(0.1), cycle(0.12), cycle(0.2), cycle(None)], 4) == 2
    assert best_cycle([cycle(0.1), cycle(0.3, stage=1), cycle(0.6, stage=1)], 4) == 1


def test_an_audit_of_a_few_frames_does_not_win_over_one_of_more() -> None:
    few = cycle(audit=Estimate(0.05, 0.02, None, 2, 0.95))
    assert best_cycle([few, cycle(0.12)], 4) == 1
    # Where no cycle has enough frames, an error without an upper limit can be told apart from none.
    assert best_cycle([few, cycle(0.12), cycle(9.0)], 10) == 2
    assert best_cycle([cycle(0.1), cycle(9.0), cycle(0.12)], 10) == 2
    assert best_cycle([cycle(0.1), cycle(9.0)], 10) == 0


def test_cost_curve_has_a_point_per_cycle() -> None:
    history = [
        cycle(None, labels=20, training_core_seconds=100.0),
        cycle(audit=Estimate(0.2, None, None, 1, 0.95), labels=25, training_core_seconds=150.0, training_error=0.1),
        cycle(audit=audit(0.1, width=2), labels=30, training_core_seconds=200.0),
    ]
    curve = cost_curve(history)
    nan = np.nan
    np.testing.assert_array_equal(curve.core_seconds, [100, 150, 200])
    np.testing.assert_array_equal(curve.labels, [20, 25, 30])
    np.testing.assert_array_equal(curve.audit, [nan, 0.2, 0.1])
    np.testing.assert_array_equal(curve.lower, [nan, nan, 0.05])
    np.testing.assert_array_equal(curve.upper, [nan, nan, 0.2])
    np.testing.assert_array_equal(curve.training, [nan, 0.1, nan])
    assert len(cost_curve([]).audit) == 0
