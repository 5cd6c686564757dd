"""What engines are tried on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase.data import atomic_numbers

from aiida_pace.structures.check_structures import SHORTEST, even_electron_cell, labelled_crystal

#: Light and heavy, small and large, one without a covalent radius in the table.
ELEMENTS = [['Si'], ['C', 'Si'], ['Cs', 'H', 'O'], ['Es']]


@pytest.mark.parametrize('elements', ELEMENTS)
def test_labelled_crystal(elements: list[str]) -> None:
    atoms = labelled_crystal(elements, per_element=12, cutoff=5.0)
    assert Counter(atoms.symbols) == dict.fromkeys(elements, 12)
    distances = atoms.get_all_distances(mic=True)[~np.eye(len(atoms), dtype=bool)]
    assert distances.min() > 0.6 * SHORTEST
    # Every atom has neighbours within the cutoff, and no force is implausible.
    assert (np.sort(atoms.get_all_distances(mic=True), axis=1)[:, 1] < 5.0).all()
    assert np.isfinite(atoms.get_potential_energy())
    assert 0 < np.abs(atoms.get_forces()).max() < 50


def test_environments_differ() -> None:
    """No two atoms see the same: else the active set would be singular."""
    distances = np.sort(labelled_crystal(['Si'], 12, 5.0).get_all_distances(mic=True), axis=1)
    differences = np.abs(distances[:, None] - distances[None]).max(axis=-1)
    assert differences[~np.eye(12, dtype=bool)].min() > 1e-3


@pytest.mark.parametrize('elements', ELEMENTS)
def test_cell_has_an_even_number_of_electrons_of_each_element(elements: list[str]) -> None:
    atoms = even_electron_cell(elements)
    assert Counter(atoms.symbols) == dict.fromkeys(elements, 2)
    assert sum(atomic_numbers[symbol] for symbol in atoms.symbols) % 2 == 0
    assert atoms.get_all_distances(mic=True)[~np.eye(len(atoms), dtype=bool)].min() >= SHORTEST
