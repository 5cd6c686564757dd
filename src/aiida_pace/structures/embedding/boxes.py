"""The search for a periodic box around an atom: shape, atoms in the box, and defects of the box."""

from __future__ import annotations

import itertools
import typing as t
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from ase import Atoms
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from aiida_pace.structures.guards import closest_approach, radii_of
from aiida_pace.structures.neighbours import images_within

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: The strength of a bond is exp(DECAY (1 - ratio)) for ratios, of length to sum of the covalent radii, below BONDED,
#: after Pauling (J. Am. Chem. Soc. 69, 542 (1947)): boxes are chosen to keep the bonds of every atom.
DECAY, BONDED = 4.0, 1.5

#: Range above the least length in which the lengths of a box are tried, and the steps, in Å.
SLACK, STEP, COARSE_STEP = 2.5, 0.1, 0.25

#: How often each edge of an orthorhombic box is optimised.
ROUNDS = 2

#: Atoms are too close across a face when they are nearer than this times the closest approach in the large cell.
USUAL_CLASH = 0.88

#: Number of orientations in which a compact box is tried.
ORIENTATIONS = 24

#: Cost, in broken or surplus bonds, of an atom and of a pair across a face that is too close but must stay.
COST_OF_ATOM, COST_OF_FORBIDDEN = 0.1, 1e4

#: Extra distance in Å between core and faces, and shift of boxes against large cells: no atom of a perfect crystal lies
#: on a face, where rounding would decide its side.
OFF_FACE = 1e-3

#: Shifts to the 26 neighbouring cells.
AROUND = np.array([shift for shift in itertools.product((-1, 0, 1), repeat=3) if any(shift)], dtype='f8')


class Cut:
    """The large cell around one atom, which is at the origin, and the boxes that can be cut from it."""

    def __init__(
        self, atoms: Atoms, centre: int, cutoff: float, *, core_radius: float, margin: float, clash: float | None
    ) -> None:
        """Unwrap the surroundings of the atom ``centre`` of ``atoms``; the other arguments are those of `embed`."""
        self.atoms, self.cutoff = atoms, cutoff
        self.clash = USUAL_CLASH * _closest(atoms) if clash is None else clash
        self.radii = radii_of(atoms.numbers)
        self.bonds = _native_bonds(atoms, self.radii)
        self.slack = max(SLACK, 2.2 * self.clash * float(self.radii.max()))
        self.reach = cutoff + margin + OFF_FACE
        # All tried boxes lie within this distance.
        farthest = 3**0.5 * (core_radius + self.reach + self.slack)
        self.owners, self.positions = surroundings(atoms, centre, farthest)
        self.is_core = np.linalg.norm(self.positions, axis=1) <= core_radius
        self.core = self.positions[self.is_core]

    def orthorhombic(self, max_atoms: float) -> Box | None:
        """Return the best box along the Cartesian axes, optimised axis by axis; None when no box fits."""
        cell, pbc = self.atoms.cell.array, self.atoms.pbc
        lengths = np.abs(np.diag(cell))
        low, high = self.core.min(axis=0) - self.reach, self.core.max(axis=0) + self.reach
        off_axis = ~np.eye(3, dtype=bool) & (cell != 0)
        keeps = pbc & ~off_axis.any(axis=0) & ~off_axis.any(axis=1) & (lengths <= high - low + self.slack)
        least = np.where(keeps, lengths, high - low)
        centre = np.where(keeps, OFF_FACE, (low + high) / 2)
        middle, edges = centre, least
        best = self.best([(middle, np.diag(edges))], keeps, max_atoms)
        extras = np.arange(0.0, self.slack + STEP / 2, STEP)
        # The best edge depends on the other two.
        for axis in [*np.flatnonzero(~keeps)] * ROUNDS:
            others = np.arange(3) != axis
            trials = [
                (np.where(others, middle, centre + share * extra), np.diag(np.where(others, edges, least + extra)))
                for extra, share in itertools.product(extras, (0.0, -0.5, 0.5))
            ]
            best = self.best(trials, keeps, max_atoms)
            if best is None:
                return None
            middle, edges = best.middle, np.diag(best.cell)
        return best

    def compact(self, max_atoms: float) -> Box | None:
        """Return the best box with the shape of a primitive cell of the face-centred lattice; None when no box fits."""
        middle = (self.core.min(axis=0) + self.core.max(axis=0)) / 2
        least = 2 * (float(np.linalg.norm(self.core - middle, axis=1).max()) + self.reach)
        shape = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2**0.5
        # A fixed seed: the orientations are a set of trials, not a random choice.
        turns = Rotation.random(ORIENTATIONS, np.random.default_rng(0)).as_matrix()
        lengths = least + np.arange(0.0, self.slack + COARSE_STEP / 2, COARSE_STEP)
        trials = [(middle, length * shape @ turn) for length, turn in itertools.product(lengths, turns)]
        return self.best(trials, np.zeros(3, dtype=bool), max_atoms)

    def best(self, trials: Iterable[tuple[FloatArray, FloatArray]], keeps: BoolArray, max_atoms: float) -> Box | None:
        """Return the cheapest box of at most ``max_atoms`` atoms among ``trials``, None when no box fits.

        :param trials: middle (3,) and cell (3, 3) of each box, in Å.
        :param keeps: (3,) directions in which the large cell has the same period.
        """
        best = None
        for middle, cell in trials:
            inside = self.inside(middle, cell)
            count = int(np.sum(inside))
            if count <= max_atoms and (best is None or COST_OF_ATOM * count < best.cost):
                box = self.box(middle, cell, inside, keeps)
                best = box if best is None or box.cost < best.cost else best
        return best

    def inside(self, middle: FloatArray, cell: FloatArray) -> BoolArray:
        """Return the mask of the atoms nearer to ``middle`` than to the images of it."""
        vectors = AROUND @ cell
        limits = np.einsum('vx,vx->v', vectors, vectors) / 2 + vectors @ middle
        return np.asarray(np.all(self.positions @ vectors.T <= limits, axis=1))

    def box(self, middle: FloatArray, cell: FloatArray, inside: BoolArray, keeps: BoolArray) -> Box:
        """Return the box of the atoms ``inside``, with its defects."""
        owners, positions, core = self.owners[inside], self.positions[inside] - middle, self.is_core[inside]
        fixed = core | (nearest_distances(positions, positions[core], cell) <= self.cutoff)
        radii = self.radii[owners]
        reach = 2 * BONDED * float(radii.max())
        copies, images = images_within(positions, cell, np.ones(3, dtype=bool), reach)
        pairs, ratios = _near_pairs(copies, images, radii, reach)
        shifts = np.round((images - positions[copies]) @ np.linalg.inv(cell))
        foreign = np.any((shifts[pairs[:, 0]] != shifts[pairs[:, 1]])[:, ~keeps], axis=1)
        clashes = np.unique(np.sort(copies[pairs[foreign & (ratios < self.clash)]], axis=1), axis=0)
        kept = _without(clashes, fixed)
        bonds = _bonds(pairs, np.where(np.all(kept[copies[pairs]], axis=1), ratios, np.inf), len(owners))
        wrong_bonds = float(np.abs(bonds - self.bonds[owners])[kept].sum())
        forbidden = int(np.sum(np.all(fixed[clashes], axis=1)))
        return Box(middle, cell, owners, positions, core, fixed, kept, wrong_bonds, forbidden)


class Box(t.NamedTuple):
    """A box that was tried.

    :param middle: (3,) position of the middle relative to the central atom, in Å.
    :param owners: (n,) index in the large cell of each atom in the box.
    :param positions: (n, 3) relative to the middle, in Å.
    :param core: (n,) atoms of the core.
    :param fixed: (n,) atoms within the cutoff of the core.
    :param kept: (n,) atoms that remain when atoms too close across a face are removed.
    :param wrong_bonds: missing or surplus strength of the bonds of the kept atoms, summed.
    :param forbidden: number of pairs that are too close across a face but must both stay.
    """

    middle: FloatArray
    cell: FloatArray
    owners: IntArray
    positions: FloatArray
    core: BoolArray
    fixed: BoolArray
    kept: BoolArray
    wrong_bonds: float
    forbidden: int

    @property
    def cost(self) -> float:
        """The cost of the box, in bonds."""
        return self.wrong_bonds + COST_OF_FORBIDDEN * self.forbidden + COST_OF_ATOM * len(self.owners)


def surroundings(atoms: Atoms, centre: int, radius: float) -> tuple[IntArray, FloatArray]:
    """Return the atoms within ``radius`` of ``centre``, that one first, and their relative positions, with images."""
    owners, images = images_within(atoms.positions, atoms.cell.array, atoms.pbc, radius)
    places = images - images[centre]
    distances = np.linalg.norm(places, axis=1)
    near = np.flatnonzero(distances <= radius)
    near = near[np.argsort(distances[near], kind='stable')]
    return owners[near], places[near]


def _without(clashes: IntArray, fixed: BoolArray) -> BoolArray:
    """Return the mask of the atoms that remain when one atom of each clash is removed, atoms with most clashes first.

    :param clashes: (c, 2) pairs of atoms that are too close; pairs of two fixed atoms stay.
    """
    stay = np.ones(len(fixed), dtype=bool)
    clashes = clashes[~np.all(fixed[clashes], axis=1)]
    while len(clashes):
        counts = np.bincount(clashes.ravel(), minlength=len(stay))
        worst = int(np.argmax(np.where(fixed, 0, counts)))
        stay[worst] = False
        clashes = clashes[np.all(clashes != worst, axis=1)]
    return stay


def _closest(atoms: Atoms) -> float:
    """Return the smallest distance over the sum of the two covalent radii, at most 1."""
    return min(closest_approach(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc), 1.0)


def _native_bonds(atoms: Atoms, radii: FloatArray) -> FloatArray:
    """Return the total strength (N,) of the bonds of each atom."""
    reach = 2 * BONDED * float(radii.max())
    owners, images = images_within(atoms.positions, atoms.cell.array, atoms.pbc, reach)
    return _bonds(*_near_pairs(owners, images, radii, reach), len(atoms))


def _bonds(pairs: IntArray, ratios: FloatArray, count: int) -> FloatArray:
    """Return the total strength (count,) of the bonds of each atom; images come after the atoms."""
    strengths = np.where(ratios < BONDED, np.exp(DECAY * (1 - ratios)), 0.0)
    return np.asarray(np.bincount(pairs.ravel(), np.repeat(strengths, 2), count)[:count], dtype='f8')


def _near_pairs(owners: IntArray, images: FloatArray, radii: FloatArray, reach: float) -> tuple[IntArray, FloatArray]:
    """Return the pairs, with at least one atom, within ``reach``, and their distances over sums of covalent radii."""
    pairs = cKDTree(images).query_pairs(reach, output_type='ndarray')
    pairs = pairs[pairs.min(axis=1, initial=len(images)) < len(radii)]
    lengths = np.linalg.norm(images[pairs[:, 0]] - images[pairs[:, 1]], axis=1)
    return pairs, lengths / radii[owners[pairs]].sum(axis=1)


def nearest_distances(positions: FloatArray, others: FloatArray, cell: FloatArray) -> FloatArray:
    """Return the distance (n,) from each position to the nearest of ``others`` in a periodic box, in Å."""
    shifts = np.concatenate([np.zeros((1, 3)), AROUND]) @ cell
    places = (others[:, None, :] + shifts[None, :, :]).reshape(-1, 3)
    return np.asarray(cKDTree(places).query(positions)[0])
