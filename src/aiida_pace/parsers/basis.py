"""`PaceBasisParser`: reads the basis that a fit would start with."""

from __future__ import annotations

import typing as t
from pathlib import Path

from aiida.engine import ExitCode

from aiida_pace.calculations.basis import PaceBasisCalculation
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.formats.pacemaker import last_exception
from aiida_pace.parsers.base import PaceParser, last_line

__all__ = ('PaceBasisParser',)


class PaceBasisParser(PaceParser):
    """Parser of `PaceBasisCalculation`.

    Evidence of success: the output says that the dry run is finished, and the file is a potential for just the elements
    that were asked for. Without that word, a Python exception in the output means that the basis was refused, anything
    else, that the code was cut short.
    """

    CACHE_VERSION = 1

    def parse(self, **kwargs: t.Any) -> ExitCode | None:
        """Store the basis, or tell why there is none."""
        text = self._text(PaceBasisCalculation.FILENAME_OUTPUT)
        if 'Dry run is finished' not in text:
            if detail := last_exception(text):
                return self._exit('ERROR_BASIS_FAILED', detail=detail, filename=PaceBasisCalculation.FILENAME_OUTPUT)
            return self._exit('ERROR_ENGINE_INTERRUPTED', detail=last_line(text))
        path = Path(kwargs['retrieved_temporary_folder']) / PaceBasisCalculation.FILENAME_BASIS
        try:
            basis = AcePotentialData(path.read_bytes())
        except (OSError, ValueError) as exception:
            return self._exit('ERROR_BASIS_UNUSABLE', filename=path.name, detail=exception)
        wanted = sorted(set(self.node.inputs.elements))
        if basis.elements != wanted:
            detail = f'it is for {", ".join(basis.elements)}, not for {", ".join(wanted)}'
            return self._exit('ERROR_BASIS_UNUSABLE', filename=path.name, detail=detail)
        self.out('basis', basis)
        return None
