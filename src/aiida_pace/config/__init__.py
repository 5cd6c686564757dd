"""Everything a user can set, as strict pydantic models by step; units are in the descriptions."""

from __future__ import annotations

from aiida_pace.config.base import CLOSEST, Config, config_error
from aiida_pace.config.explore import MdConfig, StageConfig
from aiida_pace.config.initial import InitialSetConfig
from aiida_pace.config.judge import AuditConfig, GrowthConfig, StopConfig
from aiida_pace.config.label import CalculatorConfig
from aiida_pace.config.select import EmbeddingConfig, GuardConfig, SwarmConfig
from aiida_pace.config.training import TrainingConfig
from aiida_pace.config.validate import PropertyTolerances, ValidationConfig

__all__ = (
    'CLOSEST',
    'AuditConfig',
    'CalculatorConfig',
    'Config',
    'EmbeddingConfig',
    'GrowthConfig',
    'GuardConfig',
    'InitialSetConfig',
    'MdConfig',
    'PropertyTolerances',
    'StageConfig',
    'StopConfig',
    'SwarmConfig',
    'TrainingConfig',
    'ValidationConfig',
    'config_error',
)
