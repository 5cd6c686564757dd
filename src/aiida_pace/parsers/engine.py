"""What the parsers of our own engines share: whether the run ended well, and if not, why."""

from __future__ import annotations

import json
import typing as t
from abc import abstractmethod
from pathlib import Path

from aiida import orm
from aiida.engine import ExitCode

from aiida_pace.calculations.engine import PaceProgramCalcJob
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.engines.command import error_prefix
from aiida_pace.frames import Frames
from aiida_pace.parsers.base import PaceParser, last_line

__all__ = ('PaceEngineParser', 'PaceFramesParser', 'read_report')


class PaceEngineParser(PaceParser):
    """Parser of a `PaceProgramCalcJob`.

    The engine moves its output into place when it is complete, so a file that holds what it should is the evidence of
    success. Without it, a line on stderr that starts with `error_prefix` means that the engine refused its input;
    anything else, that it was killed or is broken.
    """

    CALCULATION: t.ClassVar[type[PaceProgramCalcJob]]

    def parse(self, **kwargs: t.Any) -> ExitCode | None:
        """Store the results, or tell why there are none."""
        path = Path(kwargs['retrieved_temporary_folder'], self.CALCULATION.FILENAMES_RESULT[0])
        if not path.is_file():
            return self._missing(path.name)
        try:
            return self.store(path)
        except ValueError as exception:
            return self._exit('ERROR_RESULT_INVALID', filename=path.name, detail=exception)

    @abstractmethod
    def store(self, path: Path) -> ExitCode | None:
        """Attach the outputs.

        :param path: of the file that proves success.
        :raises ValueError: when it cannot be used.
        """

    def _missing(self, filename: str) -> ExitCode:
        """Return the exit code of a run that wrote nothing, from its last words."""
        name, prefix = self.CALCULATION.filename_stderr(), error_prefix(self.CALCULATION.PROGRAM)
        # The shell, which may not find the executable, complains to the scheduler's file.
        last = last_line(f'{self.node.get_scheduler_stderr() or ""}\n{self._text(name)}', default='none')
        if last.startswith(prefix):
            return self._exit('ERROR_FRAMES_REFUSED', detail=last.removeprefix(prefix))
        return self._exit('ERROR_ENGINE_INTERRUPTED', filename=filename, detail=last, stderr=name)


class PaceFramesParser(PaceEngineParser):
    """Parser of a `PaceFramesCalcJob`: stores the frames and the account of how they were made."""

    #: Label of the exit code when there are no frames, and the part of the account that says why.
    EMPTY: t.ClassVar[tuple[str, str]]

    def store(self, path: Path) -> ExitCode | None:
        """Attach the account, and the frames if there are any."""
        frames = Frames.load(path)
        report = read_report(path.with_suffix('.json'))
        if report.get('count') != len(frames):
            raise ValueError(f'it holds {len(frames)} frames, its account tells of {report.get("count")}')
        given = self.given()
        if foreign := sorted(set(frames.elements) - set(given.elements)):
            raise ValueError(f'it holds {", ".join(foreign)}, which the frames given to the job do not')
        dataset = AtomsDatasetData(frames) if len(frames) else None
        self.out('output_parameters', orm.Dict(report))
        if dataset is None:
            label, key = self.EMPTY
            causes = ', '.join(f'{count} x {cause}' for cause, count in report[key].items())
            return self._exit(label, count=len(given), causes=causes or 'none')
        self.out('dataset', dataset)
        return None

    def given(self) -> Frames:
        """Return the frames that the job was given."""
        return t.cast(Frames, self.node.inputs.dataset.frames)


def read_report(path: Path) -> dict[str, t.Any]:
    """Return the JSON object in a file.

    :raises ValueError: when there is none, or a number in it is not finite.
    """

    def refuse(word: str) -> t.NoReturn:
        raise ValueError(f'`{path.name}` holds {word}, which is not a number')

    try:
        report = json.loads(path.read_text(encoding='utf-8'), parse_constant=refuse)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as exception:
        raise ValueError(f'`{path.name}` is missing or not JSON: {exception}') from exception
    if not isinstance(report, dict):
        raise ValueError(f'`{path.name}` is not a JSON object')
    return report
