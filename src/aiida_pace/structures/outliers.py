"""Implausible labels: forces and energies beyond those of any structure fit for DFT."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aiida_pace.frames import Frames

__all__ = ('composition', 'implausible_labels', 'robust_references')

FloatArray = npt.NDArray[np.float64]

#: Least number of labels per element to compare energies with each other: fewer have no majority.
MIN_LABELS = 3

#: Largest number of iterations, and the residual below which all labels have the same weight, in eV/atom.
MAX_STEPS, FLOOR = 100, 1e-4


def composition(frames: Frames) -> dict[int, npt.NDArray[np.int64]]:
    """Return, by atomic number, the numbers (n,) of atoms of the element in each frame."""
    starts = frames.offsets[:-1]
    return {
        int(number): np.add.reduceat((frames.numbers == number).astype('i8'), starts)
        for number in np.unique(frames.numbers)
    }


def robust_references(counts: npt.NDArray[np.integer], energies: FloatArray) -> FloatArray | None:
    """Return the energy per atom of each element that fits most energies, robust against a minority of outliers.

    The least absolute deviations of the energies per atom (the median when there is one element) by reweighted least
    squares (E. J. Schlossmacher, J. Am. Stat. Assoc. 68, 857 (1973)).

    :param counts: (n, e) number of atoms of each element in each frame.
    :param energies: (n,) total energies in eV.
    :returns: (e,) in eV/atom, or None when there are too few energies.
    """
    if len(energies) < MIN_LABELS * counts.shape[1]:
        return None
    sizes = counts.sum(axis=1)
    shares, per_atom = counts / sizes[:, None], energies / sizes
    # With the median as origin, energies that are far off have small weights from the first step on.
    origin = float(np.median(per_atom))
    weights = 1 / np.maximum(np.abs(per_atom - origin), FLOOR) if counts.shape[1] == 1 else np.ones(len(energies))
    references = np.zeros(counts.shape[1])
    for _ in range(MAX_STEPS):
        root = np.sqrt(weights)
        new = np.linalg.lstsq(shares * root[:, None], (per_atom - origin) * root, rcond=None)[0]
        is_settled = np.abs(new - references).max() < FLOOR
        references = new
        if is_settled:
            break
        weights = 1 / np.maximum(np.abs(per_atom - origin - shares @ references), FLOOR)
    # The shares of a frame add up to 1, so the origin is added to every element.
    return np.asarray(references + origin)


def implausible_labels(
    frames: Frames, references: dict[int, float] | None, max_force: float, energy_window: tuple[float, float]
) -> dict[int, str]:
    """Return the cause, by index, of every implausible label; ``implausible force`` before ``implausible energy``.

    :param frames: labelled frames.
    :param references: energy per atom by atomic number, in eV; None for no check of energies.
    :param max_force: largest force on an atom, in eV/Å.
    :param energy_window: lowest and highest energy per atom above the references, in eV/atom.
    :raises ValueError: when the frames carry no labels.
    """
    if frames.energy is None or frames.forces is None:
        raise ValueError('the frames carry no labels')
    causes = {}
    if references is not None:
        baseline = sum(references[number] * counts for number, counts in composition(frames).items())
        excess = (frames.energy - baseline) / frames.sizes
        low, high = energy_window
        causes.update({int(index): 'implausible energy' for index in np.flatnonzero((excess < low) | (excess > high))})
    strongest = np.maximum.reduceat(np.linalg.norm(frames.forces, axis=1), frames.offsets[:-1])
    causes.update({int(index): 'implausible force' for index in np.flatnonzero(strongest > max_force)})
    return dict(sorted(causes.items()))
