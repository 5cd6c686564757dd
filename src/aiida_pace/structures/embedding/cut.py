"""Cut the surroundings of an atom out of a large cell into a small periodic box for DFT."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from ase import Atoms

from aiida_pace.formats.text import counted
from aiida_pace.frames import Frames
from aiida_pace.structures.embedding.boxes import Cut, nearest_distances

__all__ = ('Embedding', 'EmbeddingError', 'embed', 'embed_within', 'relax_buffer')

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Shape = t.Literal['orthorhombic', 'compact']


class EmbeddingError(ValueError):
    """Surroundings that cannot be embedded; the message gives the remedy."""

    def __init__(self, message: str, cause: str = 'wrong_use') -> None:
        """Make an error with a message, and one word for the accounts."""
        super().__init__(message)
        self.cause = cause


@dataclasses.dataclass(frozen=True, eq=False)
class Embedding:
    """Surroundings of an atom in a periodic box.

    :param atoms: the box, with the array ``force_weight`` (1 in the core, 0 elsewhere) and the energy weight 0; its
        atoms are shifted but not rotated relative to the large cell.
    :param core: (n,) the atoms that count in a fit; their surroundings within ``cutoff`` are those of the large cell.
    :param fixed: (n,) the core and the atoms within ``cutoff`` of it, which must not move; the rest is the buffer.
    :param source: (n,) index of each atom in the large cell.
    :param cutoff: in Å.
    :param wrong_bonds: missing or surplus strength of bonds relative to the large cell, summed over atoms, in single
        bonds.
    :param removed: number of atoms left out because they are too close to others across a face of the box.
    """

    atoms: Atoms
    core: BoolArray
    fixed: BoolArray
    source: IntArray
    cutoff: float
    wrong_bonds: float
    removed: int

    def __len__(self) -> int:
        """Return the number of atoms in the box."""
        return len(self.atoms)

    def moved(self, positions: FloatArray) -> Embedding:
        """Return the same box with other positions of the buffer.

        :raises EmbeddingError: when a fixed atom has moved or the buffer has come within the cutoff of the core.
        """
        if not np.array_equal(positions[self.fixed], self.atoms.positions[self.fixed]):
            raise EmbeddingError('an atom within the cutoff of the core has moved: move only the buffer')
        if np.any(self.intruders(positions)):
            raise EmbeddingError('an atom of the buffer has come within the cutoff of the core: relax the buffer less')
        atoms = self.atoms.copy()
        atoms.positions = positions
        return dataclasses.replace(self, atoms=atoms)

    def intruders(self, positions: FloatArray) -> BoolArray:
        """Return the mask (n,) of the buffer atoms that would be within the cutoff of the core at these positions."""
        near = nearest_distances(positions, self.atoms.positions[self.core], self.atoms.cell.array) <= self.cutoff
        return np.asarray(near & ~self.fixed)

    def frames(self) -> Frames:
        """Return the box as one frame with its weights; the origin is ``embedded``."""
        return Frames.from_atoms([self.atoms])


def embed(
    atoms: Atoms,
    centre: int,
    cutoff: float,
    *,
    core_radius: float = 0.0,
    margin: float = 0.0,
    clash: float | None = None,
    shape: Shape | None = None,
    max_atoms: int | None = None,
) -> Embedding:
    """Return a box around an atom in which all atoms within ``cutoff`` of the core have their exact positions.

    The box is filled from the large cell. No image may come within the cutoff of the core; beyond that the shape is
    chosen to keep the bonds of the atoms. Of two atoms that are too close across a face one is removed, but never an
    atom within the cutoff of the core.

    An ``orthorhombic`` box has the Cartesian axes; an edge of the large cell at right angles to the others is kept when
    it is not longer. A ``compact`` box is a primitive cell of the face-centred lattice, in the best of 24 orientations:
    around one atom it needs 0.71 of the volume.

    :param atoms: the large cell, of any shape.
    :param centre: index of the atom, such as that of the highest extrapolation grade.
    :param cutoff: of the potential, in Å.
    :param core_radius: atoms within this distance of the centre belong to the core, in Å.
    :param margin: added to the least distance between the core and the faces, in Å; a larger one enlarges the box.
    :param clash: atoms are too close below this times the sum of their covalent radii; by default 0.88 times the ratio
        of the closest pair of the large cell.
    :param shape: by default the one with fewer wrong bonds.
    :param max_atoms: largest number of atoms in the box, before any are removed.
    :raises EmbeddingError: when ``centre`` is out of range, or no box is small enough and keeps all fixed atoms.
    """
    if not 0 <= centre < len(atoms):
        raise EmbeddingError(f'there is no atom {centre} in a structure of {counted(len(atoms), "atom")}')
    cut = Cut(atoms, centre, cutoff, core_radius=core_radius, margin=margin, clash=clash)
    searches = {'orthorhombic': cut.orthorhombic, 'compact': cut.compact}
    most = np.inf if max_atoms is None else max_atoms
    boxes = [search(most) for name, search in searches.items() if shape in (None, name)]
    box = min((box for box in boxes if box is not None), key=lambda box: box.cost, default=None)
    if box is None:
        raise EmbeddingError(
            f'no box of at most {max_atoms} atoms holds the surroundings of atom {centre} within {cutoff} Å: allow '
            'more atoms, or use a potential with a shorter cutoff',
            cause='too_many_atoms',
        )
    if box.forbidden:
        raise EmbeddingError(
            f'in every box some atoms within {cutoff} Å of atom {centre} are too close to images of others: allow more '
            'atoms, or use another `margin`',
            cause='short_distance',
        )
    kept = box.kept
    inside = Atoms(
        numbers=atoms.numbers[box.owners[kept]],
        positions=box.positions[kept] + box.cell.sum(axis=0) / 2,
        cell=box.cell,
        pbc=True,
    )
    inside.set_array('force_weight', box.core[kept].astype('f8'))
    inside.info |= {'weight': 0.0, 'origin': 'embedded'}
    return Embedding(
        inside,
        core=box.core[kept],
        fixed=box.fixed[kept],
        source=box.owners[kept],
        cutoff=cutoff,
        wrong_bonds=box.wrong_bonds,
        removed=int(np.sum(~kept)),
    )


def embed_within(
    atoms: Atoms, centre: int, cutoff: float, max_atoms: int, *, margin: float = 0.0, clash: float | None = None
) -> Embedding:
    """Return the embedding with nearly the largest core that fits into a box of at most ``max_atoms`` atoms.

    The arguments are those of `embed`.

    :raises EmbeddingError: when no box around the centre alone is small enough.
    """
    best = embed(atoms, centre, cutoff, margin=margin, clash=clash, max_atoms=max_atoms)
    low, high = 0.0, cutoff
    while high - low > 0.25:
        radius = (low + high) / 2
        try:
            best = embed(atoms, centre, cutoff, core_radius=radius, margin=margin, clash=clash, max_atoms=max_atoms)
            low = radius
        except EmbeddingError:
            high = radius
    return best


def relax_buffer(
    embedding: Embedding,
    forces: Callable[[Atoms], FloatArray],
    *,
    steps: int = 100,
    target: float = 0.5,
    farthest: float = 1.0,
) -> Embedding:
    """Return the box after a relaxation of its buffer.

    The method is FIRE (Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006)). An atom stops where it would come within the
    cutoff of the core, or move by more than ``farthest``: the potential is not reliable in these surroundings, so the
    relaxation removes the largest strains and need not find a minimum.

    :param forces: returns the (n, 3) forces on a structure in eV/Å; forces that are not finite end the relaxation.
    :param steps: largest number of steps.
    :param target: the relaxation ends when the largest force on the buffer is not above this, in eV/Å.
    :param farthest: largest displacement of an atom, in Å.
    """
    atoms = embedding.atoms.copy()
    start = atoms.positions.copy()
    velocities = np.zeros_like(start)
    time_step, mixing, downhill = 0.1, 0.1, 0
    for _ in range(steps):
        pull = np.array(forces(atoms), dtype='f8')
        if not np.all(np.isfinite(pull)):
            break
        pull[embedding.fixed] = 0.0
        norm = float(np.linalg.norm(pull))
        if norm == 0 or np.linalg.norm(pull, axis=1).max() <= target:
            break
        if np.vdot(pull, velocities) > 0:
            velocities = (1 - mixing) * velocities + mixing * np.linalg.norm(velocities) * pull / norm
            downhill += 1
            if downhill > 5:
                time_step, mixing = min(1.1 * time_step, 0.5), 0.99 * mixing
        elif downhill or velocities.any():
            velocities[:] = 0.0
            time_step, mixing, downhill = 0.5 * time_step, 0.1, 0
        velocities += time_step * pull
        step = time_step * velocities
        step *= min(1.0, 0.1 / max(float(np.linalg.norm(step, axis=1).max()), 1e-12))
        positions = atoms.positions + step
        halted = embedding.intruders(positions) | (np.linalg.norm(positions - start, axis=1) > farthest)
        positions[halted], velocities[halted] = atoms.positions[halted], 0.0
        atoms.positions = positions
    return embedding.moved(atoms.positions)
