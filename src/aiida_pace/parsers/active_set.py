"""`PaceActiveSetParser`: reads what ``pace_activeset`` wrote."""

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from aiida.engine import ExitCode
from ase.data import atomic_numbers

from aiida_pace.calculations.active_set import PaceActiveSetCalculation
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.formats.pacemaker import last_exception
from aiida_pace.parsers.base import PaceParser, last_line
from aiida_pace.training.training_set import learned_atoms

__all__ = ('PaceActiveSetParser',)


class PaceActiveSetParser(PaceParser):
    """Parser of `PaceActiveSetCalculation`.

    Evidence of success: the file of the active set is a whole archive with one square matrix per element, of the rank
    that the potential asks for. Without the file, a Python exception in the output means that ``pace_activeset``
    failed, anything else, that it was cut short.
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
            return self._exit('ERROR_ACTIVE_SET_UNUSABLE', filename=path.name, detail=exception)
        self.out('active_set', active_set)
        return None

    def _without_active_set(self) -> ExitCode:
        """Return why there is no active set."""
        name = PaceActiveSetCalculation.FILENAME_OUTPUT
        text = self._text(name)
        detail = last_exception(text)
        if detail is None:
            return self._exit('ERROR_ENGINE_INTERRUPTED', detail=last_line(text))
        if 'Insufficient atomic environments' in detail:
            for element, count, functions in self._insufficient():
                return self._exit('ERROR_ENVIRONMENTS_INSUFFICIENT', element=element, count=count, functions=functions)
        return self._exit('ERROR_ACTIVE_SET_FAILED', detail=detail, filename=name)

    def _insufficient(self) -> Iterator[tuple[str, int, int]]:
        """Yield elements with fewer atoms that the fit learns from than functions, with both numbers."""
        counts: Counter[int] = Counter()
        for _, dataset in self.node.inputs.datasets.items():
            counts.update(dataset.frames.numbers[learned_atoms(dataset.frames)].tolist())
        for element, functions in self.node.inputs.potential.functions_per_element.items():
            if counts[atomic_numbers[element]] < functions:
                yield element, counts[atomic_numbers[element]], functions
