"""Bond lengths, lattice constants, and supercells of crystal prototypes."""

from __future__ import annotations

import dataclasses
import functools
import typing as t
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from ase.build import bulk
from ase.data import atomic_numbers, reference_states
from ase.neighborlist import neighbor_list

from aiida_pace.structures.cells import reduced_cell
from aiida_pace.structures.guards import radii_of

__all__ = ('COMPOUNDS', 'ELEMENTAL', 'Bond', 'Prototype', 'bond_of', 'lattice_constant', 'own_prototype', 'supercell')

FloatArray = npt.NDArray[np.float64]

#: Structures of ASE's table that `ase.build.bulk` builds completely; the others need a basis that ASE lacks.
TRUSTED = ('fcc', 'bcc', 'hcp', 'diamond', 'sc', 'bct', 'rhombohedral')


@dataclasses.dataclass(frozen=True)
class Prototype:
    """A crystal structure in units of its lattice constant.

    :param cell: primitive cell vectors as rows.
    :param basis: fractional coordinates of the atoms.
    :param sites: index of the element of a compound at each atom of the basis.
    :param coordination: number of nearest neighbours.
    :param distance: distance of the nearest neighbours.
    """

    name: str
    cell: tuple[tuple[float, float, float], ...]
    basis: tuple[tuple[float, float, float], ...]
    sites: tuple[int, ...]
    coordination: int
    distance: float


_SC = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_FCC = ((0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
_BCC = ((-0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5))
_HEX = ((1.0, 0.0, 0.0), (-0.5, 0.75**0.5, 0.0), (0.0, 0.0, (8 / 3) ** 0.5))
_O, _QUARTER, _HALF, _THREE = (0.0, 0.0, 0.0), (0.25, 0.25, 0.25), (0.5, 0.5, 0.5), (0.75, 0.75, 0.75)
_FACES = ((0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))

#: Structures of one element, by name.
ELEMENTAL = {
    prototype.name: prototype
    for prototype in (
        Prototype('fcc', _FCC, (_O,), (0,), 12, 0.5**0.5),
        Prototype('bcc', _BCC, (_O,), (0,), 8, 0.75**0.5),
        Prototype('hcp', _HEX, (_O, (1 / 3, 2 / 3, 0.5)), (0, 0), 12, 1.0),
        Prototype('sc', _SC, (_O,), (0,), 6, 1.0),
        Prototype('diamond', _FCC, (_O, _QUARTER), (0, 0), 4, 3**0.5 / 4),
    )
}

#: Structures of two elements, by name; in ``fluorite`` the second and in ``L1_2`` the first is the more frequent.
COMPOUNDS = {
    prototype.name: prototype
    for prototype in (
        Prototype('rocksalt', _FCC, (_O, _HALF), (0, 1), 6, 0.5),
        Prototype('cscl', _SC, (_O, _HALF), (0, 1), 8, 0.75**0.5),
        Prototype('zincblende', _FCC, (_O, _QUARTER), (0, 1), 4, 3**0.5 / 4),
        Prototype('fluorite', _FCC, (_O, _QUARTER, _THREE), (0, 1, 1), 8, 3**0.5 / 4),
        Prototype('L1_2', _SC, (*_FACES, _O), (0, 0, 0, 1), 12, 0.5**0.5),
    )
}


@dataclasses.dataclass(frozen=True)
class Bond:
    """Distance of nearest neighbours of an element, with its source.

    :param length: in Å, at ``coordination`` neighbours.
    :param coordination: number of nearest neighbours.
    :param source: one clause on the source of the length.
    :param estimated: whether the length is estimated from the covalent radius, to some 20 %.
    """

    length: float
    coordination: float
    source: str
    estimated: bool = False

    def at(self, coordination: float) -> float:
        """Return the length in Å for another number of neighbours (Pauling, J. Am. Chem. Soc. 69, 542 (1947))."""
        return max(self.length + 0.6 * float(np.log10(coordination / self.coordination)), 0.6 * self.length)


def bond_of(element: str, constants: Mapping[str, float] | None = None) -> Bond:
    """Return the bond of an element: from the given constant, else ASE's table, else the covalent radius.

    :param constants: lattice constants in Å, by ``element-prototype``, such as ``{'Al-fcc': 4.04}``.
    :raises ValueError: when the element is unknown, or has no known covalent radius.
    """
    for key, constant in (constants or {}).items():
        symbol, _, name = key.partition('-')
        own = own_prototype(element)
        prototype = own if own is not None and own.name == name else ELEMENTAL.get(name)
        if symbol == element and prototype is not None:
            return Bond(constant * prototype.distance, prototype.coordination, f'the given lattice constant `{key}`')
    return _tabulated_bond(element)


@functools.cache
def _tabulated_bond(element: str) -> Bond:
    if element not in atomic_numbers or element == 'X':
        raise ValueError(f'`{element}` is not a chemical element')
    number = atomic_numbers[element]
    state: dict[str, t.Any] = reference_states[number] or {}
    symmetry = state.get('symmetry')
    if symmetry == 'diatom':
        return Bond(float(state['d']), 1, 'the diatomic molecule in the table of ASE')
    prototype = own_prototype(element)
    if prototype is not None:
        length = float(state['a']) * prototype.distance
        return Bond(length, prototype.coordination, f'{symmetry} {element} in the table of ASE')
    # Over the metals of ASE's table the estimate is right on average and within 20 % (0.84 to 1.2 of the bond).
    length = 2 * float(radii_of(np.array([number]))[0])
    return Bond(length, 12, 'an estimate: twice the covalent radius, good to some 20 %', estimated=True)


@functools.cache
def own_prototype(element: str) -> Prototype | None:
    """Return the structure of the element in ASE's table (c/a included), or None."""
    state: dict[str, t.Any] = reference_states[atomic_numbers[element]] or {}
    symmetry = state.get('symmetry')
    # ASE's table lists Se and Te, which form chains, as hcp.
    if symmetry not in TRUSTED or element in ('Se', 'Te'):
        return None
    if symmetry in ELEMENTAL and symmetry != 'hcp':
        return ELEMENTAL[symmetry]
    crystal = bulk(element)
    distances = neighbor_list('d', crystal, 8.0)
    shortest = float(distances.min())
    coordination = int(np.sum(distances < 1.1 * shortest)) // len(crystal)
    first, second, third = crystal.cell.array / state['a']
    basis = tuple((float(x), float(y), float(z)) for x, y, z in crystal.get_scaled_positions(wrap=False))
    cell = (_row(first), _row(second), _row(third))
    return Prototype(symmetry, cell, basis, (0,) * len(crystal), coordination, shortest / float(state['a']))


def _row(vector: FloatArray) -> tuple[float, float, float]:
    x, y, z = (float(component) for component in vector)
    return x, y, z


def lattice_constant(prototype: Prototype, elements: Sequence[str], constants: Mapping[str, float]) -> float:
    """Return the lattice constant in Å of a prototype with ``elements`` on its sites.

    A given constant comes first; else the bond is the mean of the elements' bonds at the prototype's coordination.

    :param elements: the element of every atom of the basis, or one per distinct site; a random alloy repeats them.
    :param constants: by ``element-prototype`` or ``element-element-prototype``.
    :raises ValueError: when the covalent radius of an element is not known.
    """
    given = constants.get('-'.join([*dict.fromkeys(elements), prototype.name]))
    if given is not None:
        return float(given)
    lengths = [bond_of(element, constants).at(prototype.coordination) for element in elements]
    return float(np.mean(lengths)) / prototype.distance


@functools.lru_cache(maxsize=4096)
def supercell(prototype: Prototype, matrix: tuple[int, ...]) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int64]]:
    """Return cell, positions and sites of a supercell, in units of the lattice constant.

    The cell is reduced and right-handed.

    :param matrix: (h11, h21, h22, h31, h32, h33), the lower triangle of its Hermite normal form.
    """
    h11, h21, h22, h31, h32, h33 = matrix
    primitive = np.array(prototype.cell)
    points = np.stack(np.meshgrid(range(h11), range(h22), range(h33), indexing='ij'), axis=-1).reshape(-1, 3)
    cell = reduced_cell(np.array([[h11, 0, 0], [h21, h22, 0], [h31, h32, h33]]) @ primitive)
    positions = (points[:, None, :] + np.array(prototype.basis)[None, :, :]).reshape(-1, 3) @ primitive
    sites = np.tile(prototype.sites, len(points))
    for array in (cell, positions, sites):
        array.flags.writeable = False
    return cell, positions, sites


def random_matrix(size: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Return a random Hermite normal form with determinant ``size``, for `supercell`."""
    h11 = int(rng.choice([d for d in range(1, size + 1) if size % d == 0]))
    rest = size // h11
    h22 = int(rng.choice([d for d in range(1, rest + 1) if rest % d == 0]))
    h33 = rest // h22
    return (h11, int(rng.integers(h11)), h22, int(rng.integers(h11)), int(rng.integers(h22)), h33)


def compact_supercell(
    prototype: Prototype, size: int, rng: np.random.Generator, tries: int
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int64]]:
    """Return the most compact of ``tries`` random supercells of ``size`` primitive cells (largest inscribed sphere)."""
    candidates = [supercell(prototype, random_matrix(size, rng)) for _ in range(tries)]
    return min(candidates, key=lambda candidate: float(np.linalg.norm(np.linalg.inv(candidate[0]), axis=0).max()))


#: Miller indices of surfaces, for the cubic cell of cubic structures and the primitive cell of others.
CUBIC_FACETS = ((1, 1, 1), (1, 0, 0), (1, 1, 0), (2, 1, 0), (2, 1, 1))
OTHER_FACETS = ((0, 0, 1), (1, 0, 0), (1, 1, 0), (1, 0, 1), (1, 0, 2))


def facets_of(prototype: Prototype) -> tuple[tuple[int, int, int], ...]:
    """Return the Miller indices of the surfaces of a structure."""
    return CUBIC_FACETS if _is_cubic(prototype) else OTHER_FACETS


def _is_cubic(prototype: Prototype) -> bool:
    return prototype.name in ('fcc', 'bcc', 'sc', 'diamond')


@functools.lru_cache(maxsize=256)
def facet_cell(prototype: Prototype, facet: tuple[int, int, int]) -> tuple[FloatArray, FloatArray]:
    """Return cell and positions of one period of a crystal, with the first two vectors in the plane of the facet.

    :returns: (3, 3) right-handed cell and (m, 3) positions, in units of the lattice constant.
    """
    primitive = np.array(prototype.cell)
    combinations = np.array(list(np.ndindex(9, 9, 9))) - 4
    combinations = combinations[np.any(combinations != 0, axis=1)]
    # Indices of the same plane in the primitive cell, up to a factor.
    indices = np.round(primitive @ np.array(facet) * 2).astype(int) if _is_cubic(prototype) else np.array(facet)
    level = combinations @ (indices // np.gcd.reduce(indices))
    vectors = combinations @ primitive
    order = np.argsort(np.einsum('ix,ix->i', vectors, vectors), kind='stable')
    inside = [int(i) for i in order if level[i] == 0]
    first = inside[0]
    second = next(i for i in inside if np.linalg.norm(np.cross(vectors[first], vectors[i])) > 1e-6)
    third = next(int(i) for i in order if level[i] == 1)
    cell = vectors[[first, second, third]]
    if np.linalg.det(cell) < 0:
        cell[1] *= -1
    fractions = np.array(prototype.basis) @ primitive @ np.linalg.inv(cell)
    positions = (fractions - np.floor(fractions + 1e-9)) @ cell
    for array in (cell, positions):
        array.flags.writeable = False
    return cell, positions
