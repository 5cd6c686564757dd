"""`PaceEmbedParser`: reads what ``pace-embed`` wrote."""

from __future__ import annotations

from aiida_pace.calculations.embed import PaceEmbedCalculation
from aiida_pace.parsers.engine import PaceFramesParser

__all__ = ('PaceEmbedParser',)


class PaceEmbedParser(PaceFramesParser):
    """Parser of `PaceEmbedCalculation`."""

    CACHE_VERSION = 1
    CALCULATION = PaceEmbedCalculation
    EMPTY = ('ERROR_EMBEDDING_EMPTY', 'failed')
