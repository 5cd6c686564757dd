"""What the symmetry of a crystal says: primitive cell, operations on its atoms, special points of its lattice."""

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

#: A standard primitive cell is replaced when its mesh has more than this many times the points of that of the reduced
#: cell. The limit for a frame that goes to DFT (`cells.SKEWED`) is far above: no strain of a validation brings a frame
#: beyond it, where it would get another cell and another mesh than the others.
SKEWED_STANDARD = 1.2


class CrystalError(ValueError):
    """A structure that is no crystal to be validated: the message is one sentence with the remedy."""


@dataclasses.dataclass(frozen=True)
class SpaceGroup:
    """The operations that leave a crystal of ``N`` atoms as it is.

    :param name: international symbol and number, such as ``Fd-3m (227)``.
    :param rotations: (k, 3, 3) proper or not, of Cartesian vectors.
    :param permutations: (k, N) atom that each atom is brought to.
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
        # Columns of the transposed cell are its vectors: fractional to Cartesian and back.
        rotations = cell.T @ found.rotations @ np.linalg.inv(cell.T)
        return cls(f'{found.international} ({found.number})', rotations, np.argmin(distances, axis=-1))


def standard_primitive(atoms: Atoms, tolerance: float) -> Atoms:
    """Return the primitive cell of ``atoms`` in spglib's standard setting, atoms on their symmetric places.

    The axes of the standard conventional cell lie along x, y, z as far as they can, whatever way the crystal was
    given: elastic constants then have the indices of the textbooks (Togo et al., Sci. Technol. Adv.
    Mater. Meth. 4, 2384822 (2024)). Of a lattice whose standard primitive vectors are skewed, such as a rhombohedral
    one with a small angle, the reduced ones are taken.

    :param tolerance: largest displacement of an atom from its symmetric place, in Å.
    :raises CrystalError: when the structure is not periodic in all directions or spglib cannot make sense of it.
    """
    if not atoms.pbc.all():
        raise CrystalError('it is not periodic in all three directions: give a crystal')
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
    """Return what a function of spglib says of a crystal.

    :raises CrystalError: when it says nothing; by a switch that is global, spglib then raises or returns None.
    """
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    try:
        found = function(cell, **settings)
    except spglib.SpglibError:
        found = None
    if found is None:
        raise CrystalError(f'spglib finds no symmetry of {atoms.get_chemical_formula()}: are atoms too close?')
    return found
