"""Properties of crystals from energies and stresses of strained frames: equation of state, elastic constants."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from ase.eos import EquationOfState as AseEquationOfState
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from ase.units import GPa

__all__ = (
    'EquationOfState',
    'PropertyError',
    'fit_elastic_constants',
    'fit_equation_of_state',
)

FloatArray = npt.NDArray[np.float64]

#: An equation of state has four parameters; one volume more shows whether it fits.
MIN_VOLUMES = 5

#: From strain to engineering strain: shears count twice.
ENGINEERING = np.array([1, 1, 1, 2, 2, 2], dtype='f8')


class PropertyError(ValueError):
    """Arrays that do not determine the property: the message is one sentence with the remedy."""


@dataclasses.dataclass(frozen=True)
class EquationOfState:
    """Energy against volume.

    :param volume: at the lowest energy, in the unit of the volumes (Å³, or Å³/atom).
    :param energy: at that volume, in eV (or eV/atom).
    :param bulk_modulus_gpa: at that volume, in GPa.
    :param derivative: of the bulk modulus by the pressure, at that volume; without unit.
    :param residual: root mean square deviation of the energies from the curve, in eV (or eV/atom).
    """

    volume: float
    energy: float
    bulk_modulus_gpa: float
    derivative: float
    residual: float

    def lattice_constant(self, volume: float, constant: float) -> float:
        """Return the lattice constant in Å at the lowest energy, of a crystal that has ``constant`` at ``volume``."""
        return float(constant * (self.volume / volume) ** (1 / 3))


def fit_equation_of_state(volumes: npt.ArrayLike, energies: npt.ArrayLike) -> EquationOfState:
    """Fit the third-order Birch-Murnaghan equation (Birch, Phys. Rev. 71, 809 (1947); `ase.eos`).

    :param volumes: (n,) in Å³, or all in Å³/atom.
    :param energies: (n,) in eV, or all in eV/atom.
    :raises PropertyError: with fewer than `MIN_VOLUMES` volumes, numbers that are not finite, or no minimum of the
        energy within the volumes.
    """
    v, e = np.asarray(volumes, dtype='f8'), np.asarray(energies, dtype='f8')
    if v.ndim != 1 or v.shape != e.shape or len(np.unique(v)) < MIN_VOLUMES:
        raise PropertyError(
            f'there are {len(np.unique(v))} volumes and {e.size} energies for the equation of state: give one energy '
            f'for each of {MIN_VOLUMES} volumes or more'
        )
    if not (np.isfinite(v).all() and np.isfinite(e).all() and (v > 0).all()):
        raise PropertyError('a volume is not a finite number above 0, or an energy is not finite: leave that frame out')
    # Scaled, because the fit compares steps with the size of the parameters, and total energies are large.
    unit = v.mean()
    shift, height = e.min(), np.ptp(e) or 1.0
    curve = AseEquationOfState(v / unit, (e - shift) / height, eos='birchmurnaghan')
    try:
        volume, energy, modulus = curve.fit(warn=False)
    except RuntimeError as exception:
        raise PropertyError(f'no equation of state fits the energies ({exception}): check the energies') from exception
    if not v.min() < volume * unit < v.max() or modulus <= 0:
        raise PropertyError(
            f'the energies have no minimum between {v.min():.4g} and {v.max():.4g} Å³: choose volumes around it'
        )
    residuals = curve.func(curve.v, *curve.eos_parameters) - curve.e
    return EquationOfState(
        volume=float(volume * unit),
        energy=float(energy * height + shift),
        bulk_modulus_gpa=float(modulus * height / unit / GPa),
        derivative=float(curve.eos_parameters[2]),
        residual=float(np.sqrt(np.mean(residuals**2)) * height),
    )


def fit_elastic_constants(
    strains: npt.ArrayLike, stresses: npt.ArrayLike, rotations: npt.ArrayLike | None = None
) -> FloatArray:
    """Return the elastic constants (6, 6) in GPa: least squares of stress = stress at rest + C · strain, C symmetric.

    Strains of both signs in equal number cancel the quadratic terms. With ``rotations``, the images of every strain and
    stress under the point group are added, so that the result has the symmetry of the crystal, and few strains are
    enough: one pattern for a cubic crystal (de Jong et al., Sci. Data 2, 150009 (2015)). Constants of crystals with
    free internal coordinates need atoms relaxed under each strain.

    :param strains: (m, 6) in Voigt order xx yy zz yz xz xy, shears as engineering strains (2 ε_yz, ...).
    :param stresses: (m, 6) in eV/Å³, same order, ASE's sign (positive under tension).
    :param rotations: (k, 3, 3) Cartesian point group, such as `SpaceGroup.rotations`; None for no symmetry.
    :raises PropertyError: when shapes or numbers are wrong, or the strains do not determine all constants.
    """
    strain, stress = np.asarray(strains, dtype='f8'), np.asarray(stresses, dtype='f8')
    if strain.ndim != 2 or strain.shape[1:] != (6,) or strain.shape != stress.shape:
        raise PropertyError(f'strains {strain.shape} and stresses {stress.shape} must both be of shape (m, 6)')
    if not (np.isfinite(strain).all() and np.isfinite(stress).all()):
        raise PropertyError('a strain or a stress is not finite: leave that frame out')
    if rotations is not None:
        operations = np.asarray(rotations, dtype='f8')
        strain = _rotated(strain / ENGINEERING, operations) * ENGINEERING
        stress = _rotated(stress, operations)
    rows, columns = np.triu_indices(6)
    # Unknowns: 21 constants, then the 6 stresses at rest; one equation for each component of each stress.
    design = np.zeros((len(strain), 6, 27))
    for number, (row, column) in enumerate(zip(rows, columns, strict=True)):
        design[:, row, number] = strain[:, column]
        design[:, column, number] = strain[:, row]
    # Scaled to the strains, so that the rank does not depend on their size.
    scale = np.abs(strain).max(initial=0.0) or 1.0
    design[:, range(6), range(21, 27)] = scale
    solution, _, rank, _ = np.linalg.lstsq(design.reshape(-1, 27), stress.reshape(-1), rcond=1e-8)
    if rank < 27:
        raise PropertyError(
            'the strains do not determine all elastic constants: add strains of both signs along other components, '
            'or give the `rotations` of the point group'
        )
    constants = np.zeros((6, 6))
    constants[rows, columns] = constants[columns, rows] = solution[:21] / GPa
    return constants


def _rotated(tensors: FloatArray, rotations: FloatArray) -> FloatArray:
    """Return the images (k * m, 6) of symmetric tensors (m, 6), in Voigt order without factors of 2."""
    full = voigt_6_to_full_3x3_stress(tensors)
    images = np.einsum('kab,mbc,kdc->kmad', rotations, full, rotations)
    return np.asarray(full_3x3_to_voigt_6_stress(images.reshape(-1, 3, 3)))
