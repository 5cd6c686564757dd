import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import given
from hypothesis import strategies as st

from aiida_pace.frames import COLUMNS, OPTIONAL_COLUMNS, Frames, FramesError
from tests.fixtures.frames import any_frames, assert_identical, random_frames


def saved(frames: Frames) -> bytes:
    stream = io.BytesIO()
    frames.save(stream)
    return stream.getvalue()


@given(any_frames())
def test_file_round_trip_is_bit_identical(frames: Frames) -> None:
    assert_identical(Frames.load(io.BytesIO(saved(frames))), frames)


@given(any_frames())
def test_atoms_round_trip_is_bit_identical(frames: Frames) -> None:
    back = Frames.from_atoms(list(frames))
    if len(frames):
        assert_identical(back, frames)
    else:
        assert len(back) == 0


@given(any_frames(), st.data())
def test_take_and_concatenate_rebuild_the_set(frames: Frames, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(frames)))
    parts = [frames.take(range(cut)), frames.take(np.arange(cut, len(frames)))]
    assert_identical(Frames.concatenate(parts), frames)


def test_take_picks_in_order_and_repeats() -> None:
    frames = random_frames((2, 1, 3), labelled=True, graded=True)
    taken = frames.take([2, 0, 2])
    assert taken.sizes.tolist() == [3, 2, 3]
    for position, index in enumerate((2, 0, 2)):
        assert_identical(taken.take([position]), frames.take([index]))
    assert len(frames.take([])) == 0


def test_take_refuses_a_mask_and_missing_frames() -> None:
    frames = random_frames((2, 1, 3))
    with pytest.raises(FramesError, match='indices'):
        frames.take(np.array([True, False, True]))
    with pytest.raises(IndexError):
        frames.take([3])


def test_same_frames_give_the_same_bytes_whatever_they_were_cut_from() -> None:
    frames = random_frames((2, 1)).replace(origin=['short', 'a much longer text'])
    cut = frames.take([0])
    made = Frames.from_atoms([frames.atoms(0)])
    assert saved(cut) == saved(made)
    assert saved(frames.take([1])) != saved(cut)


def test_concatenate_keeps_an_optional_column_only_when_all_have_it() -> None:
    parts = [random_frames(graded=True, labelled=True), random_frames(seed=1, labelled=True)]
    joined = Frames.concatenate(parts)
    assert joined.grade is None
    assert joined.energy.tolist() == [*parts[0].energy, *parts[1].energy]
    assert len(Frames.concatenate([])) == 0


def test_columns_are_read_only_and_apart_from_the_callers_arrays() -> None:
    positions = np.zeros((2, 3))
    frames = random_frames((2,)).replace(positions=positions)
    with pytest.raises(ValueError, match='read-only'):
        frames.positions[0, 0] = 1
    positions[0, 0] = np.nan
    assert frames.positions[0, 0] == 0
    frames.atoms(0).positions[0, 0] = 5
    assert frames.positions[0, 0] == 0


def test_read_only_view_of_a_writeable_array_is_copied() -> None:
    positions = np.zeros((2, 3))
    view = positions.view()
    view.flags.writeable = False
    frames = random_frames((2,)).replace(positions=view)
    positions[0, 0] = np.nan
    assert frames.positions[0, 0] == 0


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('name', [name for name, (_, dtype) in COLUMNS.items() if dtype == 'f8'])
def test_refuses_numbers_that_are_not_finite_and_names_the_frame(name: str, value: float) -> None:
    frames = random_frames((2, 1, 3), labelled=True, graded=True)
    column = frames.columns()[name].copy()
    column[-1] = value  # the last row belongs to the last frame in every column
    with pytest.raises(FramesError, match=rf'frame 2: `{name}`.*not finite'):
        frames.replace(**{name: column})


@pytest.mark.parametrize('name', COLUMNS)
def test_refuses_wrong_shapes(name: str) -> None:
    frames = random_frames((2, 1, 3), labelled=True, graded=True)
    column = frames.columns()[name]
    for wrong in (column[:-1], column[..., None]):
        with pytest.raises(FramesError, match=f'`{name}` has shape'):
            frames.replace(**{name: wrong})


@pytest.mark.parametrize(
    ('columns', 'message'),
    [
        ({'energy': None}, 'both or neither'),
        ({'forces': None}, 'both or neither'),
        ({'energy': None, 'forces': None}, 'stress is given without'),
        ({'offsets': [0, 2, 2, 6]}, 'frame 1 has no atoms'),
        ({'offsets': [1, 2, 3, 6]}, 'starts with 0'),
        ({'offsets': []}, 'starts with 0'),
        ({'offsets': [0, 2, 3, 5]}, 'shape'),
        ({'offsets': [0, 2.5, 3, 6]}, 'offsets'),
        ({'numbers': [14, 14, 14, 14, 14, 0]}, 'no atomic number'),
        ({'numbers': [14, 14, 14, 14, 14, 119]}, 'no atomic number'),
        ({'numbers': [14, 14, 14, 14, 14, 2**32 + 14]}, 'cannot hold'),
        ({'numbers': [14.7] * 6}, 'numbers'),
        ({'numbers': [np.nan] * 6}, 'numbers'),
        ({'positions': [['x'] * 3] * 6}, 'positions'),
        ({'positions': [[1j] * 3] * 6}, 'positions'),
        ({'pbc': [[2] * 3] * 3}, 'cannot hold'),
        ({'origin': [1, 2, 3]}, 'origin'),
        ({'label_uuid': np.array(['a', None, 'b'], dtype=object)}, 'label_uuid'),
        ({'weight': [1, -1, 1]}, 'negative'),
        ({'force_weight': [1, 1, 1, 1, 1, -1e-9]}, 'negative'),
    ],
)
def test_refuses_what_makes_no_sense(columns: dict[str, object], message: str) -> None:
    with pytest.raises(FramesError, match=message):
        random_frames((2, 1, 3), labelled=True).replace(**columns)


@pytest.mark.parametrize(
    ('cell', 'pbc', 'fits'),
    [
        (np.zeros((3, 3)), [False] * 3, True),
        (np.diag([3.0, 3, 0]), [True, True, False], True),
        (np.diag([3.0, 3, 0]), [True, True, True], False),
        (np.array([[3.0, 0, 0], [6, 0, 0], [0, 0, 3]]), [True, True, False], False),
        (np.array([[0, 3.0, 0], [3, 0, 0], [0, 0, 3]]), [True] * 3, True),  # left-handed
    ],
)
def test_periodic_directions_need_vectors_that_span_something(cell: np.ndarray, pbc: list[bool], fits: bool) -> None:
    atoms = Atoms('Si', cell=cell, pbc=pbc)
    if fits:
        assert Frames.from_atoms([atoms]).atoms(0) == atoms
    else:
        with pytest.raises(FramesError, match=r'frame 0.*span nothing'):
            Frames.from_atoms([atoms])


def test_from_atoms_takes_labels_of_a_calculator() -> None:
    atoms = bulk('Cu', cubic=True)
    atoms.rattle(0.1, rng=np.random.default_rng(0))
    atoms.calc = EMT()
    energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    frames = Frames.from_atoms([atoms], origin='rattle')
    assert frames.energy.tolist() == [energy]
    assert frames.forces.tolist() == forces.tolist()
    assert frames.stress.tolist() == [stress.tolist()]
    assert frames.origin.tolist() == ['rattle']
    assert frames.elements == ['Cu']


def test_from_atoms_turns_a_stress_tensor_into_voigt_order() -> None:
    atoms = bulk('Cu')
    tensor = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((1, 3)))
    atoms.calc.results['stress'] = tensor
    assert Frames.from_atoms([atoms]).stress.tolist() == [[1, 2, 3, 4, 5, 6]]


def test_from_atoms_refuses_labels_of_another_structure() -> None:
    atoms = bulk('Cu')
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((1, 3)))
    atoms.positions += 0.1
    with pytest.raises(FramesError, match=r'frame 0.*another structure'):
        Frames.from_atoms([atoms])


@pytest.mark.parametrize('results', [{'energy': 0.0}, {'forces': np.zeros((1, 3))}])
def test_from_atoms_refuses_half_a_label(results: dict[str, object]) -> None:
    atoms = bulk('Cu')
    atoms.calc = SinglePointCalculator(atoms, **results)
    with pytest.raises(FramesError, match='only one of them'):
        Frames.from_atoms([atoms])


def test_from_atoms_refuses_labels_of_some_images_only() -> None:
    labelled = bulk('Cu')
    labelled.calc = SinglePointCalculator(labelled, energy=0.0, forces=np.zeros((1, 3)))
    with pytest.raises(FramesError, match='frame 1 has no energy'):
        Frames.from_atoms([labelled, bulk('Al')])


def test_max_grade() -> None:
    frames = random_frames((2, 1, 3)).replace(grade=[1, 5, 2, 3, 9, 4])
    assert frames.max_grade().tolist() == [5, 2, 9]
    with pytest.raises(FramesError, match='no extrapolation grade'):
        random_frames().max_grade()


@pytest.mark.parametrize('name', sorted(set(COLUMNS) - set(OPTIONAL_COLUMNS)))
def test_load_refuses_a_missing_column(name: str) -> None:
    source, target = io.BytesIO(saved(random_frames())), io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, 'w') as new:
        for entry in old.namelist():
            if entry != f'{name}.npy':
                new.writestr(entry, old.read(entry))
    target.seek(0)
    with pytest.raises(FramesError, match=name):
        Frames.load(target)


@pytest.mark.parametrize('version', [2, [1, 1]])
def test_load_refuses_another_schema(tmp_path: Path, version: object) -> None:
    frames = random_frames()
    np.savez(tmp_path / 'x.npz', schema_version=version, offsets=frames.offsets, **frames.columns())
    with pytest.raises(FramesError, match='schema version'):
        Frames.load(tmp_path / 'x.npz')


def test_load_refuses_what_would_be_unpickled(tmp_path: Path) -> None:
    frames = random_frames()
    columns = {**frames.columns(), 'origin': np.array([object()] * 3)}
    np.savez(tmp_path / 'x.npz', schema_version=1, offsets=frames.offsets, **columns)
    with pytest.raises(FramesError, match='pickle'):
        Frames.load(tmp_path / 'x.npz')


@pytest.mark.parametrize('content', [b'', b'text', b'PK\x03\x04 cut', saved(random_frames())[:-40]])
def test_load_refuses_damaged_files(content: bytes) -> None:
    with pytest.raises(FramesError, match='archive of frames'):
        Frames.load(io.BytesIO(content))


def test_load_refuses_a_single_array(tmp_path: Path) -> None:
    np.save(tmp_path / 'x.npy', np.zeros(3))
    with pytest.raises(FramesError, match='archive of frames'):
        Frames.load(tmp_path / 'x.npy')
    with pytest.raises(FileNotFoundError):
        Frames.load(tmp_path / 'missing.npz')
