"""The initial set: how many structures of which recipe the first labels are made of."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from aiida_pace.config import InitialSetConfig
from aiida_pace.frames import Frames
from aiida_pace.structures.fingerprint import DistinctFrames, duplicate_indices
from aiida_pace.structures.guards import closest_approach
from aiida_pace.structures.ingredients import Ingredients
from aiida_pace.structures.lattices import bond_of
from aiida_pace.structures.recipes import RECIPES, isolated_atom

__all__ = ('allocate', 'atoms_per_element', 'bond_sources', 'extend_to_atoms', 'generate_initial_set')


def generate_initial_set(
    element: str | Sequence[str],
    count: int,
    *,
    seed: int | np.random.Generator,
    config: InitialSetConfig | None = None,
    structures: Sequence[Atoms] = (),
) -> Frames:
    """Return exactly ``count`` frames: an isolated atom per element first (they count), then the recipes in turn.

    The same arguments give the same frames. No distance is shorter than ``config.closest`` times the sum of the
    covalent radii. `bond_sources` tells where the lattice constants come from; one that is only an estimate gives a
    warning and a wider range of volumes.

    :param element: one chemical symbol or several.
    :param count: number of frames in all.
    :param seed: of the random generator, or the generator itself.
    :param structures: the user's own structures, for the recipe ``user``.
    :returns: frames whose ``origin`` is the name of the recipe: ``isolated_atom``, ``dimer``, ``trimer``,
        ``bulk/fcc``, ``compound/rocksalt``, ``alloy/bcc``, ``supercell/fcc``, ``vacancy``, ``interstitial``,
        ``surface/fcc111``, ``packing``, ``user``.
    :raises ValueError: when an element is unknown, ``count`` is too small for the isolated atoms, no recipe with a
        share applies, or a structure of the user's is not fit.
    """
    config = config or InitialSetConfig()
    elements = _elements(element)
    rng = np.random.default_rng(seed)
    for symbol, sentence in bond_sources(elements, config).items():
        if bond_of(symbol, config.lattice_constants).estimated:
            warnings.warn(f'{sentence}; `lattice_constants` takes a better one', stacklevel=2)
    for index, atoms in enumerate(structures):
        _check_structure(atoms, index, elements, config)
    images = [isolated_atom(symbol, config) for symbol in elements] if config.isolated_atoms else []
    if len(images) > count:
        raise ValueError(f'`count` is {count}, less than the {len(images)} isolated atoms; raise it or leave them out')
    applies = {
        name: share
        for name, share in config.shares.items()
        if (len(elements) > 1 or name not in ('compound', 'alloy')) and (structures or name != 'user')
    }
    counts = allocate(count - len(images), {name: applies.get(name, 0.0) for name in RECIPES})
    # Each recipe has a generator of its own: more frames of one leave the others as they are.
    generators = dict(zip(RECIPES, rng.spawn(len(RECIPES)), strict=True))
    distinct = DistinctFrames(config.distinct)
    for name in RECIPES:
        given = Ingredients(elements, config, generators[name], tuple(structures))
        images += _distinct_images(name, counts[name], given, distinct)
    frames = Frames.from_atoms(images)
    if duplicates := duplicate_indices(frames):
        raise ValueError(
            f'the settings leave room for fewer than {count} distinct frames (`{frames.origin[duplicates[0]]}` repeats '
            'itself); ask for fewer or raise `displacement`, `strain` or `volumes`'
        )
    return frames


def _distinct_images(name: str, count: int, given: Ingredients, distinct: DistinctFrames) -> list[Atoms]:
    """Return ``count`` structures of a recipe; those like earlier ones are drawn again, ``count`` times at most.

    A recipe with few degrees of freedom, such as the dimer, may have no room for so many: then some are alike.
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


def allocate(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Return whole numbers that add up to ``count``, as near to the shares as can be (largest remainders).

    :raises ValueError: when all shares are zero and ``count`` is not.
    """
    total = sum(shares.values())
    if count and total <= 0:
        raise ValueError('no recipe with a share above 0 applies to these elements; raise one in `shares`')
    exact = {name: count * share / total if total else 0.0 for name, share in shares.items()}
    counts = {name: int(value) for name, value in exact.items()}
    order = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in order[: count - sum(counts.values())]:
        counts[name] += 1
    return counts


def atoms_per_element(frames: Frames) -> dict[str, int]:
    """Return the number of atoms of each element, those of isolated atoms left out: they have no neighbours to fit."""
    counts: Counter[str] = Counter()
    for index in range(len(frames)):
        part = frames.numbers[frames.atoms_slice(index)]
        if len(part) > 1 or frames.pbc[index].any():
            counts.update(Atoms(numbers=part).get_chemical_symbols())
    return dict(sorted(counts.items()))


def extend_to_atoms(
    frames: Frames,
    element: str | Sequence[str],
    atoms: int,
    *,
    seed: int | np.random.Generator,
    config: InitialSetConfig | None = None,
) -> Frames:
    """Return the frames and as many small cells more as it takes to have ``atoms`` atoms of each element.

    An active set needs more atoms of an element than the basis has functions.

    :raises ValueError: when an element is unknown.
    """
    config = config or InitialSetConfig()
    rng = np.random.default_rng(seed)
    counts = Counter(atoms_per_element(frames))
    images = []
    for symbol in _elements(element):
        given = Ingredients((symbol,), config, rng)
        for index in itertools.count():
            if counts[symbol] >= atoms:
                break
            images.append(RECIPES['bulk'](given, index))
            counts[symbol] += len(images[-1])
    return Frames.concatenate([frames, Frames.from_atoms(images)]) if images else frames


def bond_sources(element: str | Sequence[str], config: InitialSetConfig | None = None) -> dict[str, str]:
    """Return one sentence per element that says how long its bonds are taken to be and how that is known."""
    constants = (config or InitialSetConfig()).lattice_constants
    bonds = {symbol: bond_of(symbol, constants) for symbol in _elements(element)}
    return {
        symbol: f'{symbol}: {bond.length:.3f} Å at {bond.coordination:g} neighbours, from {bond.source}'
        for symbol, bond in bonds.items()
    }


def _elements(element: str | Sequence[str]) -> tuple[str, ...]:
    """Return the elements, each once, sorted; refuse unknown ones and none."""
    elements = tuple(sorted({element} if isinstance(element, str) else set(element)))
    if not elements:
        raise ValueError('no element is given')
    for symbol in elements:
        bond_of(symbol)
    return elements


def _check_structure(atoms: Atoms, index: int, elements: tuple[str, ...], config: InitialSetConfig) -> None:
    """Refuse a user's structure of other elements, with mixed boundary conditions or with atoms too close."""
    foreign = set(atoms.get_chemical_symbols()) - set(elements)
    if foreign:
        raise ValueError(f'structure {index} holds {min(foreign)}, which is not among the elements {elements}')
    if atoms.pbc.any() and not atoms.pbc.all():
        raise ValueError(f'structure {index} is periodic in some directions only; add vacuum and make it periodic')
    geometry = (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    if closest_approach(*geometry, limit=config.closest) < config.closest:
        raise ValueError(f'structure {index} has atoms closer than {config.closest} of the sum of their covalent radii')
