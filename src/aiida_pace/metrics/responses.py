"""The response of a crystal to small strains: forces, internal relaxation, independent elastic constants."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from ase.units import GPa

from aiida_pace.metrics.properties import ENGINEERING, PropertyError
from aiida_pace.structures.crystal import SpaceGroup

__all__ = ('fit_force_response', 'independent_constants', 'internal_relaxation')

FloatArray = npt.NDArray[np.float64]

#: Least curvature of an optical mode, relative to the hardest mode, of a stable crystal.
SOFTEST = 1e-4


def fit_force_response(strains: npt.ArrayLike, forces: npt.ArrayLike, group: SpaceGroup) -> FloatArray:
    """Return the forces Λ (3N, 6) by strain, in eV/Å: least squares of force = force at rest + Λ · strain.

    :param strains: (m, 6) in Voigt order, shears as engineering strains (2 ε_yz, ...).
    :param forces: (m, N, 3) in eV/Å on atoms at the same fractional coordinates.
    :param group: the space group of the crystal at rest; the images of every frame are added.
    :raises PropertyError: when the strains do not determine the response.
    """
    strain, force = np.asarray(strains, dtype='f8'), np.asarray(forces, dtype='f8')
    tensors = voigt_6_to_full_3x3_stress(strain / ENGINEERING)
    images = np.einsum('kab,mbc,kdc->kmad', group.rotations, tensors, group.rotations)
    image_strains = full_3x3_to_voigt_6_stress(images.reshape(-1, 3, 3)) * ENGINEERING
    # Atom n is mapped to permutation[n]; the atom that arrives at each place is given by the inverse permutation.
    arriving = np.argsort(group.permutations, axis=1)
    image_forces = np.einsum('kab,mknb->kmna', group.rotations, force[:, arriving])
    scale = np.abs(strain).max(initial=0.0) or 1.0
    design = np.column_stack([image_strains, np.full(len(image_strains), scale)])
    solution, _, rank, _ = np.linalg.lstsq(design, image_forces.reshape(len(design), -1), rcond=1e-8)
    if rank < 7:
        raise PropertyError(
            'the strains do not determine the forces under strain: add strains of both signs along other components'
        )
    return np.asarray(solution[:6].T)


def internal_relaxation(response: npt.ArrayLike, hessian: npt.ArrayLike, volume: float) -> FloatArray:
    """Return the contribution (6, 6) of internal relaxation to elastic constants, in GPa: Λᵀ Φ⁻¹ Λ / V.

    To be subtracted from constants at fixed fractional coordinates (Born and Huang, Dynamical Theory of Crystal
    Lattices (1954), section 11; Wu, Vanderbilt and Hamann, Phys. Rev. B 72, 035105 (2005), eq. 21).

    :param response: (3N, 6) derivatives Λ of the forces by strain in eV/Å, of `fit_force_response`.
    :param hessian: (3N, 3N) second derivatives Φ of the energy of the primitive cell by displacements, in eV/Å².
    :param volume: of the cell, in Å³.
    :raises PropertyError: when the crystal is not stable against displacements of its atoms.
    """
    force, matrix = np.asarray(response, dtype='f8'), np.asarray(hessian, dtype='f8')
    count = len(matrix) // 3
    if count == 1:
        return np.zeros((6, 6))
    # Uniform displacements of all atoms do not change the energy: they are projected out.
    uniform = np.tile(np.eye(3), (count, 1)) / np.sqrt(count)
    internal = np.linalg.svd(uniform, full_matrices=True)[0][:, 3:]
    matrix = internal.T @ (matrix + matrix.T) / 2 @ internal
    curvatures = np.linalg.eigvalsh(matrix)
    if curvatures[0] <= SOFTEST * np.abs(curvatures).max():
        raise PropertyError(
            f'the crystal is not stable: the curvature of the energy is {curvatures[0]:.3g} eV/Å² along a displacement '
            'of the atoms in the cell, so the internal relaxation under strain is not determined'
        )
    projected = internal.T @ force
    return np.asarray(projected.T @ np.linalg.solve(matrix, projected) / volume / GPa)


def independent_constants(rotations: npt.ArrayLike) -> list[tuple[int, int]]:
    """Return the first independent elastic constants of a point group, as (row, column) in Voigt order.

    :param rotations: (k, 3, 3) Cartesian point group; the 48 operations of a cubic crystal give C11, C12, C44.
    """
    operations = np.asarray(rotations, dtype='f8')
    units = voigt_6_to_full_3x3_stress(np.eye(6))
    images = np.einsum('kab,mbc,kdc->kmad', operations, units, operations)
    # Column m of each matrix is the image of the unit stress m; constants are transformed from both sides.
    turns = np.swapaxes(full_3x3_to_voigt_6_stress(images.reshape(-1, 3, 3)).reshape(-1, 6, 6), 1, 2)
    averages = np.einsum('kab,kcd->acbd', turns, turns) / len(operations)
    averages = averages + np.swapaxes(averages, 2, 3)
    independent: list[tuple[int, int]] = []
    rows: list[FloatArray] = []
    for row, column in zip(*np.triu_indices(6), strict=True):
        candidate = [*rows, averages[row, column].reshape(-1)]
        if np.linalg.matrix_rank(np.array(candidate), tol=1e-6) == len(candidate):
            rows = candidate
            independent.append((int(row), int(column)))
    return independent
