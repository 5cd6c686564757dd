"""`PaceActiveSetParser`: reads what ``pace_activeset`` wrote."""

from __future__ import annotations

import typing as t
from pathlib import Path

from aiida.engine import ExitCode
from aiida.parsers import Parser

from aiida_pace.calculations.active_set import PaceActiveSetCalculation
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.formats.pacemaker import last_exception

__all__ = ('PaceActiveSetParser',)


class PaceActiveSetParser(Parser):
    """Parser of `PaceActiveSetCalculation`.

    Evidence of success: the file of the active set is a whole archive with one square matrix per element, of the rank
    that the potential asks for. Without the file, a Python exception in the output means that ``pace_activeset`` failed,
    anything else, that it was cut short.
    """

    CACHE_VERSION = 1

    def parse(self, **kwargs: t.Any) -> ExitCode | None:
        """Store the active set, or tell why there is none."""
        path = Path(kwargs['retrieved_temporary_folder']) / PaceActiveSetCalculation.FILENAME_ACTIVE_SET
        if not path.exists():
            return self._without_active_set()
        try:
            active_set = AceActiveSetData(path.read_bytes(), potential=self.node.inputs.potential)
        except ValueError as exception:
            return self.exit_codes.ERROR_ACTIVE_SET_UNUSABLE.format(filename=path.name, detail=exception)
        self.out('active_set', active_set)
        return None

    def _without_active_set(self) -> ExitCode:
        """Return why there is no active set."""
        name = PaceActiveSetCalculation.FILENAME_OUTPUT
        text = (
            self.retrieved.base.repository.get_object_content(name)
            if name in self.retrieved.list_object_names()
            else ''
        )
        if detail := last_exception(text):
            return self.exit_codes.ERROR_ACTIVE_SET_FAILED.format(detail=detail, filename=name)
        return self.exit_codes.ERROR_ENGINE_INTERRUPTED.format(detail=last_line(text))


def last_line(text: str) -> str:
    """Return the last line with something on it, without the white space around it."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), '')
