"""Implausible imported frames: distances, forces, energies and stresses that no DFT run gives."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aiida_pace.frames import FloatArray, Frames
from aiida_pace.structures.guards import closest_approach, radii_of
from aiida_pace.structures.neighbours import wrapped_vectors
from aiida_pace.structures.outliers import composition, robust_references

__all__ = ('implausible_frames',)

#: Least distance over the sum of the covalent radii, that of a dimer at half its bond length; 0.34 Å for H2.
MIN_RATIO = 0.55

#: Largest force, in eV/Å. O2 at 0.7 of its bond length, one of the stiffest dimers, has 79 eV/Å.
MAX_FORCE = 100.0

#: Lowest and highest energy above the robust references of the elements, in eV/atom: no solid binds so strongly.
ENERGY_WINDOW = (-20.0, 50.0)

#: Energy of the Thomas-Fermi atom over Z to the power 7/3, in eV, a lower limit for any atom (E. H. Lieb and B. Simon,
#: Adv. Math. 23, 22 (1977)); and the largest binding energy below that limit, in eV/atom.
THOMAS_FERMI, BINDING = -20.92, 20.0

#: Stress times volume in eV/atom: largest in one frame, and largest median of a set. A solid has about 10 at the
#: pressure of its bulk modulus.
MAX_VIRIAL, MAX_MEDIAN_VIRIAL = 60.0, 8.0

#: Wrong units of stresses in files, in eV/Å³.
STRESS_UNITS = {'GPa': 1 / 160.2176634, 'kbar': 1 / 1602.176634, 'MPa': 1 / 160217.6634, 'bar': 1 / 1602176.634}

#: Range in Å of a weighted sum of the vectors to neighbours, which is 0 on a symmetric site, and the limit of that sum.
SYMMETRY_RANGE, ASYMMETRY = 5.0, 0.02

#: Largest number of atoms for which all pairs are compared.
MAX_PAIRS = 300


def implausible_frames(frames: Frames) -> dict[int, tuple[str, str]]:
    """Return, by index of the implausible frames, the cause and the evidence.

    The cause is the first that holds: short distance, force, forces that are all 0 without symmetry, energy, stress. In
    frames without labels only distances are checked.
    """
    causes: dict[int, tuple[str, str]] = {}
    if len(frames) == 0:
        return causes
    checks = [_distances, _forces, _zero_forces, _energies, _stresses] if frames.is_labelled else [_distances]
    for check in checks:
        for index, cause in check(frames).items():
            causes.setdefault(index, cause)
    return dict(sorted(causes.items()))


def _distances(frames: Frames) -> dict[int, tuple[str, str]]:
    """Return the frames with two atoms much closer than a bond."""
    causes = {}
    for index in range(len(frames)):
        part = frames.atoms_slice(index)
        place = frames.numbers[part], frames.positions[part], frames.cells[index], frames.pbc[index]
        try:
            is_close = closest_approach(*place, limit=MIN_RATIO) < MIN_RATIO
        except ValueError:  # an element without a known radius
            continue
        if is_close:
            causes[index] = ('two atoms far closer than a bond', _closest_pair(*place))
    return causes


def _closest_pair(
    numbers: npt.NDArray[np.integer], positions: FloatArray, cell: FloatArray, pbc: npt.NDArray[np.bool_]
) -> str:
    """Return the words for the pair of atoms that is closest relative to the radii, with its distance."""
    if len(numbers) > MAX_PAIRS:
        return ''
    radii = radii_of(numbers)
    vectors, shifts = wrapped_vectors(positions, positions, cell, pbc, 2 * MIN_RATIO * float(radii.max()))
    best = (np.inf, 0, 0, 0.0)
    for shift in shifts:
        distances = np.linalg.norm(vectors + shift, axis=2)
        if not shift.any():
            np.fill_diagonal(distances, np.inf)
        ratios = distances / (radii[:, None] + radii[None, :])
        first, second = np.unravel_index(int(np.argmin(ratios)), ratios.shape)
        best = min(best, (float(ratios[first, second]), int(first), int(second), float(distances[first, second])))
    _, one, other, distance = best
    pair = f'atoms {min(one, other)} and {max(one, other)}' if one != other else f'atom {one} and its image'
    return f'{pair}, {distance:.2f} Å'


def _forces(frames: Frames) -> dict[int, tuple[str, str]]:
    """Return the frames with a force above the limit."""
    assert frames.forces is not None
    strength = np.linalg.norm(frames.forces, axis=1)
    strongest = np.maximum.reduceat(strength, frames.offsets[:-1])
    causes = {}
    for index in np.flatnonzero(~(strongest <= MAX_FORCE)).tolist():
        atom = int(np.argmax(strength[frames.atoms_slice(index)]))
        causes[index] = (f'a force above {MAX_FORCE:g} eV/Å', f'atom {atom}, {strongest[index]:.4g} eV/Å')
    return causes


def _zero_forces(frames: Frames) -> dict[int, tuple[str, str]]:
    """Return the frames whose forces are all 0 although an atom is not on a symmetric site."""
    assert frames.forces is not None
    is_zero = ~np.logical_or.reduceat(frames.forces.any(axis=1), frames.offsets[:-1])
    causes = {}
    for index in np.flatnonzero(is_zero & (frames.sizes > 1)).tolist():
        part = frames.atoms_slice(index)
        positions, cell, pbc = frames.positions[part], frames.cells[index], frames.pbc[index]
        if len(positions) > MAX_PAIRS:
            continue
        vectors, shifts = wrapped_vectors(positions, positions, cell, pbc, SYMMETRY_RANGE)
        total = np.zeros_like(positions)
        for shift in shifts:
            images = vectors + shift
            weights = np.clip(1 - np.einsum('pqx,pqx->pq', images, images) / SYMMETRY_RANGE**2, 0, None) ** 2
            total += np.einsum('pq,pqx->px', weights, images)
        largest = np.linalg.norm(total, axis=1)
        if largest.max() > ASYMMETRY:
            causes[index] = ('all forces are 0 in a frame that is not symmetric', f'atom {int(np.argmax(largest))}')
    return causes


def _energies(frames: Frames) -> dict[int, tuple[str, str]]:
    """Return the frames with an impossible energy, or one that contradicts most other frames."""
    assert frames.energy is not None
    counts = composition(frames)
    table = np.column_stack(list(counts.values()))
    per_atom = frames.energy / frames.sizes
    lowest = sum(THOMAS_FERMI * number ** (7 / 3) * n for number, n in counts.items()) / frames.sizes - BINDING
    # With any zero of energy, energies are not far above those of free atoms.
    causes = {
        int(index): ('an energy that is impossible for these elements', f'{per_atom[index]:.4g} eV/atom')
        for index in np.flatnonzero((per_atom > ENERGY_WINDOW[1]) | (per_atom < lowest))
    }
    references = robust_references(table, frames.energy)
    excess = per_atom - (_medians(table, per_atom) if references is None else table @ references / frames.sizes)
    for index in np.flatnonzero((excess < ENERGY_WINDOW[0]) | (excess > ENERGY_WINDOW[1])).tolist():
        cause = 'an energy that contradicts most other frames'
        causes.setdefault(index, (cause, f'{excess[index]:+.4g} eV/atom'))
    return causes


def _medians(table: npt.NDArray[np.integer], per_atom: FloatArray) -> FloatArray:
    """Return for each frame (n,) the median energy per atom over the frames of the same composition."""
    reduced = table // np.gcd.reduce(table, axis=1)[:, None]
    _, groups = np.unique(reduced, axis=0, return_inverse=True)
    groups = groups.reshape(-1)
    medians = np.empty(len(per_atom))
    for group in np.unique(groups):
        medians[groups == group] = np.median(per_atom[groups == group])
    return medians


def _stresses(frames: Frames) -> dict[int, tuple[str, str]]:
    """Return the frames with a stress larger than any solid's, or all of them when most stresses are large."""
    if frames.stress is None:
        return {}
    largest, virials = _virials(frames)
    present = virials[virials > 0]
    if len(present) and np.median(present) > MAX_MEDIAN_VIRIAL:
        units = ', '.join(_likely_units(float(np.median(present))))
        cause = (
            f'stresses too large for eV/Å³, likely in {units} or virials (`--virial-key`): convert them, or leave them '
            'out with `--no-stress`'
        )
        # The unit is wrong in all frames, also where the stress is small.
        return {index: (cause, f'up to {value:.4g}') for index, value in enumerate(largest.tolist())}
    return {
        int(index): (
            'an implausible stress',
            f'{largest[index]:.4g} eV/Å³, {largest[index] / STRESS_UNITS["GPa"]:.0f} GPa',
        )
        for index in np.flatnonzero(virials > MAX_VIRIAL)
    }


def _virials(frames: Frames) -> tuple[FloatArray, FloatArray]:
    """Return the largest component (n,) of each stress in eV/Å³, and that times the volume per atom (n,) in eV."""
    assert frames.stress is not None
    largest = np.abs(frames.stress).max(axis=1)
    volumes = np.where(frames.pbc.any(axis=1), np.abs(np.linalg.det(frames.cells)), 0.0)
    return largest, largest * volumes / frames.sizes


def _likely_units(virial: float) -> list[str]:
    """Return the two largest units in which a number read as ``virial`` eV/atom is plausible."""
    return [unit for unit, factor in STRESS_UNITS.items() if virial * factor <= MAX_MEDIAN_VIRIAL][:2]
