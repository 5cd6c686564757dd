"""Logs of LAMMPS: error, wall time and thermo data of walkers."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ('Log', 'parse_log', 'without_position')

FloatArray = npt.NDArray[np.float64]

#: Names of the columns of thermo data, by their names in LAMMPS.
THERMO_COLUMNS = {
    'Step': 'step',
    'Temp': 'temperature',
    'Press': 'pressure',
    'PotEng': 'potential_energy',
    'Volume': 'volume',
    'c_max_grade': 'max_grade',
}

_WALL_TIME = re.compile(r'^Total wall time: (\d+):(\d+):(\d+)', re.MULTILINE)
_ERROR = re.compile(r'^ERROR(?: on proc \d+)?: (.+)', re.MULTILINE)
#: Position of an error in the source of LAMMPS: `(src/thermo.cpp:494)`, `(../force.cpp:275)`, `((library):0)`.
_POSITION = re.compile(r' *\((?:\(library\)|[\w./+-]+\.\w+):\d+\)$')
_VERSION = re.compile(r'^LAMMPS \(([^)]+)\)', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Log:
    """A log.

    :param version: date that names the release of LAMMPS.
    :param error: LAMMPS' error message without the position in the source; empty without an error.
    :param wall_time_seconds: of the whole run; None when it did not end.
    :param thermo: the columns of `THERMO_COLUMNS`, (n,) each, steps in ascending order, each once; in LAMMPS' units.
    """

    version: str
    error: str
    wall_time_seconds: float | None
    thermo: dict[str, FloatArray]


def parse_log(text: str) -> Log:
    """Read a log, also of an interrupted run; rows of thermo data with a number that is not finite are left out."""
    wall_time, error, version = (pattern.search(text) for pattern in (_WALL_TIME, _ERROR, _VERSION))
    seconds = None
    if wall_time is not None:
        hours, minutes, rest = (int(group) for group in wall_time.groups())
        seconds = float(3600 * hours + 60 * minutes + rest)
    return Log(
        version=version.group(1) if version else '',
        error=without_position(error.group(1).strip()) if error else '',
        wall_time_seconds=seconds,
        thermo=_thermo(text.splitlines()),
    )


def without_position(message: str) -> str:
    """Return a message of LAMMPS without the position in the source at its end, which does not help users."""
    return _POSITION.sub('', message)


def _thermo(lines: Iterable[str]) -> dict[str, FloatArray]:
    """Return the thermo data of all runs in a log; other output between the rows is skipped."""
    rows: dict[int, list[float]] = {}
    inside = False
    for line in lines:
        words = line.split()
        if words == list(THERMO_COLUMNS):
            inside = True
        elif line.startswith('Loop time of'):
            inside = False
        elif inside and len(words) == len(THERMO_COLUMNS) and (row := _numbers(words)) is not None:
            rows[int(row[0])] = row
    table = np.array([rows[step] for step in sorted(rows)]).reshape(-1, len(THERMO_COLUMNS))
    return {name: table[:, index] for index, name in enumerate(THERMO_COLUMNS.values())}


def _numbers(words: Sequence[str]) -> list[float] | None:
    """Return the words as numbers, or None when one is not a finite number."""
    try:
        row = [float(word) for word in words]
    except ValueError:
        return None
    return row if t.cast(bool, np.isfinite(row).all()) else None
