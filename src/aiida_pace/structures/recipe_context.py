"""Common parts of the recipes of the initial set: settings, random numbers, disturbance without overlaps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import atomic_numbers

from aiida_pace.config import CLOSEST, InitialSetConfig, TrainingConfig
from aiida_pace.structures import lattices
from aiida_pace.structures.guards import closest_approach, radii_of
from aiida_pace.structures.lattices import ELEMENTAL, Prototype

__all__ = ('CUTOFF', 'RecipeContext', 'ball', 'opened', 'pushed_apart')

FloatArray = npt.NDArray[np.float64]

#: Default cutoff of a fit, in Å.
CUTOFF = TrainingConfig().cutoff

#: Number of draws for a structure without short distances, each with smaller displacements and strain.
ATTEMPTS = 12

#: Disturbance of supercells, defects, surfaces and structures of the user, relative to that of small crystals.
MILD = 0.5

#: Factor by which the range of volumes is wider at either end when the lattice constant is estimated.
ESTIMATE_MARGIN = 1.3


@dataclasses.dataclass(frozen=True)
class RecipeContext:
    """The elements, settings, random generator and structures of the user for a recipe.

    :param closest: no distance is shorter than this times the sum of the two covalent radii.
    :param cutoff: of the fit, in Å: the largest distance in dimers and trimers.
    """

    elements: tuple[str, ...]
    config: InitialSetConfig
    rng: np.random.Generator
    structures: tuple[Atoms, ...] = ()
    closest: float = CLOSEST
    cutoff: float = CUTOFF

    @property
    def palettes(self) -> list[tuple[str, ...]]:
        """Every pure element, then all of them together."""
        palettes: list[tuple[str, ...]] = [(element,) for element in self.elements]
        return palettes if len(palettes) == 1 else [*palettes, self.elements]

    def turn(self, index: int) -> tuple[tuple[str, ...], int]:
        """Return the palette of the ``index``-th structure, and the number of earlier structures with that palette."""
        return self.palettes[index % len(self.palettes)], index // len(self.palettes)

    def fill(self, count: int, palette: Sequence[str]) -> list[str]:
        """Return ``count`` elements of a random composition, with every element of the palette if ``count`` allows.

        The composition has a Dirichlet distribution around that of the settings.
        """
        if len(palette) == 1:
            return [palette[0]] * count
        amounts = self.config.composition
        weights = np.array([amounts.get(element, 0.0 if amounts else 1.0) for element in palette])
        weights = np.maximum(weights / max(weights.sum(), 1e-300) * len(palette), 0.05)
        kinds = list(self.rng.permutation(palette)[: min(count, len(palette))])
        drawn = self.rng.choice(palette, size=count - len(kinds), p=self.rng.dirichlet(weights))
        return [str(symbol) for symbol in self.rng.permutation([*kinds, *drawn])]

    def crystal(self, element: str, turn: int) -> Prototype:
        """Return the structure for the ``turn``-th crystal; the natural one of the element comes twice as often."""
        own = lattices.own_prototype(element)
        choices = ([] if own is None else [own]) + list(ELEMENTAL.values())
        return choices[turn % len(choices)]

    def constant(self, prototype: Prototype, symbols: Sequence[str]) -> float:
        """Return the lattice constant in Å of a prototype with these elements."""
        return lattices.lattice_constant(prototype, symbols, self.config.lattice_constants)

    def volumes(self, prototype: Prototype, symbols: Sequence[str], mild: bool) -> tuple[float, float]:
        """Return the range of relative volumes: narrow when mild, wide when the lattice constant is estimated."""
        low, high = self.config.volumes
        if mild:
            low, high = low**MILD, high**MILD
        constants = self.config.lattice_constants
        kinds = list(dict.fromkeys(symbols))
        known = '-'.join([*kinds, prototype.name]) in constants
        guess = len(set(prototype.sites)) > 1 or any(lattices.bond_of(kind, constants).estimated for kind in kinds)
        return (low / ESTIMATE_MARGIN, high * ESTIMATE_MARGIN) if guess and not known else (low, high)

    def disturbed(self, atoms: Atoms, volumes: tuple[float, float], mild: bool) -> Atoms:
        """Return the structure at a random volume, strained and displaced, without short distances.

        The largest displacement is random for each structure, up to that of the settings. Structures that are not
        periodic keep their cell.
        """
        config, rng = self.config, self.rng
        amount = MILD if mild else 1.0
        length = config.displacement * amount * rng.uniform()
        for attempt in range(ATTEMPTS):
            calm = amount * (1 - attempt / ATTEMPTS)
            deform = np.eye(3)
            if atoms.pbc.any():
                strain = rng.uniform(-1, 1, (3, 3)) * config.strain * calm
                deform = rng.uniform(*volumes) ** (1 / 3) * (deform + (strain + strain.T) / 2)
            positions = atoms.positions @ deform + ball(rng, len(atoms)) * length * calm / amount
            cell = atoms.cell.array @ deform
            if closest_approach(atoms.numbers, positions, cell, atoms.pbc, self.closest) >= self.closest:
                return Atoms(numbers=atoms.numbers, positions=positions, cell=cell, pbc=atoms.pbc)
        return opened(scaled(atoms, rng.uniform(1.0, 1.05)), self.closest)


def ball(rng: np.random.Generator, count: int) -> FloatArray:
    """Return (count, 3) vectors, evenly distributed in the unit ball."""
    vectors = rng.normal(size=(count, 3))
    lengths = rng.uniform(size=count) ** (1 / 3)
    return np.asarray(vectors * (lengths / np.sqrt(np.einsum('ix,ix->i', vectors, vectors)))[:, None])


def scaled(atoms: Atoms, factor: float) -> Atoms:
    """Return the structure with all lengths multiplied by a factor."""
    return Atoms(numbers=atoms.numbers, positions=atoms.positions * factor, cell=atoms.cell * factor, pbc=atoms.pbc)


def opened(atoms: Atoms, closest: float) -> Atoms:
    """Return the structure, enlarged just enough when it has a short distance."""
    ratio = closest_approach(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, closest)
    return scaled(atoms, 1.001 * closest / ratio) if ratio < closest else atoms


def pushed_apart(atoms: Atoms, diameters: FloatArray, steps: int = 60) -> Atoms:
    """Return the periodic structure after overlapping atoms have been moved apart.

    The remaining overlap is below 3 % of the distance, or more when ``steps`` are not enough.

    :param diameters: (N,) in Å; two atoms overlap when they are nearer than the mean of their diameters.
    :param steps: largest number of rounds.
    """
    cell = atoms.cell.array
    inverse = np.linalg.inv(cell)
    positions = atoms.positions.copy()
    first, second = np.triu_indices(len(atoms), 1)
    touch = (diameters[first] + diameters[second]) / 2
    for _ in range(steps):
        fractions = positions @ inverse
        fractions = fractions[first] - fractions[second]
        vectors = (fractions - np.round(fractions)) @ cell
        lengths = np.sqrt(np.einsum('px,px->p', vectors, vectors))
        if np.all(lengths > 0.97 * touch):
            break
        hits = np.flatnonzero(lengths < touch)
        # Each of two overlapping atoms moves by a little more than half of the overlap.
        way = 0.55 * (touch[hits] - lengths[hits]) / np.maximum(lengths[hits], 1e-3)
        np.add.at(positions, first[hits], way[:, None] * vectors[hits])
        np.subtract.at(positions, second[hits], way[:, None] * vectors[hits])
    return Atoms(numbers=atoms.numbers, positions=positions, cell=cell, pbc=True)


def numbers_of(symbols: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the atomic numbers of chemical symbols."""
    return np.array([atomic_numbers[symbol] for symbol in symbols], dtype='i8')


def contact_diameters(symbols: Sequence[str], closest: float) -> FloatArray:
    """Return diameters in Å such that touching atoms are not too close, with a margin of 4 %."""
    return 2.08 * closest * radii_of(numbers_of(symbols))
