"""Lanes: fair shares, and steps that submit nothing twice."""

from __future__ import annotations

import itertools

import pytest
from aiida import orm
from aiida.engine import ToContext, run_get_node
from aiida.plugins import CalculationFactory
from hypothesis import given
from hypothesis import strategies as st

from aiida_pace.workflows.graph import children
from aiida_pace.workflows.lane import balanced_shares
from aiida_pace.workflows.resumable import ResumableWorkChain, labelled

costs = st.dictionaries(st.text('abcdef', min_size=1, max_size=3), st.floats(0, 1e4), max_size=6)


@given(costs, st.integers(1, 4))
def test_shares_are_a_partition(costs: dict[str, float], count: int) -> None:
    shares = balanced_shares(costs, count)
    assert sorted(itertools.chain(*shares)) == sorted(costs)
    assert all(shares)
    assert len(shares) == min(count, len(costs))


@given(costs, st.integers(1, 3))
def test_longest_share_keeps_grahams_bound(costs: dict[str, float], count: int) -> None:
    """Against the best of all ways to share, found by trying them."""
    if not costs:
        return
    longest = max(sum(costs[key] for key in share) for share in balanced_shares(costs, count))
    best = min(
        max(sum(cost for cost, lane in zip(costs.values(), lanes, strict=True) if lane == k) for k in range(count))
        for lanes in itertools.product(range(count), repeat=len(costs))
    )
    assert longest <= (4 / 3 - 1 / (3 * count)) * best * (1 + 1e-12)


def test_dearest_job_starts_first() -> None:
    assert balanced_shares({'a': 1, 'b': 8, 'c': 2}, 1) == [['b', 'c', 'a']]


class TwiceWorkChain(ResumableWorkChain):
    """Submit in one step what a crash in its middle would make it submit again."""

    @classmethod
    def define(cls, spec):  # type: ignore[no-untyped-def]
        super().define(spec)
        spec.input('code', valid_type=orm.AbstractCode)
        spec.outline(cls.submit_twice)

    def submit_twice(self) -> ToContext:
        add = CalculationFactory('core.arithmetic.add')
        inputs = {'code': self.inputs.code, 'x': orm.Int(1), 'y': orm.Int(2)}
        first = self.submit(add, labelled('sum', inputs))
        return ToContext(first=first, second=self.submit(add, labelled('sum', inputs)))


@pytest.mark.usefixtures('aiida_profile_clean')
def test_submit_submits_once(aiida_code_installed) -> None:  # type: ignore[no-untyped-def]
    code = aiida_code_installed(default_calc_job_plugin='core.arithmetic.add', filepath_executable='/bin/bash')
    _, node = run_get_node(TwiceWorkChain, code=code)
    assert node.is_finished_ok
    assert len(node.called) == 1
    assert children(node) == {'sum': node.called[0]}
