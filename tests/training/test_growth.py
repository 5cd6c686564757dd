import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pace.config import GrowthConfig
from aiida_pace.training.growth import affordable_functions, grown_functions

ELEMENTS = st.sampled_from(['Al', 'Si', 'O'])


def test_an_element_with_few_atoms_has_few_functions() -> None:
    assert affordable_functions(100, {'Si': 400, 'O': 20}) == {'O': 19, 'Si': 100}
    with pytest.raises(ValueError, match='1 atoms of O'):
        affordable_functions(100, {'Si': 400, 'O': 1})


def test_steps_are_bounded_by_atoms_and_by_the_largest_basis() -> None:
    growth = GrowthConfig(factor=1.5, min_step=25, max_functions=300)
    assert grown_functions({'Si': 100}, {'Si': 1000}, growth) == {'Si': 150}
    assert grown_functions({'Si': 20}, {'Si': 1000}, growth) == {'Si': 45}
    assert grown_functions({'Si': 100}, {'Si': 130}, growth) == {'Si': 129}
    assert grown_functions({'Si': 250}, {'Si': 1000}, growth) == {'Si': 300}
    assert grown_functions({'Si': 100, 'O': 50}, {'Si': 1000, 'O': 40}, growth) == {'O': 50, 'Si': 150}
    assert grown_functions({'Si': 100}, {'Si': 109}, growth) is None
    assert grown_functions({'Si': 100}, {}, growth) is None
    assert grown_functions({'Si': 300}, {'Si': 1000}, growth) is None


@settings(deadline=None)
@given(
    st.dictionaries(ELEMENTS, st.integers(1, 600), min_size=1),
    st.dictionaries(ELEMENTS, st.integers(0, 900)),
    st.floats(1, 3),
    st.integers(1, 100),
)
def test_the_ladder_ends(functions: dict[str, int], atoms: dict[str, int], factor: float, step: int) -> None:
    growth = GrowthConfig(factor=factor, min_step=step)
    for _ in range(100):
        grown = grown_functions(functions, atoms, growth)
        if grown is None:
            return
        assert all(functions[name] <= grown[name] for name in functions)
        assert all(count < atoms[name] for name, count in grown.items() if count > functions[name])
        functions = grown
    pytest.fail('the ladder has no end')
