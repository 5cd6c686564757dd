"""`PaceSwarmParser`: reads what ``pace-swarm`` wrote."""

from __future__ import annotations

from aiida_pace.calculations.swarm import PaceSwarmCalculation, frames_of
from aiida_pace.frames import Frames
from aiida_pace.parsers.engine import PaceFramesParser

__all__ = ('PaceSwarmParser',)


class PaceSwarmParser(PaceFramesParser):
    """Parser of `PaceSwarmCalculation`."""

    CACHE_VERSION = 2
    CALCULATION = PaceSwarmCalculation
    EMPTY = ('ERROR_SWARM_EMPTY', 'missing')

    def given(self) -> Frames:
        """Return the frames of all data sets that candidates were made around."""
        inputs = self.node.inputs
        return frames_of(dict(inputs.datasets), inputs.indices.get_dict() if 'indices' in inputs else None)
