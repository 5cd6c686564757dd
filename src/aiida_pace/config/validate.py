"""Properties of crystals against DFT."""

from __future__ import annotations

import typing as t

from pydantic import Field

from aiida_pace.config.base import Config

__all__ = (
    'PropertyTolerances',
    'ValidationConfig',
)


Repetitions = t.Annotated[int, Field(ge=1, le=10)]


class ValidationConfig(Config):
    """Which properties of a crystal are compared with DFT, and from which frames."""

    elastic_constants: bool = Field(default=True, description='Compute elastic constants, atoms relaxed under strain.')
    phonons: bool = Field(default=True, description='Compute phonon frequencies.')
    volume_range: float = Field(
        default=0.06,
        gt=0,
        le=0.3,
        description='The volumes of the equation of state range from 1 - this to 1 + this times the volume of the '
        'structure.',
    )
    volume_count: int = Field(default=7, ge=5, le=101, description='Number of volumes of the equation of state.')
    strain: float = Field(default=0.005, gt=0, le=0.03, description='Strain of the frames for the elastic constants.')
    displacement: float = Field(
        default=0.03, gt=0, le=0.1, description='Displacement of the atoms for the phonons, in Å.'
    )
    supercell: tuple[Repetitions, Repetitions, Repetitions] = Field(
        default=(2, 2, 2),
        strict=False,
        description='Number of primitive cells along each vector of the supercell, for phonons.',
    )
    qpoints: tuple[str, ...] | None = Field(
        default=None,
        strict=False,
        description='Special points of the lattice at which phonons are computed, by the names of ASE (G is Γ); null '
        'for all that the supercell has exactly.',
    )
    symmetry_tolerance: float = Field(default=1e-3, gt=0, le=0.1, description='Tolerance of symmetry, in Å.')


class PropertyTolerances(Config):
    """How far a property may be from that of DFT; null for one that is reported but not judged."""

    lattice_constant: float | None = Field(
        default=0.1, gt=0, le=1000, description='Tolerance of the lattice constant, in %.'
    )
    bulk_modulus: float | None = Field(default=2.0, gt=0, le=1000, description='Tolerance of the bulk modulus, in %.')
    elastic_constants: float | None = Field(
        default=5.0,
        gt=0,
        le=1000,
        description='Tolerance of each elastic constant, in %; of a tenth of the largest one where the constant is '
        'smaller.',
    )
    phonons: float | None = Field(default=0.2, gt=0, le=1000, description='Tolerance of each phonon frequency, in THz.')
