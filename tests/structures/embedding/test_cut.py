import functools
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pace.formats.bbasis import parse_bbasis
from aiida_pace.frames import Frames
from aiida_pace.structures.embedding.cut import (
    EmbeddingError,
    Shape,
    embed,
    embed_within,
    relax_buffer,
)
from aiida_pace.structures.guards import closest_approach
from aiida_pace.structures.recipe_context import pushed_apart
from tests.fixtures.embedding import assert_core_is_untouched


def liquid(count: int, symbols: tuple[str, ...], volume: float) -> Atoms:
    rng = np.random.default_rng(5)
    atoms = Atoms([symbols[i % len(symbols)] for i in range(count)], cell=[(count * volume) ** (1 / 3)] * 3, pbc=True)
    atoms.set_scaled_positions(rng.uniform(size=(count, 3)))
    return pushed_apart(atoms, np.full(count, 2.35), steps=200)


@functools.cache
def large_cell(kind: str) -> Atoms:
    if kind == 'vacancy':
        atoms = bulk('Al', cubic=True).repeat(4)
        del atoms[100]
    elif kind == 'skewed crystal':
        atoms = bulk('Si').repeat(6)
    elif kind == 'thin':
        atoms = bulk('Al', cubic=True).repeat((2, 3, 6))
    elif kind == 'liquid':
        atoms = liquid(216, ('Al',), 18.0)
    elif kind == 'two elements':
        atoms = liquid(216, ('Al', 'Si'), 19.0)
    elif kind == 'surface':
        atoms = fcc111('Al', (5, 6, 6), vacuum=6.0, periodic=True)
    elif kind == 'interface':
        metal = bulk('Al', cubic=True).repeat((4, 4, 3))
        silicon = bulk('Si', cubic=True).repeat((3, 3, 2))
        silicon.set_cell(np.diag([*metal.cell.lengths()[:2], silicon.cell.lengths()[2]]), scale_atoms=True)
        silicon.positions[:, 2] += metal.cell[2, 2] + 0.4
        atoms = metal + silicon
        atoms.cell[2, 2] = metal.cell[2, 2] + silicon.cell[2, 2] + 0.8
    atoms.rattle(0.1, seed=3)
    return atoms


KINDS = ['vacancy', 'skewed crystal', 'thin', 'liquid', 'two elements', 'surface', 'interface']


@settings(deadline=None, max_examples=25)
@given(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 10_000)),
    st.floats(3.5, 5.0),
    st.sampled_from([0.0, 3.0]),
    st.sampled_from([0.0, 0.7]),
    st.sampled_from(['orthorhombic', 'compact']),
)
def test_the_core_keeps_its_neighbours_exactly(
    place: tuple[str, int], cutoff: float, core_radius: float, margin: float, shape: Shape
) -> None:
    atoms = large_cell(place[0])
    centre = place[1] % len(atoms)
    made = embed(atoms, centre, cutoff, core_radius=core_radius, margin=margin, shape=shape)
    assert_core_is_untouched(made, atoms)
    distances = atoms.get_distances(centre, range(len(atoms)), mic=True)
    assert set(made.source[made.core]) == set(np.flatnonzero(distances <= core_radius))
    assert np.array_equal(made.atoms.numbers, atoms.numbers[made.source])
    assert made.atoms.pbc.all()
    box = made.atoms
    closest = [closest_approach(a.numbers, a.positions, a.cell.array, a.pbc) for a in (box, atoms)]
    assert closest[0] >= 0.88 * min(closest[1], 1.0) - 1e-9


@pytest.mark.parametrize('kind', KINDS)
def test_boxes_are_filled_about_as_densely_as_the_large_cell(kind: str) -> None:
    atoms = large_cell(kind)
    made = embed(atoms, 20, 4.5)
    assert len(made) < len(atoms) / 1.5
    if kind not in ('surface', 'interface'):
        ratio = made.atoms.get_volume() / len(made) / (atoms.get_volume() / len(atoms))
        assert 0.88 < ratio < 1.25
    assert made.wrong_bonds < 2.5 * len(made)


def test_a_perfect_crystal_stays_perfect() -> None:
    atoms = bulk('Al', cubic=True).repeat(5)
    made = embed(atoms, 7, 4.9, shape='orthorhombic')
    assert made.removed == 0
    # One of the crystals that fit: some edges are whole numbers of layers, to within the grid of those tried.
    assert made.wrong_bonds < 0.15 * len(made)
    assert made.atoms.get_volume() / len(made) == pytest.approx(4.05**3 / 4, rel=0.04)


def test_edges_that_are_periods_of_the_large_cell_are_kept() -> None:
    atoms = large_cell('thin')
    made = embed(atoms, 7, 5.0, shape='orthorhombic')
    assert made.atoms.cell.lengths()[0] == atoms.cell.lengths()[0]
    assert made.atoms.cell.lengths()[2] < 0.6 * atoms.cell.lengths()[2]
    whole = embed(atoms[:0] + bulk('Al', cubic=True).repeat(2), 3, 5.0, shape='orthorhombic')
    assert len(whole) == 32
    assert whole.wrong_bonds < 1e-9


def test_shapes() -> None:
    atoms = large_cell('liquid')
    orthorhombic, compact = (embed(atoms, 7, 4.5, shape=shape) for shape in ('orthorhombic', 'compact'))
    assert orthorhombic.atoms.cell.angles() == pytest.approx([90, 90, 90])
    assert orthorhombic.atoms.cell.lengths().min() >= 9.0
    assert compact.atoms.cell.angles() == pytest.approx([60, 60, 60])
    assert compact.atoms.cell.lengths().min() >= 9.0
    assert len(compact) < 0.9 * len(orthorhombic)


def test_a_margin_enlarges_the_box() -> None:
    atoms = large_cell('two elements')
    sizes = [len(embed(atoms, 7, 4.0, margin=margin, shape='compact')) for margin in (0.0, 1.0, 2.0)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_weights_count_the_core_alone_and_not_the_energy() -> None:
    made = embed(large_cell('liquid'), 7, 4.5, core_radius=2.8)
    frames = made.frames()
    assert list(frames.weight) == [0.0]
    assert list(frames.origin) == ['embedded']
    assert np.array_equal(frames.force_weight == 1, made.core)
    assert np.array_equal(frames.force_weight == 0, ~made.core)
    assert 1 < made.core.sum() < made.fixed.sum() < len(made)


def test_the_limit_of_atoms_is_kept_with_as_large_a_core_as_fits() -> None:
    atoms = large_cell('vacancy')
    small, large = (embed_within(atoms, 99, 4.5, most) for most in (40, 130))
    assert len(small) <= 40
    assert small.core.sum() == 1
    assert len(large) <= 130
    assert large.core.sum() > 3
    assert_core_is_untouched(large, atoms)
    with pytest.raises(EmbeddingError, match='no box of at most 20 atoms holds the surroundings of atom 99'):
        embed_within(atoms, 99, 4.5, 20)


def test_an_atom_that_is_not_there_is_refused() -> None:
    with pytest.raises(EmbeddingError, match='there is no atom 216 in a structure of 216 atoms'):
        embed(large_cell('liquid'), 216, 4.5)


def test_atoms_across_faces_are_removed_but_none_near_the_core() -> None:
    for centre in range(0, 100, 20):
        made = embed(large_cell('liquid'), centre, 4.2, shape='orthorhombic')
        if made.removed:
            break
    assert made.removed > 0
    distances = large_cell('liquid').get_distances(centre, range(216), mic=True)
    assert set(np.flatnonzero(distances <= 4.2)) <= set(made.source)


def emt_forces(atoms: Atoms) -> np.ndarray:
    atoms = atoms.copy()
    atoms.calc = EMT()
    return atoms.get_forces()


@pytest.mark.parametrize('kind', ['vacancy', 'liquid', 'surface'])
def test_relaxation_calms_the_buffer_and_leaves_the_core(kind: str) -> None:
    atoms = large_cell(kind)
    made = embed(atoms, 50, 4.0, margin=1.0)
    relaxed = relax_buffer(made, emt_forces, steps=150, target=0.3)
    before, after = (np.linalg.norm(emt_forces(box.atoms)[~made.fixed], axis=1) for box in (made, relaxed))
    assert np.sqrt(np.mean(after**2)) < 0.5 * np.sqrt(np.mean(before**2))
    assert np.array_equal(relaxed.atoms.positions[made.fixed], made.atoms.positions[made.fixed])
    assert_core_is_untouched(relaxed, atoms)
    moves = np.linalg.norm(relaxed.atoms.positions - made.atoms.positions, axis=1)
    assert 0.05 < moves.max() <= 1.0


def test_the_buffer_never_enters_the_surroundings_of_the_core() -> None:
    atoms = large_cell('liquid')
    made = embed(atoms, 50, 4.0)
    centre = made.atoms.positions[made.core][0]

    def inwards(box: Atoms) -> np.ndarray:
        return 20 * (centre - box.positions)

    relaxed = relax_buffer(made, inwards, steps=200, farthest=9.0)
    assert not np.array_equal(relaxed.atoms.positions, made.atoms.positions)
    assert_core_is_untouched(relaxed, atoms)
    positions = made.atoms.positions.copy()
    free = int(np.flatnonzero(~made.fixed)[0])
    positions[free] = centre + 0.9 * made.cutoff * np.array([1.0, 0, 0])
    with pytest.raises(EmbeddingError, match='the buffer has come within the cutoff'):
        made.moved(positions)
    positions = made.atoms.positions.copy()
    positions[np.flatnonzero(made.fixed)[1]] += 1e-6
    with pytest.raises(EmbeddingError, match='move only the buffer'):
        made.moved(positions)


def test_forces_that_are_not_finite_end_the_relaxation() -> None:
    made = embed(large_cell('liquid'), 50, 4.0)
    relaxed = relax_buffer(made, lambda box: np.full((len(box), 3), np.nan))
    assert np.array_equal(relaxed.atoms.positions, made.atoms.positions)


@pytest.mark.engines
@pytest.mark.parametrize('system', ['vacancy in silicon', 'disordered silicon carbide'])
def test_the_core_has_the_same_grade_in_the_box(
    system: str, request: pytest.FixtureRequest, engine: Callable[[str], Path], tmp_path: Path
) -> None:
    if system == 'vacancy in silicon':
        files: Path = request.getfixturevalue('si_potential_files')
        atoms = bulk('Si', cubic=True).repeat(3)
        del atoms[100]
        atoms.rattle(0.15, seed=3)
    else:
        files = request.getfixturevalue('sic_potential_files')
        atoms = liquid(216, ('Si', 'C'), 11.0)
    made = embed(atoms, 99, parse_bbasis((files / 'potential.yaml').read_bytes()).cutoff)
    Frames.from_atoms([atoms, made.atoms]).save(tmp_path / 'frames.npz')
    command = [
        engine('pace-evaluate'),
        '--active-set',
        files / 'active_set.asi',
        'frames.npz',
        files / 'potential.yaml',
    ]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120, capture_output=True)
    with np.load(tmp_path / 'evaluation.npz', allow_pickle=False) as evaluation:
        before, after = np.split(evaluation['grade'], [len(atoms)])
    assert before[99] > 0.1
    assert after[made.core] == pytest.approx(before[made.source[made.core]], rel=1e-8)
    # The grade is not simply the same everywhere: the buffer has others.
    assert not np.allclose(after[~made.fixed], before[made.source[~made.fixed]], rtol=1e-3)
