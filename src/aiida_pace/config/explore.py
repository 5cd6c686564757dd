"""Molecular-dynamics walkers, and the stages they pass."""

from __future__ import annotations

import typing as t

from pydantic import Field, model_validator

from aiida_pace.config.base import Config

__all__ = (
    'MdConfig',
    'StageConfig',
)


class MdConfig(Config):
    """One molecular-dynamics walker watched by the extrapolation grade.

    The default thresholds are for small cells (some 8 to 16 atoms); for large ones collect above 5 and halt above 25.
    """

    ensemble: t.Literal['nvt', 'npt'] = Field(
        default='nvt', description='Constant volume, or constant pressure with a cell that changes.'
    )
    temperature_start: float = Field(default=300.0, gt=0, le=100_000, description='Temperature at the start, in K.')
    temperature_stop: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        description='Temperature at the end, in K, reached linearly; without this setting the temperature is constant.',
    )
    pressure_start: float | None = Field(
        default=None, ge=-1000, le=10_000, description='Pressure at the start, in GPa; only `npt`, 0 there.'
    )
    pressure_stop: float | None = Field(
        default=None,
        ge=-1000,
        le=10_000,
        description='Pressure at the end, in GPa, reached linearly; only `npt`; without this setting the pressure is '
        'constant.',
    )
    barostat: t.Literal['iso', 'aniso', 'tri'] = Field(
        default='aniso',
        description='Change of the cell in `npt`: volume (`iso`), edges (`aniso`), or edges and angles (`tri`).',
    )
    steps: int = Field(
        default=1000, ge=1, le=1_000_000_000, description='Number of steps; a multiple of `grade_stride`.'
    )
    timestep: float = Field(default=1.0, gt=0, le=20, description='Length of a step, in fs.')
    temperature_damping: float = Field(
        default=100.0, gt=0, le=1e6, description='Relaxation time of the thermostat, in fs.'
    )
    pressure_damping: float = Field(default=1000.0, gt=0, le=1e6, description='Relaxation time of the barostat, in fs.')
    collect_grade: float = Field(
        default=2.0, gt=0, le=1e12, description='Frames with an extrapolation grade of this or more are collected.'
    )
    halt_grade: float = Field(
        default=10.0, gt=0, le=1e12, description='The run ends when the extrapolation grade exceeds this number.'
    )
    grade_stride: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description='Number of steps between two evaluations of the grade, and between two lines of thermo data.',
    )
    collect_stride: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000,
        description='Number of steps between two collected frames, a multiple of `grade_stride`; without one, that.',
    )
    max_collected: int = Field(
        default=100,
        ge=2,
        le=10_000,
        description='Largest number of collected frames kept, evenly spaced; the halting one always.',
    )
    samples: int = Field(
        default=20,
        ge=0,
        le=10_000,
        description='Largest number of frames of any grade kept, evenly spaced over all steps.',
    )

    @model_validator(mode='after')
    def _check(self) -> MdConfig:
        """Refuse settings that contradict each other or would have no effect."""
        if self.collect_grade >= self.halt_grade:
            raise ValueError(f'`collect_grade` {self.collect_grade} must be below `halt_grade` {self.halt_grade}')
        if self.ensemble == 'nvt' and (self.pressure_start, self.pressure_stop) != (None, None):
            raise ValueError('`pressure_start` and `pressure_stop` need `ensemble: npt`')
        for name in ('steps', 'collect_stride'):
            if (getattr(self, name) or 0) % self.grade_stride:
                raise ValueError(f'`{name}` {getattr(self, name)} must be a multiple of `grade_stride`')
        for name in ('temperature_damping', 'pressure_damping'):
            if getattr(self, name) < 10 * self.timestep:
                raise ValueError(f'`{name}` {getattr(self, name)} fs must be 10 steps or more')
        return self


class StageConfig(Config):
    """One stage of a campaign: what its walkers must come through; what is not given is as in `MdConfig`."""

    temperature: float = Field(gt=0, le=100_000, description='Temperature that the walkers end at, in K.')
    pressure: float | None = Field(
        default=None,
        ge=-1000,
        le=10_000,
        description='Pressure that the walkers end at, in GPa, with a cell that changes.',
    )
    steps: int | None = Field(default=None, ge=1, le=1_000_000_000, description='Number of steps of each walker.')
    structures: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description='Names of the structures that the walkers start from, such as large cells in the last stage; '
        'empty for all.',
    )
    collect_grade: float | None = Field(
        default=None, gt=0, le=1e12, description='Frames with an extrapolation grade of this or more are collected.'
    )
    halt_grade: float | None = Field(
        default=None,
        gt=0,
        le=1e12,
        description='A walker ends when the extrapolation grade exceeds this number; large cells need a higher number.',
    )

    def md(self, base: MdConfig) -> MdConfig:
        """Return the settings of the walkers of this stage.

        :raises ValidationError: when they contradict each other.
        """
        names = ('steps', 'collect_grade', 'halt_grade')
        changes: dict[str, t.Any] = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        changes['temperature_stop'] = self.temperature
        if self.pressure is not None:
            changes |= {'ensemble': 'npt', 'pressure_stop': self.pressure}
        return MdConfig.model_validate(base.model_dump() | changes)
