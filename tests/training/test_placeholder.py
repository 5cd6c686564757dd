"""The placeholder potential and active set; that engines read them is shown by the tests of `pace.check`."""

from __future__ import annotations

import pytest

from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.formats.bbasis import parse_bbasis
from aiida_pace.training.placeholder import FUNCTIONS_PER_PAIR, placeholder_active_set, placeholder_potential


@pytest.mark.parametrize('elements', [['Si'], ['Si', 'C'], ['O', 'No', 'H']])
def test_potential(elements: list[str]) -> None:
    basis = parse_bbasis(placeholder_potential(elements, 4.5))
    assert basis.elements == tuple(sorted(elements))
    assert basis.cutoff == 4.5
    assert set(basis.functions_per_element.values()) == {FUNCTIONS_PER_PAIR * len(elements)}


@pytest.mark.usefixtures('aiida_profile_clean')
def test_active_set_fits_the_potential() -> None:
    potential = AcePotentialData(placeholder_potential(['Si', 'C'], 5.0).encode())
    active_set = AceActiveSetData(placeholder_active_set(potential.functions_per_element), potential=potential)
    assert active_set.matches(potential)
