"""Phonons from the forces of displaced frames, with phonopy."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from ase import Atoms

from aiida_pace.config import ValidationConfig
from aiida_pace.metrics.properties import PropertyError
from aiida_pace.structures.deformations import phonopy_of

if t.TYPE_CHECKING:
    from phonopy import Phonopy

__all__ = ('gamma_hessian', 'phonon_frequencies', 'phonons_from_forces')

FloatArray = npt.NDArray[np.float64]


def phonons_from_forces(crystal: Atoms, config: ValidationConfig, forces: npt.ArrayLike) -> Phonopy:
    """Return phonopy with force constants that obey the acoustic sum rule.

    :param forces: (m, n, 3) in eV/Å, of the frames of ``displaced_frames`` in their order.
    :raises PropertyError: when the forces have another shape.
    """
    phonons = phonopy_of(crystal, config)
    values = np.asarray(forces, dtype='f8')
    expected = (len(phonons.supercells_with_displacements or []), len(phonons.supercell), 3)
    if values.shape != expected:
        raise PropertyError(f'the forces have the shape {values.shape}, expected {expected}: give those of all frames')
    phonons.forces = values
    phonons.produce_force_constants(show_drift=False)
    phonons.symmetrize_force_constants(show_drift=False)
    return phonons


def phonon_frequencies(phonons: Phonopy, points: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return the frequencies (3N,) in THz at each point, rising; imaginary ones are negative.

    The splitting at Γ by the electric field of polar crystals is left out.

    :param points: in units of the reciprocal vectors of the primitive cell.
    """
    phonons.run_qpoints(np.reshape(list(points.values()), (-1, 3)))
    return dict(zip(points, phonons.get_qpoints_dict()['frequencies'], strict=True))


def gamma_hessian(phonons: Phonopy) -> FloatArray:
    """Return the Hessian (3N, 3N) of the energy of the primitive cell, in eV/Å²."""
    phonons.run_qpoints(np.zeros((1, 3)), with_dynamical_matrices=True)
    matrices = phonons.get_qpoints_dict()['dynamical_matrices']
    assert matrices is not None, '`with_dynamical_matrices` is set'
    masses = np.sqrt(np.repeat(phonons.primitive.masses, 3))
    return np.asarray(np.real(matrices[0]) * np.outer(masses, masses))
