"""What holds for the exit codes of every calculation."""

from __future__ import annotations

import re

import pytest
from aiida.plugins import CalculationFactory
from aiida.plugins.entry_point import get_entry_point_names

CALCULATIONS = [name for name in get_entry_point_names('aiida.calculations') if name.startswith('pace.')]


def test_all_calculations_are_looked_at() -> None:
    assert set(CALCULATIONS) == {
        'pace.active_set',
        'pace.basis',
        'pace.embed',
        'pace.evaluate',
        'pace.label_calculator',
        'pace.lammps',
        'pace.select',
        'pace.swarm',
        'pace.train',
    }


@pytest.mark.parametrize('name', CALCULATIONS)
def test_outputs_that_are_unusable_are_not_cached(name: str) -> None:
    """Below 400 a result must not be taken again by another run with the same inputs."""
    own = {
        label: code for label, code in CalculationFactory(name).spec().exit_codes.items() if 300 <= code.status < 400
    }
    assert own
    assert [label for label, code in own.items() if not code.invalidates_cache] == []


@pytest.mark.parametrize('name', CALCULATIONS)
def test_exit_codes_are_named_and_numbered_by_the_rules(name: str) -> None:
    codes = {label: code for label, code in CalculationFactory(name).spec().exit_codes.items() if code.status >= 200}
    assert len({code.status for code in codes.values()}) == len(codes)
    for label, code in codes.items():
        assert re.fullmatch(r'ERROR(_[A-Z]+){2,}', label)
        assert code.status < 600, 'a calculation is not a campaign that did not converge'
        assert re.search(r'\w{4}.*\w{4}', code.message)
