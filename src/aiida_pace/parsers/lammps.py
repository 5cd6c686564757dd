"""`PaceLammpsParser`: reads the log and the dumps of a walker."""

from __future__ import annotations

import dataclasses
import typing as t
from collections import deque
from pathlib import Path

import numpy as np
from aiida import orm
from aiida.engine import ExitCode

from aiida_pace.calculations.lammps import PaceLammpsCalculation, elements_of
from aiida_pace.config import MdConfig
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.formats.lammps import BARS_PER_GIGAPASCAL, Orientation, atom_types
from aiida_pace.formats.lammps_dump import DumpError, Snapshot, frames_from_snapshots, read_dump, thinned
from aiida_pace.formats.lammps_log import Log, parse_log, without_position
from aiida_pace.frames import Frames
from aiida_pace.parsers.base import PaceParser, last_line

__all__ = ('PaceLammpsParser',)

#: What LAMMPS says when the motion got out of hand, rather than the input or the machine.
UNSTABLE = ('Lost atoms', 'Non-numeric', 'not finite', 'small distance', 'Out of range atoms', 'tilted box too far')


@dataclasses.dataclass
class _Trajectory:
    """Frames of the run.

    :param collected: those of `collect_grade` or more, without the halting one.
    :param samples: those of the even spacing.
    :param halt: the halting one.
    :param fault: file and cause, when a dump could not be read to its end.
    """

    collected: list[Snapshot] = dataclasses.field(default_factory=list)
    samples: list[Snapshot] = dataclasses.field(default_factory=list)
    halt: Snapshot | None = None
    fault: tuple[str, str] | None = None


class PaceLammpsParser(PaceParser):
    """Parser of `PaceLammpsCalculation`.

    A line `Total wall time` and no line `ERROR` in the log are the evidence that LAMMPS came to the end of its input.
    Whatever happened, the frames and thermo data that are there become outputs.
    """

    CACHE_VERSION = 2

    def parse(self, **kwargs: t.Any) -> ExitCode | None:
        """Attach all that the run gave, then tell how it ended."""
        names = PaceLammpsCalculation
        if names.FILENAME_LOG not in self.retrieved.base.repository.list_object_names():
            # The shell may have complained to the scheduler's file.
            text = self._text(names.FILENAME_OUTPUT) or self.node.get_scheduler_stderr() or ''
            return self._exit(
                'ERROR_LOG_MISSING',
                filename=names.FILENAME_LOG,
                output=names.FILENAME_OUTPUT,
                detail=without_position(last_line(text)),
            )
        log = parse_log(self._text(names.FILENAME_LOG))
        config = MdConfig.model_validate(self.node.inputs.parameters.get_dict())
        trajectory = self._read_trajectory(Path(kwargs['retrieved_temporary_folder']), config)
        grades = np.array(
            [*log.thermo['max_grade'], *(snapshot.max_grade for snapshot in _all_snapshots(trajectory))], dtype='f8'
        )
        if len(grades) and not grades.any():
            return self._exit('ERROR_GRADE_MISSING', count=len(grades), version=log.version)
        if len(grades):
            self._attach(log, trajectory, config, float(grades.max()))
        return self._judge(log, trajectory, config)

    def _read_trajectory(self, directory: Path, config: MdConfig) -> _Trajectory:
        """Read the dumps that are there, as far as they can be read."""
        found = _Trajectory()
        structure = self.node.inputs.structure
        types = atom_types(structure.get_ase().numbers, elements_of(structure))

        def read(name: str) -> t.Iterator[Snapshot]:
            try:
                with Path(directory, name).open(encoding='utf-8', errors='replace') as handle:
                    yield from read_dump(handle, types)
            except FileNotFoundError:
                return
            except DumpError as exception:
                found.fault = (name, str(exception))

        halts = list(read(PaceLammpsCalculation.FILENAME_HALT))
        last: deque[Snapshot] = deque(maxlen=1)

        def collected() -> t.Iterator[Snapshot]:
            for snapshot in read(PaceLammpsCalculation.FILENAME_COLLECTED):
                last.append(snapshot)
                yield snapshot

        kept = thinned(collected(), config.max_collected - 1)
        # A run that died right after it halted has not written the halting frame again.
        candidates = [*halts, *last]
        found.halt = next((frame for frame in candidates if frame.max_grade > config.halt_grade), None)
        found.collected = [frame for frame in kept if found.halt is None or frame.step < found.halt.step]
        sampled = read(PaceLammpsCalculation.FILENAME_SAMPLES)
        found.samples = [frame for frame in sampled if frame.step > 0 and frame.max_grade <= config.halt_grade]
        return found

    def _attach(self, log: Log, trajectory: _Trajectory, config: MdConfig, max_grade: float) -> None:
        """Attach the outputs."""
        halt = trajectory.halt
        origins = ['extrapolative'] * len(trajectory.collected)
        snapshots = list(trajectory.collected)
        if halt is not None:
            origins, snapshots = [*origins, 'halt'], [*snapshots, halt]
        if snapshots:
            self.out('extrapolative', AtomsDatasetData(self._frames(snapshots, origins)))
        if trajectory.samples:
            self.out(
                'samples', AtomsDatasetData(self._frames(trajectory.samples, ['sample'] * len(trajectory.samples)))
            )
        thermo = dict(log.thermo)
        if len(thermo['step']):
            thermo['step'] = thermo['step'].astype('i8')
            thermo['time'] = thermo['step'] * config.timestep
            thermo['pressure'] = thermo['pressure'] / BARS_PER_GIGAPASCAL
            self.out('thermo', orm.ArrayData(thermo))
        parameters = {
            'collected': len(snapshots),
            'halt_grade': None if halt is None else halt.max_grade,
            'halt_step': None if halt is None else halt.step,
            'halted': halt is not None,
            'lammps_version': log.version,
            'max_grade': max_grade,
            'sampled': len(trajectory.samples),
            'steps': _last_step(log, trajectory),
            'target_steps': config.steps,
            'wall_time_seconds': log.wall_time_seconds,
        }
        self.out('output_parameters', orm.Dict(parameters))

    def _frames(self, snapshots: list[Snapshot], origins: list[str]) -> Frames:
        """Return frames as the structure of the input is: same orientation, same order of the atoms."""
        atoms = self.node.inputs.structure.get_ase()
        return frames_from_snapshots(snapshots, atoms.numbers, Orientation.of_cell(atoms.cell.array), origins)

    def _judge(self, log: Log, trajectory: _Trajectory, config: MdConfig) -> ExitCode | None:
        """Return the exit code of how the run ended, None for success."""
        progress = {'steps': _last_step(log, trajectory), 'target': config.steps}
        if log.error:
            unstable = any(words in log.error for words in UNSTABLE)
            label = 'ERROR_DYNAMICS_UNSTABLE' if unstable else 'ERROR_RUN_FAILED'
            return self._exit(label, detail=log.error, filename=PaceLammpsCalculation.FILENAME_LOG, **progress)
        if log.wall_time_seconds is None:
            return self._exit('ERROR_RUN_INTERRUPTED', **progress)
        if trajectory.fault is not None:
            return self._exit('ERROR_DUMP_UNREADABLE', filename=trajectory.fault[0], detail=trajectory.fault[1])
        return None


def _all_snapshots(trajectory: _Trajectory) -> list[Snapshot]:
    """Return every frame that was read."""
    return [*trajectory.collected, *trajectory.samples, *([trajectory.halt] if trajectory.halt else [])]


def _last_step(log: Log, trajectory: _Trajectory) -> int:
    """Return the last step that left a trace."""
    steps = [*log.thermo['step'], *(snapshot.step for snapshot in _all_snapshots(trajectory))]
    return int(max(steps, default=0))
