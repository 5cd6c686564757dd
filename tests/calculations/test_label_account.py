"""The account of a labelling step: it adds up, or is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiida_pace.calculations.functions.labels import OUTCOMES, account, frame_key

causes = st.sampled_from(['the SCF did not converge', 'out of walltime', 'short distance'])
outcomes = st.lists(st.tuples(st.sampled_from(OUTCOMES), causes), min_size=1, max_size=30)
GOOD = ('reused', 'cached', 'labelled')


@given(outcomes, st.data())
def test_it_adds_up(drawn: list[tuple[str, str]], data: st.DataObject) -> None:
    keys = [frame_key(index) for index in range(len(drawn))]
    costs = {
        key: {kind: data.draw(st.integers(0, 100)) for kind in ('computed', 'cached', 'reused')} for key in keys[::2]
    }
    labels = sum(outcome in GOOD for outcome, _ in drawn)
    result = account(keys, dict(zip(keys, drawn, strict=True)), costs, labels)
    assert result['requested'] == len(drawn) == sum(result[outcome] for outcome in OUTCOMES)
    assert {name: result[name] for name in OUTCOMES} == {
        name: sum(outcome == name for outcome, _ in drawn) for name in OUTCOMES
    }
    for outcome, by_cause in (('failed', result['failures']), ('rejected', result['rejections'])):
        listed = [(key, cause) for cause, keys_of in by_cause.items() for key in keys_of]
        assert sorted(listed) == sorted(
            (key, cause) for key, (found, cause) in zip(keys, drawn, strict=True) if found == outcome
        )
    total = result['core_seconds'] + result['core_seconds_cached'] + result['core_seconds_reused']
    assert total == sum(sum(cost.values()) for cost in costs.values())


@pytest.mark.parametrize(
    ('outcomes', 'labels', 'message'),
    [
        ({'frame_00000': ('labelled', '')}, 1, r"without an outcome \['frame_00001'\]"),
        ({key: ('labelled', '') for key in ('frame_00000', 'frame_00001', 'frame_00007')}, 3, 'never requested'),
        ({'frame_00000': ('labelled', ''), 'frame_00001': ('lost', '')}, 1, 'has the outcome `lost`'),
        ({'frame_00000': ('labelled', ''), 'frame_00001': ('failed', 'x')}, 2, '2 frames requested, 2 labels'),
    ],
)
def test_it_does_not_add_up(outcomes: dict[str, tuple[str, str]], labels: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        account(['frame_00000', 'frame_00001'], outcomes, {}, labels)
