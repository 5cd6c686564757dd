"""The initial set: the structures that are labelled first, and the number from each recipe."""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from aiida_pace.config import CLOSEST, InitialSetConfig
from aiida_pace.frames import Frames
from aiida_pace.structures.fingerprint import DistinctFrames, duplicate_indices, near_duplicate_indices
from aiida_pace.structures.guards import closest_approach
from aiida_pace.structures.lattices import COMPOUNDS, ELEMENTAL, bond_of, own_prototype
from aiida_pace.structures.recipe_context import CUTOFF, RecipeContext
from aiida_pace.structures.recipes import ALWAYS, RECIPES, isolated_atom
from aiida_pace.structures.shares import split_count

__all__ = (
    'Pool',
    'applicable_shares',
    'atoms_per_element',
    'bond_sources',
    'choose_from_pool',
    'generate_initial_set',
    'generate_pool',
    'recipe_counts',
    'validate_keys',
    'validate_user_structure',
)


def generate_initial_set(
    elements: str | Sequence[str],
    count: int,
    seed: int | np.random.Generator = 1,
    *,
    config: InitialSetConfig | None = None,
    structures: Sequence[Atoms] = (),
    closest: float = CLOSEST,
    cutoff: float = CUTOFF,
) -> Frames:
    """Return exactly ``count`` frames: first one isolated atom per element (included in ``count``), then the recipes.

    The same arguments give the same frames. `bond_sources` gives the source of each lattice constant; an estimated one
    causes a warning and a wider range of volumes.

    :param elements: one chemical symbol or several.
    :param count: number of frames in all.
    :param seed: of the random generator, or the generator itself; the default is that of a campaign.
    :param config: the settings of the recipes.
    :param structures: structures of the user, for the recipe ``user``.
    :param closest: no distance is shorter than this times the sum of the two covalent radii.
    :param cutoff: of the fit, in Å: the largest distance in dimers and trimers.
    :returns: frames whose ``origin`` is the name of the recipe: ``isolated_atom``, ``dimer``, ``trimer``,
        ``bulk/fcc``, ``compound/rocksalt``, ``alloy/bcc``, ``supercell/fcc``, ``vacancy``, ``interstitial``,
        ``surface/fcc111``, ``packing``, ``user``.
    :raises ValueError: when an element is unknown, a key of the settings names another one, ``count`` is too small for
        the isolated atoms, no recipe with a share applies, or a structure of the user is not fit.
    """
    config = config or InitialSetConfig()
    elements = _elements(elements)
    counts = _counts(elements, count, config, has_structures=bool(structures))
    rng = np.random.default_rng(seed)
    frames = _made(counts, RecipeContext(elements, config, rng, tuple(structures), closest, cutoff))
    if duplicates := duplicate_indices(frames):
        raise ValueError(
            f'the settings give fewer than {count} distinct frames (`{frames.origin[duplicates[0]]}` repeats): lower '
            '`count`, or raise `displacement`, `strain` or `volumes`'
        )
    return frames


@dataclasses.dataclass(frozen=True)
class Pool:
    """The frames that an initial set is chosen from.

    :param frames: no two of them alike; those of the recipes `ALWAYS` belong in the set.
    :param duplicates: by recipe, the number of frames left out because they are like another frame.
    """

    frames: Frames
    duplicates: dict[str, int]


def generate_pool(
    element: str | Sequence[str],
    count: int,
    *,
    seed: int | np.random.Generator,
    config: InitialSetConfig | None = None,
    structures: Sequence[Atoms] = (),
    closest: float = CLOSEST,
    cutoff: float = CUTOFF,
) -> Pool:
    """Return the isolated atoms, dimers and trimers of a set of ``count`` frames, and frames to choose the rest from.

    The latter are ``config.pool_count`` frames, by the shares, with all structures of the user. Parameters, frames and
    errors are those of `generate_initial_set`, except that frames like others are left out instead of refused.
    """
    config = config or InitialSetConfig()
    elements = _elements(element)
    counts = _counts(elements, count, config, has_structures=bool(structures))
    choosable = {name: config.shares.get(name, 0.0) for name in counts if name not in ALWAYS and counts[name]}
    counts |= split_count(config.pool_count if choosable else 0, choosable)
    if counts['user']:
        counts['user'] = max(counts['user'], len(structures))
    rng = np.random.default_rng(seed)
    frames = _made(counts, RecipeContext(elements, config, rng, tuple(structures), closest, cutoff))
    alike = near_duplicate_indices(frames, config.distinct)
    kept = np.setdiff1d(np.arange(len(frames)), alike)
    return Pool(frames.take(kept), recipe_counts(frames.take(alike)))


def choose_from_pool(
    frames: Frames, count: int, *, seed: int | np.random.Generator, ranked: Sequence[int] = ()
) -> list[int]:
    """Return the indices of the ``count`` frames of an initial set, or of all frames when there are fewer.

    First come the frames of `ALWAYS`, then those of ``ranked``, then others at random, the same part of the remaining
    frames of each recipe.

    :param frames: those of a `Pool`.
    :param seed: of the random generator, or the generator itself.
    :param ranked: indices of preferred frames, the best one first.
    """
    rng = np.random.default_rng(seed)
    recipes = np.array([_recipe(origin) for origin in frames.origin], dtype=object)
    first = [index for index, recipe in enumerate(recipes) if recipe in ALWAYS]
    chosen = list(dict.fromkeys([*first, *(int(index) for index in ranked)]))[:count]
    left = np.setdiff1d(np.arange(len(frames)), chosen)
    room = min(count - len(chosen), len(left))
    for recipe, number in split_count(room, Counter(recipes[left])).items():
        chosen += rng.choice(left[recipes[left] == recipe], size=number, replace=False).tolist()
    return chosen


def recipe_counts(frames: Frames) -> dict[str, int]:
    """Return the number of frames of each recipe; variants such as ``bulk/fcc`` count together."""
    return dict(sorted(Counter(_recipe(origin) for origin in frames.origin).items()))


def _recipe(origin: str) -> str:
    return str(origin).partition('/')[0]


def applicable_shares(
    elements: Sequence[str], config: InitialSetConfig, *, has_structures: bool = False
) -> dict[str, float]:
    """Return the shares of the recipes that apply: some need two elements, one needs structures of the user."""
    unfit = {*(() if len(elements) > 1 else ('compound', 'alloy')), *(() if has_structures else ('user',))}
    return {name: share for name, share in config.shares.items() if share > 0 and name not in unfit}


def _counts(elements: Sequence[str], count: int, config: InitialSetConfig, *, has_structures: bool) -> dict[str, int]:
    """Return the number of frames of each recipe in a set, isolated atoms first."""
    if error := validate_keys(elements, config):
        raise ValueError(error)
    isolated = len(elements) if config.isolated_atoms else 0
    if isolated > count:
        raise ValueError(
            f'`count` is {count}, fewer than the isolated atoms, {isolated}: raise `count`, or leave them out'
        )
    applies = applicable_shares(elements, config, has_structures=has_structures)
    if not applies and count > isolated:
        raise ValueError('no recipe with a share above 0 applies to these elements: raise a share in `shares`')
    shares = {name: applies.get(name, 0.0) for name in RECIPES}
    return {'isolated_atom': isolated} | split_count(count - isolated, shares)


def _made(counts: Mapping[str, int], given: RecipeContext) -> Frames:
    """Return ``counts`` frames of each recipe."""
    elements, config = given.elements, given.config
    for symbol, sentence in bond_sources(elements, config).items():
        if bond_of(symbol, config.lattice_constants).estimated:
            warnings.warn(f'{sentence}: give a better value in `lattice_constants`', stacklevel=3)
    for index, atoms in enumerate(given.structures):
        if error := validate_user_structure(atoms, elements, given.closest):
            raise ValueError(f'structure {index} {error}')
    images = [isolated_atom(symbol, config) for symbol in elements[: counts['isolated_atom']]]
    # Each recipe has its own generator, so that the number of frames of one recipe does not change the others.
    generators = dict(zip(RECIPES, given.rng.spawn(len(RECIPES)), strict=True))
    distinct = DistinctFrames(config.distinct)
    for name in RECIPES:
        images += _distinct_images(name, counts[name], dataclasses.replace(given, rng=generators[name]), distinct)
    return Frames.from_atoms(images)


def _distinct_images(name: str, count: int, given: RecipeContext, distinct: DistinctFrames) -> list[Atoms]:
    """Return ``count`` structures of a recipe; those like earlier ones are drawn again, ``count`` times at most.

    A recipe with few degrees of freedom, such as the dimer, may not give so many: then some are alike.
    """
    images: list[Atoms] = []
    spare = count
    for index in itertools.count():
        if len(images) == count:
            break
        atoms = RECIPES[name](given, index)
        fresh = distinct.add(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
        wanted = name == 'user' and index < len(given.structures)
        if fresh or wanted or not spare:
            images.append(atoms)
        else:
            spare -= 1
    return images


def atoms_per_element(frames: Frames) -> dict[str, int]:
    """Return the number of atoms of each element, without isolated atoms, which have no neighbours to fit."""
    counts: Counter[str] = Counter()
    for index in range(len(frames)):
        part = frames.numbers[frames.atoms_slice(index)]
        if len(part) > 1 or frames.pbc[index].any():
            counts.update(Atoms(numbers=part).get_chemical_symbols())
    return dict(sorted(counts.items()))


def bond_sources(element: str | Sequence[str], config: InitialSetConfig | None = None) -> dict[str, str]:
    """Return one sentence per element with the assumed bond length and the source of the length."""
    constants = (config or InitialSetConfig()).lattice_constants
    bonds = {symbol: bond_of(symbol, constants) for symbol in _elements(element)}
    return {
        symbol: f'{symbol}: {bond.length:.3f} Å at {bond.coordination:g} neighbours, from {bond.source}'
        for symbol, bond in bonds.items()
    }


def _elements(element: str | Sequence[str]) -> tuple[str, ...]:
    """Return the elements, sorted and unique.

    :raises ValueError: when there is no element, or an element is unknown.
    """
    elements = tuple(sorted({element} if isinstance(element, str) else set(element)))
    if not elements:
        raise ValueError('no element is given')
    for symbol in elements:
        bond_of(symbol)
    return elements


def validate_keys(elements: Sequence[str], config: InitialSetConfig) -> str | None:
    """Return what is wrong with a key of ``lattice_constants`` or ``composition``, None when all can be used.

    :param elements: those of the set.
    """
    known = ', '.join(elements)
    own = {found.name for element in elements if (found := own_prototype(element)) is not None}
    prototypes = list(dict.fromkeys([*ELEMENTAL, *sorted(own), *COMPOUNDS]))
    for key in config.lattice_constants:
        *symbols, prototype = key.split('-')
        if not symbols or prototype not in prototypes:
            return (
                f'`lattice_constants` has the key `{key}`: give `element-prototype` or `element-element-prototype`; '
                f'the prototypes are {", ".join(prototypes)}'
            )
        if foreign := sorted(set(symbols) - set(elements)):
            return f'`lattice_constants` has the key `{key}`: {foreign[0]} is not among the elements {known}'
    if foreign := sorted(set(config.composition) - set(elements)):
        return f'`composition` has the key `{foreign[0]}`, which is not among the elements {known}'
    return None


def validate_user_structure(atoms: Atoms, elements: Sequence[str], closest: float) -> str | None:
    """Return why a structure of the user is refused (other elements, mixed periods, atoms too close), else None."""
    foreign = set(atoms.get_chemical_symbols()) - set(elements)
    if foreign:
        return f'holds {min(foreign)}, which is not among the elements {", ".join(elements)}'
    if atoms.pbc.any() and not atoms.pbc.all():
        return 'is periodic in some directions only: add vacuum and make the structure periodic in all directions'
    geometry = (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    if closest_approach(*geometry, limit=closest) < closest:
        return f'has atoms closer than {closest} times the sum of their covalent radii'
    return None
