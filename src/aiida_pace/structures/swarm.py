"""Candidates around one structure: random displacements, and displacements along its normal modes.

Candidates have the weights of the structure (``force_weight`` of its atoms, ``weight`` of its energy), not its labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.units import kB
from scipy.linalg import null_space

from aiida_pace.frames import Frames
from aiida_pace.structures.guards import closest_approach

__all__ = (
    'displaced',
    'hessian_displacements',
    'hessian_from_forces',
    'mode_swarm',
    'normal_modes',
    'rattle_swarm',
)

FloatArray = npt.NDArray[np.float64]

#: Number of draws for a candidate without short distances, each with smaller displacements.
ATTEMPTS = 12


def displaced(atoms: Atoms, positions: FloatArray) -> Atoms:
    """Return the structure at other positions (N, 3) in Å, with its weights but without labels and grades."""
    image = Atoms(numbers=atoms.numbers, positions=positions, cell=atoms.cell, pbc=atoms.pbc)
    if 'force_weight' in atoms.arrays:
        image.set_array('force_weight', atoms.arrays['force_weight'])
    if 'weight' in atoms.info:
        image.info['weight'] = atoms.info['weight']
    return image


def rattle_swarm(
    atoms: Atoms, count: int, amplitude: float, rng: np.random.Generator, *, closest: float = 0.7
) -> Frames:
    """Return up to ``count`` copies of a structure with random displacements; their origin is ``swarm/rattle``.

    A copy with a short distance is drawn again with smaller displacements. Copies are missing only when
    the structure itself has, or nearly has, a short distance.

    :param amplitude: standard deviation of each component of the displacements, in Å.
    :param closest: no distance is below this times the sum of the two covalent radii.
    """
    return _swarm(
        atoms, [lambda: rng.normal(scale=amplitude, size=(len(atoms), 3))] * count, closest, origin='swarm/rattle'
    )


def hessian_displacements(atoms: Atoms, step: float = 0.01) -> Frames:
    """Return the 6 N structures whose forces give the Hessian: each coordinate moved by minus, then plus ``step`` Å."""
    images = []
    for coordinate in range(3 * len(atoms)):
        for sign in (-1, 1):
            image = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
            image.positions[coordinate // 3, coordinate % 3] += sign * step
            images.append(image)
    return Frames.from_atoms(images, origin='hessian')


def hessian_from_forces(forces: FloatArray, step: float) -> FloatArray:
    """Return the symmetric (3 N, 3 N) Hessian in eV/Å² by central differences.

    :param forces: of the structures of `hessian_displacements`, in their order, (6 N, N, 3) or flat, in eV/Å.
    :param step: displacement of the structures, in Å.
    :raises ValueError: when the number of forces is not 18 N² for any N.
    """
    count = round((np.size(forces) / 18) ** 0.5)
    if np.size(forces) != 18 * count**2:
        raise ValueError(f'{np.size(forces)} components of forces are not those of 6 N structures of N atoms')
    below, above = np.asarray(forces, dtype='f8').reshape(3 * count, 2, 3 * count).swapaxes(0, 1)
    hessian = (below - above) / (2 * step)
    return np.asarray((hessian + hessian.T) / 2)


def normal_modes(atoms: Atoms, hessian: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the normal modes without the rigid motions, unstable ones first, then from soft to hard.

    Rigid motions are the translations, and the rotations of a structure that is not periodic.

    :param hessian: (3 N, 3 N) in eV/Å².
    :returns: (m,) squared frequencies in eV/(Å² u), negative for unstable modes, and (m, N, 3) displacements in Å for
        a unit of the normal coordinate in Å √u.
    """
    roots = np.sqrt(atoms.get_masses())[:, None]
    rigid = [np.tile(axis, (len(atoms), 1)) * roots for axis in np.eye(3)]
    if not atoms.pbc.any():
        centred = atoms.positions - atoms.get_center_of_mass()
        rigid += [np.cross(axis, centred) * roots for axis in np.eye(3)]
    # Rotations of a linear molecule are linearly dependent: `null_space` finds the rank.
    free = null_space(np.reshape(rigid, (len(rigid), -1)), rcond=1e-8)
    scale = np.repeat(1 / roots[:, 0], 3)
    values, vectors = np.linalg.eigh(free.T @ (hessian * scale[:, None] * scale[None, :]) @ free)
    return values, ((free @ vectors).T * scale).reshape(-1, len(atoms), 3)


def mode_swarm(
    atoms: Atoms,
    count: int,
    hessian: FloatArray,
    temperature: float,
    rng: np.random.Generator,
    *,
    largest: float = 0.5,
    closest: float = 0.7,
) -> Frames:
    """Return up to ``count`` copies displaced along normal modes; their origin is ``swarm/modes``.

    The amplitudes are those of classical harmonic motion at the temperature. A mode that is unstable, or so soft that
    an atom would move by more than ``largest``, gets the amplitude that moves its foremost atom by ``largest``. Copies
    are displaced in turn along all modes at once and along a single mode, drawn with a probability proportional to its
    squared amplitude: soft and unstable modes are favoured. Copies are missing when there is no mode, as for one atom,
    or when the structure itself has, or nearly has, a short distance.

    :param hessian: (3 N, 3 N) in eV/Å².
    :param temperature: in K.
    :param largest: standard deviation of the foremost atom's displacement in the softest modes, in Å; displacements
        beyond three times this are scaled down to it.
    :param closest: no distance is below this times the sum of the two covalent radii.
    """
    values, vectors = normal_modes(atoms, hessian)
    if not len(values):
        return Frames.from_atoms([])
    foremost = np.linalg.norm(vectors, axis=-1).max(axis=-1)
    with np.errstate(divide='ignore'):
        thermal = np.where(values > 0, np.sqrt(kB * temperature / np.abs(values)), np.inf)
    amplitudes = np.minimum(thermal, largest / foremost)
    weights = (amplitudes * foremost) ** 2

    def along_all() -> FloatArray:
        return np.asarray(np.tensordot(amplitudes * rng.normal(size=len(values)), vectors, axes=1))

    def along_one() -> FloatArray:
        mode = rng.choice(len(values), p=weights / weights.sum())
        # Near the turning points, where a harmonic oscillator spends most of the time.
        return np.asarray(amplitudes[mode] * rng.choice((-1, 1)) * rng.uniform(0.7, 1.7) * vectors[mode])

    def limited(draw: Callable[[], FloatArray]) -> Callable[[], FloatArray]:
        def drawn() -> FloatArray:
            displacements = draw()
            farthest = float(np.linalg.norm(displacements, axis=1).max())
            return displacements * min(1.0, 3 * largest / max(farthest, 1e-12))

        return drawn

    draws = [limited(along_one if index % 2 else along_all) for index in range(count)]
    return _swarm(atoms, draws, closest, origin='swarm/modes')


def _swarm(atoms: Atoms, draws: Sequence[Callable[[], FloatArray]], closest: float, origin: str) -> Frames:
    """Return the structure displaced by each of ``draws``, without copies that have a short distance."""
    images = []
    for draw in draws:
        for attempt in range(ATTEMPTS):
            positions = atoms.positions + draw() * (1 - attempt / ATTEMPTS)
            if closest_approach(atoms.numbers, positions, atoms.cell.array, atoms.pbc, closest) >= closest:
                images.append(displaced(atoms, positions))
                break
    return Frames.from_atoms(images, origin=origin)
