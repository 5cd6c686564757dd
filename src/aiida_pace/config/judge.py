"""When a campaign ends, what it is judged by, and what it does where the error is above the target."""

from __future__ import annotations

import typing as t

from pydantic import Field

from aiida_pace.config.base import Config

__all__ = (
    'AuditConfig',
    'GrowthConfig',
    'StopConfig',
)


class AuditConfig(Config):
    """The audit: frames drawn at random from the MD below the halt threshold, labelled, never trained on."""

    count: int = Field(default=5, ge=1, le=1000, description='Number of frames drawn in each cycle.')
    large_atoms: int = Field(
        default=32, ge=2, le=1_000_000, description='Cells with at least this many atoms count as large.'
    )
    reserved_share: float = Field(
        default=0.2,
        ge=0,
        le=0.5,
        description='Smallest share of the audit frames for small cells, and for large cells, if there are enough.',
    )
    pooling: t.Literal['potential', 'stage'] = Field(
        default='potential',
        description='Audit frames that judge the current potential: those of the MD of this potential '
        '(`potential`: unbiased, few), or all of the stage, evaluated again with this potential (`stage`: more, '
        'rather too strict).',
    )
    confidence: float = Field(
        default=0.95,
        gt=0.5,
        lt=1,
        description='Probability that the interval of the audit error contains the true error.',
    )


class StopConfig(Config):
    """When a campaign ends."""

    quiet_rounds: int = Field(
        default=2,
        ge=1,
        le=1000,
        description='A stage is passed when every walker finished in this many consecutive cycles, under the same '
        'potential.',
    )
    target: float = Field(
        default=0.1, gt=0, le=100, description='Target of the force RMSE of the audit, over components, in eV/Å.'
    )
    min_audit: int = Field(
        default=10,
        ge=1,
        le=10_000,
        description='Smallest number of audit frames for a judgement of the audit error.',
    )
    judged_by: t.Literal['estimate', 'upper'] = Field(
        default='estimate',
        description='Quantity that must not exceed the target: the audit error, or the upper limit of the confidence '
        'interval, which takes some 20 to 40 audit frames.',
    )
    patience: int = Field(
        default=5,
        ge=1,
        le=10_000,
        description='The campaign stops after this many cycles without improvement of the audit error.',
    )
    min_improvement: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description='The audit error has improved when it is lower than the best of its stage by this share of that.',
    )
    max_cycles: int = Field(default=50, ge=1, le=10_000, description='Largest number of exploration cycles.')
    max_core_hours: float | None = Field(
        default=None, gt=0, le=1e9, description='The campaign stops after this many core-hours of DFT; null: no limit.'
    )


class GrowthConfig(Config):
    """What is done when the walkers are quiet and the error is above the target: first more data, then more basis."""

    frames: int = Field(
        default=10,
        ge=0,
        le=1000,
        description='Number of frames, drawn at random from the quiet MD, that are labelled and trained on at a time, '
        'as long as that lowers the audit error; when it stalls, the basis grows. 0: the basis grows at once.',
    )
    factor: float = Field(default=1.5, ge=1, le=10, description='Growth of the number of functions in one step.')
    min_step: int = Field(
        default=25, ge=1, le=10_000, description='Functions that one step adds at least, per element.'
    )
    max_functions: int = Field(
        default=500,
        ge=1,
        le=10_000,
        description='Largest number of functions per element; the current number means no growth.',
    )
