"""The recipes of the initial set: each makes one structure, the ``index``-th of its kind."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from ase import Atoms

from aiida_pace.config import InitialSetConfig
from aiida_pace.structures import lattices
from aiida_pace.structures.cells import boxed
from aiida_pace.structures.guards import radii_of
from aiida_pace.structures.lattices import COMPOUNDS, Prototype
from aiida_pace.structures.recipe_context import RecipeContext, contact_diameters, numbers_of, opened, pushed_apart

__all__ = ('ALWAYS', 'RECIPES', 'Recipe', 'isolated_atom')

FloatArray = npt.NDArray[np.float64]
Recipe = Callable[[RecipeContext, int], Atoms]


def isolated_atom(element: str, config: InitialSetConfig) -> Atoms:
    """Return one atom in a cubic box, not periodic, so that DFT uses Γ only."""
    return _named(boxed(Atoms(element), config.vacuum), 'isolated_atom')


def dimer(given: RecipeContext, index: int) -> Atoms:
    """Return two atoms; short distances are more frequent, successive distances differ by the golden ratio."""
    pairs = [(first, second) for i, first in enumerate(given.elements) for second in given.elements[i:]]
    pair = pairs[index % len(pairs)]
    shortest, longest = _reach(given, *pair)
    place = ((index // len(pairs)) * (math.sqrt(5) - 1) / 2 + 0.001 * given.rng.uniform()) % 1.0
    distance = shortest + (longest - shortest) * place**1.5
    atoms = Atoms(pair, positions=[[0, 0, 0], [distance, 0, 0]])
    return _named(boxed(atoms, given.config.vacuum), 'dimer')


def trimer(given: RecipeContext, index: int) -> Atoms:
    """Return three atoms: two bonds of random length at a random angle, none too short."""
    symbols = given.fill(3, given.turn(index)[0])
    # The bonds are limited to 60 % of the range up to the cutoff, because the third side is longer.
    one, two = (
        low + 0.6 * (high - low) * given.rng.uniform()
        for low, high in (_reach(given, symbols[0], s) for s in symbols[1:])
    )
    third, _ = _reach(given, symbols[1], symbols[2])
    if one + two < 1.01 * third:
        one, two = (bond * 1.01 * third / (one + two) for bond in (one, two))
    smallest = math.acos(min(max((one**2 + two**2 - third**2) / (2 * one * two), -1.0), 1.0))
    angle = given.rng.uniform(smallest, math.pi)
    positions = [[0, 0, 0], [one, 0, 0], [two * math.cos(angle), two * math.sin(angle), 0]]
    return _named(boxed(Atoms(symbols, positions=positions), given.config.vacuum), 'trimer')


def bulk(given: RecipeContext, index: int) -> Atoms:
    """Return a small cell of one element in a simple structure."""
    element = given.elements[index % len(given.elements)]
    prototype = given.crystal(element, index // len(given.elements))
    largest = given.config.max_small_atoms
    atoms = _crystal(given, prototype, lambda count: [element] * count, (1, largest), mild=False)
    return _named(atoms, f'bulk/{prototype.name}')


def compound(given: RecipeContext, index: int) -> Atoms:
    """Return a small cell of two elements in an ordered structure, in both orders in turn."""
    pairs = [(first, second) for first in given.elements for second in given.elements if first != second]
    prototype = list(COMPOUNDS.values())[index % len(COMPOUNDS)]
    pair = pairs[(index // len(COMPOUNDS)) % len(pairs)]
    symbols = [pair[site] for site in prototype.sites]
    largest = max(given.config.max_small_atoms, len(symbols))
    # A supercell lists the basis of one primitive cell after the other.
    atoms = _crystal(given, prototype, lambda count: symbols * (count // len(symbols)), (1, largest), mild=False)
    return _named(atoms, f'compound/{prototype.name}')


def alloy(given: RecipeContext, index: int) -> Atoms:
    """Return a small cell with the elements at random on the sites of a simple structure."""
    palette = given.elements
    prototype = given.crystal(palette[index % len(palette)], index // len(palette))
    largest = max(given.config.max_small_atoms, 2)
    atoms = _crystal(given, prototype, lambda count: given.fill(count, palette), (2, largest), mild=False)
    return _named(atoms, f'alloy/{prototype.name}')


def supercell(given: RecipeContext, index: int) -> Atoms:
    """Return a cell larger than the small ones, with moderate strain and displacements."""
    config = given.config
    atoms, prototype = _host(given, index, (min(config.max_small_atoms + 1, config.max_atoms), config.max_atoms))
    return _named(atoms, f'supercell/{prototype.name}')


def vacancy(given: RecipeContext, index: int) -> Atoms:
    """Return a supercell without one of its atoms."""
    atoms, _ = _host(given, index, (8, given.config.max_atoms))
    del atoms[int(given.rng.integers(len(atoms)))]
    return _named(atoms, 'vacancy')


def interstitial(given: RecipeContext, index: int) -> Atoms:
    """Return a supercell with one more atom, in the largest hole among 32 random places."""
    atoms, _ = _host(given, index, (7, given.config.max_atoms - 1))
    inverse = np.linalg.inv(atoms.cell.array)
    places = given.rng.uniform(size=(32, 3)) @ atoms.cell.array
    fractions = (places[:, None, :] - atoms.positions[None, :, :]) @ inverse
    lengths = np.linalg.norm((fractions - np.round(fractions)) @ atoms.cell.array, axis=-1)
    hole = int(np.argmax((lengths / radii_of(atoms.numbers)).min(axis=1)))
    atoms.append(str(given.rng.choice(atoms.get_chemical_symbols())))
    atoms.positions[-1] = places[hole]
    atoms = pushed_apart(atoms, contact_diameters(atoms.get_chemical_symbols(), given.closest))
    return _named(opened(atoms, given.closest), 'interstitial')


def surface(given: RecipeContext, index: int) -> Atoms:
    """Return a slab with vacuum above it, periodic in all directions (pyace refuses mixed ones); facets in turn."""
    palette, turn = given.turn(index)
    facets = len(lattices.CUBIC_FACETS)
    prototype = given.crystal(palette[0], turn // facets)
    facet = lattices.facets_of(prototype)[turn % facets]
    period, basis = lattices.facet_cell(prototype, facet)
    most = min(max(given.config.max_atoms // len(basis), 2), 8)
    layers = int(given.rng.integers(2, most + 1))
    symbols = given.fill(layers * len(basis), palette)
    constant = given.constant(prototype, symbols)
    positions = (basis[None] + np.arange(layers)[:, None, None] * period[2]).reshape(-1, 3)
    cell = period * np.array([[1], [1], [layers]])
    slab = Atoms(symbols, positions=positions * constant, cell=cell * constant, pbc=True)
    slab = given.disturbed(slab, given.volumes(prototype, symbols, mild=True), mild=True)
    normal = np.cross(slab.cell[0], slab.cell[1])
    normal /= np.linalg.norm(normal)
    slab.cell[2] = normal * (np.ptp(slab.positions @ normal) + given.config.vacuum)
    return _named(slab, f'surface/{prototype.name}{"".join(map(str, facet))}')


def packing(given: RecipeContext, index: int) -> Atoms:
    """Return a random packing with minimum distances, as in a liquid or a glass.

    The volume is 0.95 to 1.5 times that of the fcc crystal.
    """
    config, rng = given.config, given.rng
    palette, _ = given.turn(index)
    count = int(rng.integers(min(4, config.max_atoms), config.max_atoms + 1))
    symbols = given.fill(count, palette)
    bonds = np.array([lattices.bond_of(symbol, config.lattice_constants).at(12) for symbol in symbols])
    diameters = np.maximum(rng.uniform(0.65, 0.82) * bonds, contact_diameters(symbols, given.closest))
    volume = np.sum(np.maximum(bonds, diameters / 0.8) ** 3) / math.sqrt(2) * rng.uniform(0.95, 1.5)
    shape = np.exp(rng.uniform(-0.15, 0.15, 3))
    edges = shape * (volume / shape.prod()) ** (1 / 3)
    atoms = Atoms(symbols, positions=rng.uniform(size=(count, 3)) * edges, cell=edges, pbc=True)
    return _named(opened(pushed_apart(atoms, diameters), given.closest), 'packing')


def user(given: RecipeContext, index: int) -> Atoms:
    """Return the structures of the user unchanged, then disturbed copies of them in turn."""
    atoms = given.structures[index % len(given.structures)]
    atoms = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    return _named(atoms if index < len(given.structures) else given.disturbed(atoms, (0.95, 1.05), mild=True), 'user')


#: All recipes except the isolated atom, by name, in their order in a set.
RECIPES: dict[str, Recipe] = {
    'dimer': dimer,
    'trimer': trimer,
    'bulk': bulk,
    'compound': compound,
    'alloy': alloy,
    'supercell': supercell,
    'vacancy': vacancy,
    'interstitial': interstitial,
    'surface': surface,
    'packing': packing,
    'user': user,
}


#: Recipes whose structures are always in a set: clusters cost little, and MaxVol prefers unusual structures, so that it
#: would leave out those of the user.
ALWAYS = ('isolated_atom', 'dimer', 'trimer', 'user')


def _named(atoms: Atoms, origin: str) -> Atoms:
    """Return the structure with the name of its recipe as origin."""
    atoms.info['origin'] = origin
    return atoms


def _reach(given: RecipeContext, first: str, second: str) -> tuple[float, float]:
    """Return the shortest and the longest distance of two atoms in a cluster: 0.7 of the bond and the cutoff, in Å."""
    constants = given.config.lattice_constants
    bond = (lattices.bond_of(first, constants).length + lattices.bond_of(second, constants).length) / 2
    radii = radii_of(numbers_of([first, second]))
    shortest = max(0.7 * bond, 1.0001 * given.closest * float(radii.sum()))
    return shortest, max(given.cutoff, 1.05 * shortest)


def _crystal(
    given: RecipeContext,
    prototype: Prototype,
    symbols_of: Callable[[int], list[str]],
    atoms: tuple[int, int],
    *,
    mild: bool,
) -> Atoms:
    """Return a disturbed supercell with a random number of atoms in the range ``atoms``, as far as the basis allows.

    :param symbols_of: returns the elements of the sites for a number of atoms.
    :param atoms: smallest and largest number of atoms.
    """
    basis = len(prototype.basis)
    largest = max(atoms[1] // basis, 1)
    size = int(given.rng.integers(min(-(-atoms[0] // basis), largest), largest + 1))
    cell, positions, _ = lattices.compact_supercell(prototype, size, given.rng, tries=6 if mild else 2)
    symbols = symbols_of(len(positions))
    constant = given.constant(prototype, symbols)
    crystal = Atoms(symbols, positions=positions * constant, cell=cell * constant, pbc=True)
    return given.disturbed(crystal, given.volumes(prototype, symbols, mild), mild)


def _host(given: RecipeContext, index: int, atoms: tuple[int, int]) -> tuple[Atoms, Prototype]:
    """Return a mildly disturbed supercell of a pure element or an alloy, and its structure."""
    palette, turn = given.turn(index)
    prototype = given.crystal(palette[0], turn)
    return _crystal(given, prototype, lambda count: given.fill(count, palette), atoms, mild=True), prototype
