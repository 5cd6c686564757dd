"""Labelled frames to what a fit is made of: reference energies, weights, frames to fit and frames to watch."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from ase.data import chemical_symbols

from aiida_pace.frames import FloatArray, Frames

if t.TYPE_CHECKING:
    from aiida_pace.config import TrainingConfig

__all__ = ('TrainingSet', 'TrainingSetError', 'isolated_atom_energies', 'learned_atoms', 'training_set')

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
    extended = frames.take(np.flatnonzero(~_isolated(frames)))
    if len(extended) == 0:
        raise TrainingSetError('the data sets hold nothing but isolated atoms: add frames of several atoms')
    weighted = _weighted(extended, config, energies)
    watched = _choose_watched(weighted, config)
    fit = weighted.take(np.flatnonzero(~watched))
    if not fit.weight.any() or not fit.force_weight.any():
        raise TrainingSetError('the weights of all energies or of all forces are 0: give some frames a weight')
    watch = weighted.take(np.flatnonzero(watched)) if watched.any() else None
    return TrainingSet(fit=fit, watch=watch, reference_energies=energies)


def isolated_atom_energies(frames: Frames) -> dict[str, float]:
    """Return the energy in eV of each element's frame of one non-periodic atom, for the elements that have one.

    :raises TrainingSetError: when two of one element differ by more than `ENERGY_TOLERANCE`.
    """
    energies: dict[str, float] = {}
    if frames.energy is None:
        return energies
    for index in np.flatnonzero(_isolated(frames)):
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


def _isolated(frames: Frames) -> npt.NDArray[np.bool_]:
    """(n,) whether a frame is one atom that is not periodic."""
    return np.asarray((frames.sizes == 1) & ~frames.pbc.any(axis=1))


def _reference_energies(frames: Frames, config: TrainingConfig, known: Mapping[str, float]) -> dict[str, float]:
    """Return the reference energy of each element; refuse a set that lacks one."""
    if isinstance(config.reference_energies, dict):
        energies = {**known, **config.reference_energies}
        remedy = 'add it to `reference_energies` in the parameters'
    else:
        energies = {**known, **isolated_atom_energies(frames)}
        remedy = (
            'add a labelled frame of one non-periodic atom to the data sets, or give `reference_energies` in the '
            'parameters'
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
