"""Small frames of any elements, labelled without DFT, to test engines with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers, covalent_radii

__all__ = ('even_electron_cell', 'labelled_crystal')

#: Smallest distance of neighbours, in Å: the table has tiny placeholders for unknown radii.
SHORTEST = 1.5


def spacing(elements: Sequence[str], cutoff: float) -> float:
    """Return a distance of neighbours in Å that suits the largest of ``elements`` and lies within ``cutoff``."""
    radius = max(covalent_radii[atomic_numbers[element]] for element in elements)
    return float(min(max(2 * radius, SHORTEST), 0.8 * cutoff))


def labelled_crystal(elements: Sequence[str], per_element: int, cutoff: float, seed: int = 0) -> Atoms:
    """Return a rattled simple cubic crystal with ``per_element`` atoms of each element at random sites.

    Energy (eV) and forces (eV/Å) are those of one Lennard-Jones potential for all elements, so the energy of an
    isolated atom is 0.

    :param per_element: a multiple of 4.
    :param cutoff: in Å; neighbours are closer than this.
    """
    rng = np.random.default_rng(seed)
    length = spacing(elements, cutoff)
    atoms: Atoms = bulk('X', 'sc', a=length) * (2, 2, len(elements) * per_element // 4)
    atoms.set_chemical_symbols(rng.permutation(np.repeat(sorted(elements), per_element)).tolist())
    atoms.positions += rng.normal(scale=0.05 * length, size=(len(atoms), 3))
    atoms.calc = LennardJones(sigma=length / 2 ** (1 / 6), epsilon=0.1, rc=1.8 * length, smooth=True)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces().copy()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def even_electron_cell(elements: Sequence[str]) -> Atoms:
    """Return a cell with a row of two atoms per element, so that the number of electrons is even."""
    length = spacing(elements, np.inf)
    symbols = [element for element in sorted(elements) for _ in range(2)]
    positions = [(number * length, 0, 0) for number in range(len(symbols))]
    return Atoms(symbols, positions, cell=[len(symbols) * length, length, length], pbc=True)
