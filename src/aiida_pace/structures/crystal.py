"""The symmetry of a crystal: primitive cell, operations on the atoms, special points of the lattice."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import spglib
from ase import Atoms

from aiida_pace.structures.cells import reduced

__all__ = (
    'CrystalError',
    'SpaceGroup',
    'conventional_lengths',
    'rescaled',
    'special_points',
    'standard_primitive',
)

FloatArray = npt.NDArray[np.float64]

#: A standard primitive cell is replaced when its mesh has more than this many times the points of the reduced cell's
#: mesh. The limit for frames that go to DFT (`cells.SKEWED`) is far above: no strain of a validation makes one frame
#: exceed it, and get another cell and another mesh than the others.
SKEWED_STANDARD = 1.2


class CrystalError(ValueError):
    """A structure that cannot be validated as a crystal: the message is one sentence with the remedy."""


@dataclasses.dataclass(frozen=True)
class SpaceGroup:
    """The operations that map a crystal of ``N`` atoms onto itself.

    :param name: international symbol and number, such as ``Fd-3m (227)``.
    :param rotations: (k, 3, 3) of Cartesian vectors, proper or improper.
    :param permutations: (k, N) index of the atom that each atom is mapped to.
    """

    name: str
    rotations: FloatArray
    permutations: npt.NDArray[np.int64]

    @classmethod
    def of(cls, atoms: Atoms, tolerance: float) -> SpaceGroup:
        """Return the space group of ``atoms``, found by spglib.

        :param tolerance: largest displacement of an atom from its symmetric place, in Å.
        :raises CrystalError: when spglib finds none.
        """
        found = _ask_spglib(spglib.get_symmetry_dataset, atoms, symprec=tolerance)
        cell, places = atoms.cell.array, atoms.get_scaled_positions()
        images = np.einsum('kab,nb->kna', found.rotations, places) + found.translations[:, None, :]
        offsets = images[:, :, None, :] - places[None, None, :, :]
        distances = np.linalg.norm((offsets - np.round(offsets)) @ cell, axis=-1)
        # From fractional to Cartesian coordinates: the columns of the transposed cell are the cell vectors.
        rotations = cell.T @ found.rotations @ np.linalg.inv(cell.T)
        return cls(f'{found.international} ({found.number})', rotations, np.argmin(distances, axis=-1))


def standard_primitive(atoms: Atoms, tolerance: float) -> Atoms:
    """Return the primitive cell of ``atoms`` in spglib's standard setting, atoms on their symmetric places.

    The axes of the standard conventional cell lie along x, y, z as far as possible, whatever the orientation of
    ``atoms``: elastic constants then have the indices of the textbooks (Togo et al., Sci. Technol. Adv.
    Mater. Meth. 4, 2384822 (2024)). Skewed primitive vectors, such as those of a rhombohedral lattice with a small
    angle, are replaced by the reduced ones.

    :param tolerance: largest displacement of an atom from its symmetric place, in Å.
    :raises CrystalError: when the structure is not periodic in all directions or spglib finds no symmetry.
    """
    if not atoms.pbc.all():
        raise CrystalError('the structure is not periodic in all three directions: give a crystal')
    found = _ask_spglib(spglib.standardize_cell, atoms, to_primitive=True, no_idealize=False, symprec=tolerance)
    cell, places, numbers = (np.asarray(part) for part in found)
    # The first atom at the origin: different cells of one crystal then mostly give the very same frames.
    places = places - places[0]
    places -= np.floor(places + 1e-6)
    return reduced(Atoms(numbers=numbers, scaled_positions=places, cell=cell, pbc=True), SKEWED_STANDARD)


def conventional_lengths(atoms: Atoms, tolerance: float) -> FloatArray:
    """(3,) lengths in Å of the axes of the standard conventional cell; the first is ``a``.

    :raises CrystalError: when spglib finds no symmetry.
    """
    found = _ask_spglib(spglib.standardize_cell, atoms, to_primitive=False, no_idealize=False, symprec=tolerance)
    return np.asarray(np.linalg.norm(found[0], axis=1))


def special_points(atoms: Atoms) -> dict[str, FloatArray]:
    """Return the special points of the lattice of a primitive cell, in units of its reciprocal vectors.

    Names are those of ASE (Setyawan and Curtarolo, Comput. Mater. Sci. 49, 299 (2010)); ``G`` is Γ.
    """
    points = atoms.cell.bandpath(npoints=0).special_points
    return {name: np.asarray(point, dtype='f8') for name, point in sorted(points.items())}


def rescaled(atoms: Atoms, ratio: float) -> Atoms:
    """Return ``atoms`` at ``ratio`` times their volume, shape and fractional places kept."""
    copy: Atoms = atoms.copy()
    copy.set_cell(atoms.cell.array * ratio ** (1 / 3), scale_atoms=True)
    return copy


def _ask_spglib(function: Callable[..., t.Any], atoms: Atoms, **settings: t.Any) -> t.Any:
    """Return the result of a function of spglib for a crystal.

    :raises CrystalError: without a result: spglib then raises or returns None, depending on a global switch.
    """
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    try:
        found = function(cell, **settings)
    except spglib.SpglibError:
        found = None
    if found is None:
        raise CrystalError(f'spglib finds no symmetry of {atoms.get_chemical_formula()}; its atoms may be too close')
    return found
