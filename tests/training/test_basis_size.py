"""Numbers of basis functions: what pacemaker is asked for, and what it makes of that."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aiida_pace.config import TrainingConfig
from aiida_pace.formats.pacemaker import potential_sections
from aiida_pace.training.basis_size import least_functions, plan_basis

#: Makes bases by the code of pacemaker itself, one stage after the other, and counts the functions of each element.
COUNT = """
import collections, json, sys
from pyace.basisextension import construct_bbasisconfiguration
counts = []
for stages in json.loads(sys.argv[1]):
    made = None
    for stage in stages:
        made = construct_bbasisconfiguration(stage, initial_basisconfig=made)
    count = collections.Counter()
    for block in made.funcspecs_blocks:
        count[block.elements_vec[0]] += len(block.funcspecs)
    counts.append(count)
print(json.dumps(counts))
"""


@pytest.mark.engines
def test_pacemaker_makes_what_is_planned(engine: Callable[[str], Path]) -> None:
    """One element, more than there are, two elements that differ, three of which the blocks of an order are used up."""
    cases = [
        ({'Si': 33}, 4),
        ({'Si': 5000}, 2),
        ({'Al': 15, 'Si': 15}, 4),
        ({'Al': 3, 'Si': 31}, 3),
        ({'Al': 300, 'Cu': 60, 'Si': 9}, 2),
    ]
    plans = [plan_basis(wanted, order) for wanted, order in cases]
    stages = [
        potential_sections(TrainingConfig(order=order), sorted(wanted), plan.numbers)
        for (wanted, order), plan in zip(cases, plans, strict=True)
    ]
    assert [len(sections) for sections in stages] == [1, 1, 1, 2, 3]
    command = [engine('python'), '-c', COUNT, json.dumps(stages)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert json.loads(done.stdout.splitlines()[-1]) == [plan.functions for plan in plans]
    for (wanted, _), plan in zip(cases, plans, strict=True):
        assert all(plan.functions[element] <= number for element, number in wanted.items())
    assert plans[0].functions == {'Si': 33}
    assert plans[2].functions == {'Al': 14, 'Si': 14}
    assert plans[3].functions == {'Al': 2, 'Si': 30}


class TestGrowth:
    def test_more_functions_are_added(self) -> None:
        plan = plan_basis({'Al': 20, 'Si': 100}, 4, {'Al': 20, 'Si': 60})
        assert (plan.is_grown, plan.functions) == (True, {'Al': 20, 'Si': 100})

    def test_fewer_functions_are_not_taken_away(self) -> None:
        plan = plan_basis({'Al': 10, 'Si': 100}, 4, {'Al': 20, 'Si': 60})
        assert (plan.is_grown, plan.functions) == (True, {'Al': 20, 'Si': 100})

    @pytest.mark.parametrize('wanted', [{'Al': 20, 'Si': 60}, {'Al': 5, 'Si': 5}, {'Al': 21, 'Si': 61}])
    def test_a_basis_that_has_enough_is_kept(self, wanted: dict[str, int]) -> None:
        """An odd number is none that two blocks of the same size can have."""
        plan = plan_basis(wanted, 4, {'Al': 20, 'Si': 60})
        assert (plan.numbers, plan.is_grown, plan.functions) == (None, False, {'Al': 20, 'Si': 60})

    def test_a_basis_at_its_largest_is_kept(self) -> None:
        assert plan_basis({'Si': 500}, 2, {'Si': 99}).numbers is None

    def test_a_basis_of_other_settings_is_kept(self) -> None:
        """Of 37 functions of Al, pacemaker would make 36, and miss one when it counts those to add."""
        assert plan_basis({'Al': 10, 'Si': 100}, 4, {'Al': 37, 'Si': 60}).numbers is None


def test_an_element_needs_a_function_in_each_block() -> None:
    assert [least_functions(count, 4) for count in (1, 2, 3)] == [1, 2, 4]
    with pytest.raises(ValueError, match='1 functions of Al are too few: with 2 elements it has 2 or more'):
        plan_basis({'Al': 1, 'Si': 50}, 4)
