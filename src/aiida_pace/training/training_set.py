"""Labelled frames to what a fit is made of: reference energies, weights, frames to fit and frames to watch."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from ase.neighborlist import neighbor_list
from scipy.spatial import cKDTree

from aiida_pace.formats.labels import ISOLATED_ATOM
from aiida_pace.frames import FloatArray, Frames
from aiida_pace.training.basis_size import BasisPlan, least_functions, plan_basis

if t.TYPE_CHECKING:
    from aiida_pace.config import TrainingConfig

__all__ = (
    'TrainingSet',
    'TrainingSetError',
    'few_atoms',
    'isolated_atom_energies',
    'learned_atoms',
    'learned_environments',
    'training_plan',
    'training_set',
)

#: Isolated atoms of one element whose energies differ by more than this, in eV, are not the same reference.
ENERGY_TOLERANCE = 1e-3


class TrainingSetError(ValueError):
    """Frames that make no fit: the message is one sentence that names what is missing and the remedy."""


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """What a fit is made of.

    :param fit: frames to fit, without isolated atoms, weights of the weighting policy applied.
    :param watch: frames to watch the error on, or None.
    :param reference_energies: energy of the isolated atom of each element, in eV.
    """

    fit: Frames
    watch: Frames | None
    reference_energies: dict[str, float]


def training_set(
    frames: Frames, config: TrainingConfig, known_energies: Mapping[str, float] | None = None
) -> TrainingSet:
    """Return what a fit to ``frames`` is made of.

    :param frames: labelled frames, isolated atoms among them or not.
    :param known_energies: reference energies in eV of the potential that the fit continues from.
    :raises TrainingSetError: when the frames have no labels, no weight, or no reference energies.
    """
    if frames.energy is None or frames.forces is None:
        raise TrainingSetError('the data sets hold no energies and forces: label them first')
    energies = _reference_energies(frames, config, known_energies or {})
    extended = frames.take(np.flatnonzero(~_isolated(frames, config.cutoff)))
    if len(extended) == 0:
        raise TrainingSetError('the data sets hold nothing but isolated atoms: add frames of several atoms')
    weighted = _weighted(extended, config, energies)
    watched = _choose_watched(weighted, config)
    fit = weighted.take(np.flatnonzero(~watched))
    if not fit.weight.any() or not fit.force_weight.any():
        raise TrainingSetError('the weights of all energies or of all forces are 0: give some frames a weight')
    watch = weighted.take(np.flatnonzero(watched)) if watched.any() else None
    return TrainingSet(fit=fit, watch=watch, reference_energies=energies)


def isolated_atom_energies(frames: Frames, cutoff: float = np.inf) -> dict[str, float]:
    """Return the energy in eV of each element's frame of one isolated atom, for the elements that have one.

    An atom is isolated when its frame is not periodic or has the origin `ISOLATED_ATOM`, or when no image of it is
    within ``cutoff`` in Å.

    :raises TrainingSetError: when two of one element differ by more than `ENERGY_TOLERANCE`.
    """
    energies: dict[str, float] = {}
    if frames.energy is None:
        return energies
    for index in np.flatnonzero(_isolated(frames, cutoff)):
        symbol = chemical_symbols[frames.numbers[frames.offsets[index]]]
        energy = float(frames.energy[index])
        first = energies.setdefault(symbol, energy)
        if abs(first - energy) > ENERGY_TOLERANCE:
            raise TrainingSetError(
                f'the data sets hold isolated {symbol} atoms of {first} eV and {energy} eV: '
                'give `reference_energies` in the parameters'
            )
    return energies


def learned_atoms(frames: Frames) -> npt.NDArray[np.bool_]:
    """(N,) whether a fit learns from an atom: by its own force, or by the energy of its frame."""
    return np.asarray((frames.force_weight > 0) | (np.repeat(frames.weight, frames.sizes) > 0))


def learned_environments(frames: Frames, cutoff: float) -> dict[str, int]:
    """Return, by element, the number of atoms that a fit learns from and that have a neighbour within ``cutoff`` in Å.

    Every element of the frames is there. An active set is picked from such atoms: one without neighbours adds nothing.
    """
    counted = learned_atoms(frames)
    for index in np.flatnonzero(np.logical_or.reduceat(counted, frames.offsets[:-1])).tolist():
        part = frames.atoms_slice(index)
        counted[part] &= _with_neighbours(frames.positions[part], frames.cells[index], frames.pbc[index], cutoff)
    counts = np.bincount(frames.numbers[counted], minlength=len(chemical_symbols))
    return {element: int(counts[atomic_numbers[element]]) for element in frames.elements}


def _with_neighbours(
    positions: FloatArray, cell: FloatArray, pbc: npt.NDArray[np.bool_], cutoff: float
) -> npt.NDArray[np.bool_]:
    """(N,) whether an atom has a neighbour within ``cutoff``, the images of a periodic cell included."""
    if pbc.any() and np.linalg.norm(cell[pbc], axis=1).min() < cutoff:
        return np.ones(len(positions), dtype=bool)
    # Within the cell nearly every atom has one, and this takes a hundredth of the time of a list of neighbours.
    near = np.zeros(len(positions), dtype=bool)
    if len(positions) > 1:
        near |= cKDTree(positions).query(positions, k=2)[0][:, 1] < cutoff
    if pbc.any() and not near.all():
        near[neighbor_list('i', Atoms(positions=positions, cell=cell, pbc=pbc), cutoff)] = True
    return near


def few_atoms(environments: Mapping[str, int], order: int) -> dict[str, str]:
    """Return one clause for each element that no basis is small enough for: an active set needs more atoms than that.

    :param environments: of `learned_environments`.
    :param order: largest number of neighbours in one function.
    """
    least = least_functions(len(environments), order)
    return {
        element: f'they hold {count} atoms of {element} with neighbours that a fit learns from, the smallest basis for '
        f'{", ".join(sorted(environments))} needs {least + 1}: add frames with {element}'
        for element, count in sorted(environments.items())
        if count <= least
    }


def training_plan(
    config: TrainingConfig, elements: Iterable[str], existing: Mapping[str, int] | None = None
) -> BasisPlan:
    """Return the basis that the settings ask for.

    ``tensorpot`` 0.6.2 needs as many functions of one neighbour in the block `Al Si` as in `Si Al`, and fails
    otherwise: for it all elements have the smallest number.

    :param elements: chemical symbols the potential is for.
    :param existing: number of functions by element of the potential that the fit continues from.
    :raises TrainingSetError: when there are too few functions for an element, or no number of them.
    """
    try:
        wanted = {element: config.functions_of(element) for element in elements}
        if config.evaluator == 'tensorpot':
            wanted = dict.fromkeys(wanted, min(wanted.values()))
        return plan_basis(wanted, config.order, existing)
    except ValueError as exception:
        raise TrainingSetError(str(exception)) from exception


def _isolated(frames: Frames, cutoff: float) -> npt.NDArray[np.bool_]:
    """(n,) whether a frame is one atom that is not periodic, named so, or without an image within ``cutoff``."""
    isolated = np.asarray((frames.sizes == 1) & (~frames.pbc.any(axis=1) | (frames.origin == ISOLATED_ATOM)))
    for index in np.flatnonzero((frames.sizes == 1) & ~isolated).tolist():
        place = frames.positions[frames.atoms_slice(index)], frames.cells[index], frames.pbc[index]
        isolated[index] = not _with_neighbours(*place, cutoff).any()
    return isolated


def _reference_energies(frames: Frames, config: TrainingConfig, known: Mapping[str, float]) -> dict[str, float]:
    """Return the reference energy of each element; refuse a set that lacks one."""
    if isinstance(config.reference_energies, dict):
        energies = {**known, **config.reference_energies}
        remedy = 'add it to `reference_energies` in the parameters'
    else:
        energies = {**known, **isolated_atom_energies(frames, config.cutoff)}
        remedy = (
            'add a labelled frame of one atom, not periodic or in a box larger than the cutoff, to the data sets, or '
            'give `reference_energies` in the parameters'
        )
    missing = [element for element in sorted({*frames.elements, *known}) if element not in energies]
    if missing:
        raise TrainingSetError(f'there is no reference energy of {", ".join(missing)}: {remedy}')
    return {element: float(energies[element]) for element in sorted({*frames.elements, *known})}


def _weighted(frames: Frames, config: TrainingConfig, energies: Mapping[str, float]) -> Frames:
    """Return the frames with the factors of the weighting policy in their weights.

    The policy is pacemaker's ``EnergyBasedWeightingPolicy`` with cohesive energies (Bochkarev et al., Phys. Rev.
    Materials 6, 013804, 2022), with the factor of a frame at the lowest energy and of an atom without force set to 1.
    """
    if config.weighting == 'uniform' or frames.energy is None or frames.forces is None:
        return frames
    reference = np.array([energies[chemical_symbols[number]] for number in frames.numbers])
    per_atom = (frames.energy - np.add.reduceat(reference, frames.offsets[:-1])) / frames.sizes
    frame_factor: FloatArray = 1 / (1 + (per_atom - per_atom.min()) / config.energy_scale) ** 2
    atom_factor: FloatArray = 1 / (1 + np.sum(frames.forces**2, axis=1) / config.force_scale**2)
    return frames.replace(
        weight=frames.weight * frame_factor,
        force_weight=frames.force_weight * atom_factor * np.repeat(frame_factor, frames.sizes),
    )


def _choose_watched(frames: Frames, config: TrainingConfig) -> npt.NDArray[np.bool_]:
    """(n,) whether a frame is only watched: drawn from those that are trusted in every atom."""
    chosen = np.zeros(len(frames), dtype=bool)
    trusted = np.flatnonzero((frames.weight > 0) & (np.minimum.reduceat(frames.force_weight, frames.offsets[:-1]) > 0))
    count = min(int(len(frames) * config.test_fraction), len(trusted) - 1)
    if count > 0:
        chosen[np.random.default_rng(config.seed).choice(trusted, size=count, replace=False)] = True
    return chosen
