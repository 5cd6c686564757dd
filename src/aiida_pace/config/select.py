"""Candidates around halted frames: embedding, swarm and guards."""

from __future__ import annotations

import typing as t

from pydantic import Field, model_validator

from aiida_pace.config.base import Config, Share

__all__ = (
    'EmbeddingConfig',
    'GuardConfig',
    'SwarmConfig',
)


#: What takes the place of a setting that all three models had.
CLOSEST_IS_ONE = {'closest': 'the input `closest`, one for all steps of a campaign'}


class GuardConfig(Config):
    """Which candidates are fit for DFT, and new."""

    RENAMED: t.ClassVar = CLOSEST_IS_ONE

    distinct: float = Field(
        default=0.02,
        gt=0,
        le=1,
        description='Candidates are the same as each other, or as labelled frames, when their distances agree to this '
        'length, in Å.',
    )
    energy_window: float | None = Field(
        default=10.0,
        gt=0,
        le=1e6,
        description='Largest difference between the energy of a candidate under the potential and the median of the '
        'frames that its walker visited, in eV/atom; null for none. Keep it wide: a potential that extrapolates errs '
        'by eV/atom.',
    )
    max_grade: float | None = Field(
        default=None,
        gt=0,
        le=1e12,
        description='Candidates with a higher extrapolation grade are rejected; null for none. Early grades run into '
        'the thousands on harmless frames.',
    )


class SwarmConfig(Config):
    """Candidates around one halted structure."""

    RENAMED: t.ClassVar = CLOSEST_IS_ONE

    count: int = Field(default=20, ge=0, le=1000, description='Number of candidates around each halted frame.')
    shares: dict[str, Share] = Field(
        default={'rattle': 2, 'burst': 1, 'modes': 1},
        description='Share of each kind of candidates, in any unit: random displacements (`rattle`), short bursts of '
        'molecular dynamics (`burst`), displacements along normal modes (`modes`). Kinds that are not named have none; '
        'random displacements make up for candidates of the other kinds that cannot be made.',
    )
    amplitude: float = Field(
        default=0.18, gt=0, le=1, description='Standard deviation of the random displacements, in Å.'
    )
    burst_temperature: float = Field(default=1500.0, gt=0, le=100_000, description='Temperature of the bursts, in K.')
    burst_steps: int = Field(
        default=200, ge=1, le=10_000, description='Number of steps of a burst, from which come up to four candidates.'
    )
    burst_timestep: float = Field(default=1.0, gt=0, le=20, description='Length of a step of a burst, in fs.')
    mode_temperature: float = Field(
        default=1000.0,
        gt=0,
        le=100_000,
        description='Temperature that sets the amplitudes along the normal modes, in K.',
    )
    max_mode_atoms: int = Field(
        default=128,
        ge=1,
        le=10_000,
        description='Larger frames get random displacements in place of normal modes, which take 6 evaluations of the '
        'potential per atom.',
    )

    @model_validator(mode='after')
    def _check_shares(self) -> SwarmConfig:
        """Refuse unknown kinds and shares that are all 0."""
        kinds = list(SwarmConfig.model_fields['shares'].default)
        if unknown := sorted(set(self.shares) - set(kinds)):
            raise ValueError(f'`shares` names the unknown kind `{unknown[0]}`; the kinds are: {", ".join(kinds)}')
        if not any(self.shares.values()):
            raise ValueError('`shares` are all 0: give at least one above 0')
        return self


class EmbeddingConfig(Config):
    """Large frames cut down to periodic boxes that DFT can pay for."""

    RENAMED: t.ClassVar = CLOSEST_IS_ONE

    max_dft_atoms: int = Field(
        default=64,
        ge=8,
        le=1000,
        description='Frames with more atoms are replaced by a box of at most this many around the atom of highest '
        'extrapolation grade.',
    )
    relaxation_steps: int = Field(
        default=100,
        ge=0,
        le=10_000,
        description='Largest number of steps in which the atoms beyond the cutoff from the core follow the forces of '
        'the potential; 0 leaves them where they were.',
    )
    force_tolerance: float = Field(
        default=0.5, gt=0, le=100, description='The relaxation ends when no force on these atoms is larger, in eV/Å.'
    )
    grade_tolerance: float = Field(
        default=0.01,
        gt=0,
        le=10,
        description='Largest difference between the grades of a core atom in the large cell and in the box, relative '
        'to the grade or, below 1, to 1.',
    )
