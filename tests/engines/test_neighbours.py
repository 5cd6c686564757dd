from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pace.engines.neighbours import KeptNeighbours, neighbour_lists

#: Images this many cells away in each direction are looked at one by one.
FARTHEST = 9


def by_brute_force(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, reach: float) -> list[np.ndarray]:
    """Return of each atom the sorted vectors (k, 3) to its neighbours, by trying all images."""
    counts = [range(-FARTHEST, FARTHEST + 1) if periodic else range(1) for periodic in pbc]
    shifts = np.array(list(itertools.product(*counts))) @ cell
    found = []
    for place in positions:
        vectors = (positions[None, :, :] + shifts[:, None, :] - place).reshape(-1, 3)
        distances = np.linalg.norm(vectors, axis=1)
        itself = np.argmin(distances)
        found.append(in_order(np.delete(vectors, itself, axis=0)[np.delete(distances, itself) < reach]))
    return found


def in_order(vectors: np.ndarray) -> np.ndarray:
    """Return the vectors in an order in which rounding plays no part."""
    return vectors[np.lexsort(vectors.round(6).T)]


@st.composite
def structures(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return positions anywhere in space, a cell that may be skewed and left-handed, its periods, and a reach."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    edges = rng.uniform(2.5, 9.0, size=3)
    skew = draw(st.sampled_from([0.0, 0.4, 1.2]))
    cell = np.diag(edges) @ (np.eye(3) + skew * np.tril(rng.uniform(-1, 1, size=(3, 3)), -1))
    cell = cell[rng.permutation(3)]
    positions = rng.uniform(-2, 3, size=(draw(st.integers(1, 12)), 3)) @ cell
    pbc = np.array(draw(st.tuples(st.booleans(), st.booleans(), st.booleans())))
    return positions, cell, pbc, draw(st.floats(1.0, 8.0))


@settings(max_examples=150, deadline=None)
@given(structures())
def test_neighbours_are_those_found_by_trying_all_images(
    structure: tuple[np.ndarray, np.ndarray, np.ndarray, float],
) -> None:
    positions, cell, pbc, reach = structure
    extended, owners, lists = neighbour_lists(positions, cell, pbc, reach)
    count = len(positions)
    assert owners[:count].tolist() == list(range(count))
    images = (extended - positions[owners]) @ np.linalg.inv(cell)
    np.testing.assert_allclose(images, images.round(), atol=1e-9)
    assert not images[:, ~pbc].round().any()
    assert set(range(count, len(extended))) == {row for rows in lists for row in rows if row >= count}
    for index, expected in enumerate(by_brute_force(positions, cell, pbc, reach)):
        assert lists[index] == sorted(set(lists[index]))
        vectors = in_order(extended[lists[index]] - extended[index])
        assert len(vectors) == len(expected)
        np.testing.assert_allclose(vectors, expected, atol=1e-9)


def test_atoms_at_one_place_are_neighbours() -> None:
    positions = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [5.0, 5.0, 5.0]])
    _, _, lists = neighbour_lists(positions, np.eye(3) * 20, np.ones(3, dtype=bool), 2.0)
    assert lists == [[1], [0], []]


class Environment:
    """Stands in for pyace's, but is no object of C++."""

    def __init__(self, positions: np.ndarray) -> None:
        self.x = positions.tolist()
        self.origins = list(range(len(positions)))
        self.n_atoms_real = len(positions)


def kept(skin: float) -> KeptNeighbours:
    return KeptNeighbours(lambda _numbers, positions, *_: Environment(positions), skin)


def test_lists_are_kept_until_an_atom_has_moved_by_half_the_skin() -> None:
    lists, numbers, pbc = kept(1.0), np.array([14, 14]), np.zeros(3, dtype=bool)
    positions, cell = np.zeros((2, 3)), np.eye(3)
    first = lists.environment(numbers, positions, cell, pbc)
    positions[1, 0] = 0.49
    assert lists.environment(numbers, positions, cell, pbc) is first
    positions[1, 1] = 0.2
    assert lists.environment(numbers, positions, cell, pbc) is not first
    assert lists.builds == 2


@pytest.mark.parametrize('changed', ['numbers', 'pbc', 'cell', 'nan'])
def test_lists_are_not_kept_for_another_structure(changed: str) -> None:
    lists, numbers, pbc = kept(1.0), np.array([14, 6]), np.zeros(3, dtype=bool)
    positions, cell = np.zeros((2, 3)), np.eye(3)
    lists.environment(numbers, positions, cell, pbc)
    if changed == 'numbers':
        numbers[:] = numbers[::-1].copy()
    elif changed == 'pbc':
        pbc[0] = True
    elif changed == 'cell':
        cell[0, 0] = 1.1
    else:
        positions[0, 0] = np.nan
    lists.environment(numbers, positions, cell, pbc)
    assert lists.builds == 2


#: Evaluates each frame with neighbours by pyace and by the tree, and moves atoms in pyace's memory and by its lists.
BOTH_WAYS = """
import json, sys
from pathlib import Path
import numpy as np
from aiida_pace.engines import ace, neighbours
from aiida_pace.frames import Frames
files = Path(sys.argv[1])
model = ace.AceModel(*(files.joinpath(name).read_bytes() for name in ('potential.yaml', 'active_set.asi')))
frames = Frames.load(files / 'dataset.npz')
worst = {}

def compare(what, found, expected):
    for name in ('energy', 'forces', 'stress', 'grade'):
        one, other = getattr(found, name), getattr(expected, name)
        if one is not None and other is not None:
            key = f'{what} {"grade" if name == "grade" else "others"}'
            worst[key] = max(worst.get(key, 0.0), float(np.max(np.abs(np.subtract(one, other)) / (1 + np.abs(other)))))

for index in range(6):
    atoms = frames.atoms(index)
    for pbc in ([True] * 3, [True, False, True], [False] * 3):
        arguments = atoms.numbers, atoms.positions, atoms.cell.array, np.array(pbc)
        results = []
        for few in (10**9, 0):
            ace.FEW_PAIRS = few
            results.append(model.compute(*arguments))
        compare('tree', *results)
        compare('fast', model.compute(*arguments, graded=False), results[0])

moved, found = atoms.positions + 0.1 * np.sin(np.arange(3 * len(atoms))).reshape(-1, 3), []
memory = neighbours.memory_of_positions
for way in (memory, lambda *_: None):
    neighbours.memory_of_positions = way
    kept = neighbours.KeptNeighbours(model.environment)
    for positions in (atoms.positions, moved):
        result = model.compute(atoms.numbers, positions, atoms.cell.array, atoms.pbc, neighbours=kept)
    found.append(result)
    assert kept.builds == 1
environment = model.environment(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
is_memory = memory(environment, np.array(environment.x)) is not None
is_refused = memory(environment, np.array(environment.x) + 1e-9) is None
same = np.array_equal(found[0].forces, found[1].forces) and found[0].energy == found[1].energy
print(json.dumps([worst, is_memory, is_refused, same]))
"""


@pytest.mark.engines
def test_evaluations_do_not_depend_on_how_neighbours_are_found(
    engine: Callable[[str], Path], sic_potential_files: Path
) -> None:
    command = [engine('python'), '-c', BOTH_WAYS, sic_potential_files]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    worst, is_memory, is_refused, same = json.loads(result.stdout)
    assert worst.pop('tree grade') < 1e-6
    assert set(worst) == {'tree others', 'fast others'}
    assert max(worst.values()) < 1e-10
    assert is_memory, 'pyace holds the positions elsewhere than `memory_of_positions` expects'
    assert is_refused
    assert same
