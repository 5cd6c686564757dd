"""The search for a periodic box around an atom: its shape, which atoms are in it, and what is wrong with it."""

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

#: The strength of a bond is exp(DECAY (1 - ratio)) where ratio is its length over the sum of the covalent radii, after
#: Pauling (J. Am. Chem. Soc. 69, 542 (1947)), up to this ratio: boxes are chosen to keep the bonds of every atom.
DECAY, BONDED = 4.0, 1.5

#: Every length of a box is tried up to this much longer than it must be, in these steps, in Å.
SLACK, STEP, COARSE_STEP = 2.5, 0.1, 0.25

#: How often each edge of an orthorhombic box is chosen anew.
ROUNDS = 2

#: Atoms are too close across a face when they are nearer than this times the closest approach in the large cell.
USUAL_CLASH = 0.88

#: Number of orientations in which a compact box is tried.
ORIENTATIONS = 24

#: What an atom costs, in broken or surplus bonds, and a pair across a face that is too close but must stay.
COST_OF_ATOM, COST_OF_FORBIDDEN = 0.1, 1e4

#: The core is kept this much farther from the faces than it must be, and boxes are shifted by it against large cells:
#: no atom of a perfect crystal lies on a face, where rounding decides its side, in Å.
OFF_FACE = 1e-3

#: The cells around one.
AROUND = np.array([shift for shift in itertools.product((-1, 0, 1), repeat=3) if any(shift)], dtype='f8')


class Cut:
    """The large cell around one atom, which is at the origin, and the boxes that can be cut from it."""

    def __init__(
        self, atoms: Atoms, centre: int, cutoff: float, *, core_radius: float, margin: float, clash: float | None
    ) -> None:
        """Unwrap the surroundings of the atom ``centre`` of ``atoms``."""
        self.atoms, self.cutoff = atoms, cutoff
        self.clash = USUAL_CLASH * _closest(atoms) if clash is None else clash
        self.radii = radii_of(atoms.numbers)
        self.bonds = _native_bonds(atoms, self.radii)
        self.slack = max(SLACK, 2.2 * self.clash * float(self.radii.max()))
        self.reach = cutoff + margin + OFF_FACE
        # Every box that is tried lies within this distance.
        farthest = 3**0.5 * (core_radius + self.reach + self.slack)
        self.owners, self.positions = surroundings(atoms, centre, farthest)
        self.is_core = np.linalg.norm(self.positions, axis=1) <= core_radius
        self.core = self.positions[self.is_core]

    def orthorhombic(self, max_atoms: float) -> Box | None:
        """Return the best box along the Cartesian axes, found for one axis after the other; None when none fits."""
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
        """Return the best box with the shape of a primitive cell of the face-centred lattice; None when none fits."""
        middle = (self.core.min(axis=0) + self.core.max(axis=0)) / 2
        least = 2 * (float(np.linalg.norm(self.core - middle, axis=1).max()) + self.reach)
        shape = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2**0.5
        # The same orientations every time: they are a set of trials, not a random choice.
        turns = Rotation.random(ORIENTATIONS, np.random.default_rng(0)).as_matrix()
        lengths = least + np.arange(0.0, self.slack + COARSE_STEP / 2, COARSE_STEP)
        trials = [(middle, length * shape @ turn) for length, turn in itertools.product(lengths, turns)]
        return self.best(trials, np.zeros(3, dtype=bool), max_atoms)

    def best(self, trials: Iterable[tuple[FloatArray, FloatArray]], keeps: BoolArray, max_atoms: float) -> Box | None:
        """Return the cheapest of the boxes with these middles and cells that have at most ``max_atoms`` atoms.

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
        """Return which atoms are nearer to ``middle`` than to its images."""
        vectors = AROUND @ cell
        limits = np.einsum('vx,vx->v', vectors, vectors) / 2 + vectors @ middle
        return np.asarray(np.all(self.positions @ vectors.T <= limits, axis=1))

    def box(self, middle: FloatArray, cell: FloatArray, inside: BoolArray, keeps: BoolArray) -> Box:
        """Return the atoms ``inside`` a box, and what is wrong with them."""
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

    :param middle: (3,) its middle, from the atom that it was made for.
    :param owners: (n,) the atoms in it, by their index in the large cell.
    :param positions: (n, 3) relative to the middle, in Å.
    :param core: (n,) atoms of the core.
    :param fixed: (n,) atoms within the cutoff of the core.
    :param kept: (n,) atoms that remain when those that are too close across a face are removed.
    :param wrong_bonds: strength of the bonds of these that is missing or too much, summed over atoms.
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
        """What the box costs, in bonds."""
        return self.wrong_bonds + COST_OF_FORBIDDEN * self.forbidden + COST_OF_ATOM * len(self.owners)


def surroundings(atoms: Atoms, centre: int, radius: float) -> tuple[IntArray, FloatArray]:
    """Return the atoms within ``radius`` of one, itself first, and their places relative to it, images included."""
    owners, images = images_within(atoms.positions, atoms.cell.array, atoms.pbc, radius)
    places = images - images[centre]
    distances = np.linalg.norm(places, axis=1)
    near = np.flatnonzero(distances <= radius)
    near = near[np.argsort(distances[near], kind='stable')]
    return owners[near], places[near]


def _without(clashes: IntArray, fixed: BoolArray) -> BoolArray:
    """Return which atoms remain when of every clash one is removed that is not fixed, the one with most clashes first.

    :param clashes: (c, 2) atoms that are too close; those of two fixed atoms stay.
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
    """Return the smallest distance over the sum of the two covalent radii, 1 at most."""
    return min(closest_approach(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc), 1.0)


def _native_bonds(atoms: Atoms, radii: FloatArray) -> FloatArray:
    """(N,) strength of all bonds of each atom."""
    reach = 2 * BONDED * float(radii.max())
    owners, images = images_within(atoms.positions, atoms.cell.array, atoms.pbc, reach)
    return _bonds(*_near_pairs(owners, images, radii, reach), len(atoms))


def _bonds(pairs: IntArray, ratios: FloatArray, count: int) -> FloatArray:
    """(count,) strength of all bonds of each atom; images of atoms come after the atoms."""
    strengths = np.where(ratios < BONDED, np.exp(DECAY * (1 - ratios)), 0.0)
    return np.asarray(np.bincount(pairs.ravel(), np.repeat(strengths, 2), count)[:count], dtype='f8')


def _near_pairs(owners: IntArray, images: FloatArray, radii: FloatArray, reach: float) -> tuple[IntArray, FloatArray]:
    """Return pairs of atoms and images within ``reach``, an atom first, and distances over sums of covalent radii."""
    pairs = cKDTree(images).query_pairs(reach, output_type='ndarray')
    pairs = pairs[pairs.min(axis=1, initial=len(images)) < len(radii)]
    lengths = np.linalg.norm(images[pairs[:, 0]] - images[pairs[:, 1]], axis=1)
    return pairs, lengths / radii[owners[pairs]].sum(axis=1)


def nearest_distances(positions: FloatArray, others: FloatArray, cell: FloatArray) -> FloatArray:
    """(n,) distance from each position to the nearest of ``others`` in a periodic box, in Å."""
    shifts = np.concatenate([np.zeros((1, 3)), AROUND]) @ cell
    places = (others[:, None, :] + shifts[None, :, :]).reshape(-1, 3)
    return np.asarray(cKDTree(places).query(positions)[0])
