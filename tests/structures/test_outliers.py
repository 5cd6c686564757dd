"""Absurd labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st

from aiida_pace.frames import Frames
from aiida_pace.structures.outliers import composition, implausible_labels, robust_references

WINDOW = (-20.0, 50.0)


@given(st.data(), st.integers(1, 3), st.integers(0, 10_000))
def test_a_minority_of_absurd_energies_moves_nothing(data: st.DataObject, elements: int, seed: int) -> None:
    """Energies of atoms plus some eV of binding are explained to within these, whatever a tenth of them says."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(-3000, -10, elements)
    counts = rng.integers(0, 9, (60, elements))
    counts[:, 0] += 1
    counts[:elements] = np.eye(elements)  # an isolated atom of each
    energies = counts @ truth + rng.uniform(-6, 3, 60) * counts.sum(axis=1)
    bad = rng.choice(np.arange(elements, 60), 6, replace=False)
    wrong = data.draw(st.lists(st.sampled_from([-1e5, -300.0, 80.0, 1e6]), min_size=6, max_size=6))
    energies[bad] += np.array(wrong) * counts[bad].sum(axis=1)
    references = robust_references(counts, energies)
    assert references is not None
    excess = (energies - counts @ references) / counts.sum(axis=1)
    assert set(np.flatnonzero((excess < WINDOW[0]) | (excess > WINDOW[1]))) == set(bad)


def test_one_element_is_the_median() -> None:
    counts = np.array([[1], [2], [8], [4], [2]])
    per_atom = np.array([-100.0, -103.0, -105.0, -104.5, 900.0])
    references = robust_references(counts, per_atom * counts[:, 0])
    assert references == pytest.approx(np.median(per_atom), abs=1e-2)


def test_one_composition() -> None:
    """Two elements that always come in the same proportion: only their sum can be known, and is."""
    counts = np.array([[1, 1], [2, 2], [4, 4], [1, 1], [3, 3], [2, 2], [1, 1]])
    energies = -100.0 * counts.sum(axis=1)
    energies[3] += 500
    references = robust_references(counts, energies)
    assert references is not None
    assert references.sum() == pytest.approx(-200, abs=1e-2)


def test_too_few_to_tell() -> None:
    assert robust_references(np.array([[1], [2]]), np.array([-100.0, 500.0])) is None


def labelled(energies: list[float], strongest: list[float]) -> Frames:
    """Return silicon cells of two atoms."""
    frames = Frames.from_atoms([bulk('Si', a=5.4 + 0.01 * i) for i in range(len(energies))])
    forces: npt.NDArray[np.float64] = np.zeros((len(energies), 2, 3))
    forces[:, 0, 1], forces[:, 1, 1] = strongest, -np.array(strongest)
    return frames.replace(energy=np.array(energies), forces=forces.reshape(-1, 3))


def test_absurd_labels() -> None:
    frames = labelled([-210.0, -209.0, 500.0, -211.0, -900.0], [0.1, 300.0, 300.0, 99.0, 0.0])
    references = {14: -105.0}
    assert implausible_labels(frames, references, 100.0, WINDOW) == {
        1: 'implausible force',
        2: 'implausible force',
        4: 'implausible energy',
    }
    assert implausible_labels(frames, references, 1000.0, WINDOW) == {2: 'implausible energy', 4: 'implausible energy'}
    assert implausible_labels(frames, None, 1000.0, WINDOW) == {}


def test_composition() -> None:
    frames = Frames.from_atoms([Atoms('SiC'), Atoms('C3'), Atoms('Si')])
    assert {number: counts.tolist() for number, counts in composition(frames).items()} == {6: [1, 3, 0], 14: [1, 0, 1]}


def test_no_labels() -> None:
    with pytest.raises(ValueError, match='no labels'):
        implausible_labels(Frames.from_atoms([bulk('Si')]), None, 100.0, WINDOW)
