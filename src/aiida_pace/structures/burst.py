"""Candidates around one structure, from short bursts of hot molecular dynamics."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from aiida_pace.frames import Frames
from aiida_pace.structures.guards import closest_approach
from aiida_pace.structures.swarm import displaced

__all__ = ('Bursts', 'burst_swarm')

#: Largest number of candidates from one burst: more of them would hardly differ.
PER_BURST = 4

#: Bursts that stop early are replaced, up to this many times the number of bursts that are needed.
PATIENCE = 2

#: Relaxation time of the thermostat, in fs.
RELAXATION = 50.0

#: A burst has exploded when the kinetic energy of an atom is this many times the mean at the temperature: no atom
#: reaches that by chance, nor by the strain energy of a structure, which is a few eV per atom at most.
EXPLODED = 100.0


@dataclasses.dataclass(frozen=True, eq=False)
class Bursts:
    """The result of the bursts.

    :param frames: the candidates, origin ``swarm/burst``.
    :param stopped: number of bursts that stopped early by cause: ``short_distance``, ``not_finite`` or ``exploded``.
    """

    frames: Frames
    stopped: Counter[str]


def burst_swarm(
    atoms: Atoms,
    count: int,
    calculator: Calculator,
    rng: np.random.Generator,
    *,
    temperature: float,
    steps: int,
    timestep: float,
    closest: float = 0.7,
) -> Bursts:
    """Return up to ``count`` structures from short runs of molecular dynamics with different initial velocities.

    A burst is Langevin dynamics of ``steps`` steps at constant volume, and gives up to `PER_BURST` candidates, evenly
    spaced, the last at the end. A burst stops early, and keeps the candidates so far, when a distance is too short, a
    force is not finite or the dynamics explodes; then other bursts follow, see `PATIENCE`.

    :param calculator: gives the forces; raises ValueError when a force is not finite.
    :param temperature: in K.
    :param timestep: in fs.
    :param closest: no distance is below this times the sum of the two covalent radii.
    """
    images: list[Atoms] = []
    stopped: Counter[str] = Counter()
    for _ in range(PATIENCE * -(-count // PER_BURST)):
        wanted = min(PER_BURST, steps, count - len(images))
        if wanted < 1:
            break
        found, cause = _burst(
            atoms,
            {steps * (k + 1) // wanted for k in range(wanted)},
            calculator,
            rng,
            temperature=temperature,
            timestep=timestep,
            closest=closest,
        )
        images += found
        stopped.update([cause] if cause else [])
    return Bursts(Frames.from_atoms(images, origin='swarm/burst'), stopped)


def _burst(
    atoms: Atoms,
    taken: set[int],
    calculator: Calculator,
    rng: np.random.Generator,
    *,
    temperature: float,
    timestep: float,
    closest: float,
) -> tuple[list[Atoms], str | None]:
    """Return the structures after the steps ``taken`` of one burst, and the cause of an early stop or None."""
    from ase.md.langevin import Langevin  # a second to import
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    moving = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    moving.calc = calculator
    MaxwellBoltzmannDistribution(moving, temperature_K=temperature, rng=rng)
    dynamics = Langevin(
        moving,
        timestep=timestep * units.fs,
        temperature_K=temperature,
        friction=1 / (RELAXATION * units.fs),
        fixcm=False,
        rng=rng,
    )
    limit = EXPLODED * 1.5 * units.kB * temperature
    images: list[Atoms] = []
    for step in range(max(taken) + 1):
        if closest_approach(moving.numbers, moving.positions, moving.cell.array, moving.pbc, closest) < closest:
            return images, 'short_distance'
        if step in taken:
            images.append(displaced(atoms, moving.positions))
        if step == max(taken):
            break
        try:
            dynamics.step()
        except ValueError:
            return images, 'not_finite'
        energies = np.einsum('ix,ix,i->i', *[moving.get_velocities()] * 2, moving.get_masses()) / 2
        if not np.all(energies <= limit):
            return images, 'not_finite' if not np.all(np.isfinite(energies)) else 'exploded'
    return images, None
