"""`PaceSwarmParser`: reads what ``pace-swarm`` wrote."""

from __future__ import annotations

from aiida_pace.calculations.swarm import PaceSwarmCalculation
from aiida_pace.parsers.engine import PaceFramesParser

__all__ = ('PaceSwarmParser',)


class PaceSwarmParser(PaceFramesParser):
    """Parser of `PaceSwarmCalculation`."""

    CACHE_VERSION = 1
    CALCULATION = PaceSwarmCalculation
    EMPTY = ('ERROR_SWARM_EMPTY', 'missing')
