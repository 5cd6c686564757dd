"""The columns of a frame of extended XYZ: ``Properties`` and the lines of the atoms; no AiiDA."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers, chemical_symbols

from aiida_pace.formats.extxyz.comment import FrameError, parse_number
from aiida_pace.formats.images import shown
from aiida_pace.formats.text import counted

__all__ = ('Column', 'atoms_of', 'parse_properties')

#: Names, in any case, of the columns that every frame needs.
POSITIONS = ('pos', 'position', 'positions')
SPECIES = ('species', 'symbol', 'symbols', 'element', 'elements')
NUMBERS = ('z', 'numbers', 'atomic_number', 'atomic_numbers')

#: Columns of plain XYZ, without ``Properties``.
PLAIN = 'species:S:1:pos:R:3'

#: The first line of an atom in a frame.
FIRST = 2


@dataclasses.dataclass(frozen=True)
class Column:
    """One property of the atoms: its type (R, I, S or L), and its words in a line."""

    name: str
    type: str
    words: slice

    @property
    def width(self) -> int:
        """Number of words."""
        return int(self.words.stop - self.words.start)


def parse_properties(text: str) -> list[Column]:
    """Return the columns that ``Properties`` names.

    :raises FrameError: when ``text`` is not a list of ``name:type:number``, or names a column twice.
    """
    fields = text.strip().split(':')
    if len(fields) % 3:
        raise FrameError('`Properties` is not a list of `name:type:number`', 1, text)
    columns: list[Column] = []
    for name, kind, width in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
        if not name or kind.upper() not in {'R', 'I', 'S', 'L'} or not re.fullmatch('[1-9][0-9]{0,3}', width):
            raise FrameError(
                '`Properties` is not a list of `name:type:number` with the types R, I, S and L',
                1,
                f'{name}:{kind}:{width}',
            )
        if any(column.name == name for column in columns):
            raise FrameError(f'`Properties` names the column `{shown(name)}` twice', 1, text)
        start = columns[-1].words.stop if columns else 0
        columns.append(Column(name, kind.upper(), slice(start, start + int(width))))
    return columns


def atoms_of(
    lines: Sequence[str], columns: Sequence[Column] | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], dict[str, npt.NDArray[t.Any]]]:
    """Return atomic numbers (N,), positions (N, 3) in Å, and the other columns by name.

    Other columns that are not numeric are returned as words.

    :param columns: None for plain XYZ.
    :raises FrameError: when a line has too many or too few words, a column that every frame needs is missing, or holds
        something else than elements or numbers.
    """
    names = '`Properties` names' if columns is not None else 'XYZ without `Properties` has'
    columns = columns if columns is not None else parse_properties(PLAIN)
    positions = _needed(columns, POSITIONS, 'pos', 'RI', 3)
    species = _needed(columns, SPECIES, 'species', 'S', 1, is_optional=True)
    numbers = _needed(columns, NUMBERS, 'Z', 'I', 1, is_optional=species is not None)
    expected = columns[-1].words.stop
    rows = [line.split() for line in lines]
    for index, row in enumerate(rows):
        if len(row) != expected:
            words = counted(len(row), 'column')
            raise FrameError(f'an atom has {words}, {names} {expected}', FIRST + index, lines[index])
    found = {}
    if species is not None:
        found['species'] = _elements(row[species.words.start] for row in rows)
    if numbers is not None:
        found['Z'] = _atomic_numbers(row[numbers.words.start] for row in rows)
    if len(found) == 2:
        differing = np.flatnonzero(found['species'] != found['Z'])
        if differing.size:
            at = int(differing[0])
            raise FrameError('species and atomic number of an atom are different elements', FIRST + at, lines[at])
    try:
        places = _floats(rows, t.cast(Column, positions))
    except FrameError as error:
        raise FrameError(f'a position is not a number: {error.cause}', error.line, lines[error.line - FIRST]) from error
    others = {column.name: _loose(rows, column) for column in columns if column not in (positions, species, numbers)}
    return next(iter(found.values())), places, others


def _needed(
    columns: Sequence[Column], names: Sequence[str], name: str, types: str, width: int, *, is_optional: bool = False
) -> Column | None:
    """Return the column whose name, in any case, is one of ``names``; None for a missing optional column.

    :raises FrameError: when there is none or several, or it has another type or width.
    """
    present = ', '.join(f'{shown(column.name)}:{column.type}:{column.width}' for column in columns)
    found = [column for column in columns if column.name.lower() in names]
    if not found and (is_optional or (name == 'species' and any(c.name.lower() in NUMBERS for c in columns))):
        return None
    if not found:
        raise FrameError(f'no column `{"species" if name == "Z" else name}`; columns are {present}', 1, '')
    if len(found) > 1:
        raise FrameError(f'several columns may be `{name}`; columns are {present}', 1, '')
    if found[0].type not in types or found[0].width != width:
        raise FrameError(f'the column `{shown(found[0].name)}` is not {types[0]}:{width}; columns are {present}', 1, '')
    return found[0]


def _elements(words: Iterable[str]) -> npt.NDArray[np.int64]:
    """Return atomic numbers of chemical symbols in any case."""
    numbers = []
    for index, word in enumerate(words):
        number = atomic_numbers.get(word if word in atomic_numbers else word.capitalize(), 0)
        if number == 0:
            raise FrameError(f'unknown element `{shown(word)}`', FIRST + index)
        numbers.append(number)
    return np.array(numbers, dtype='i8')


def _atomic_numbers(words: Iterable[str]) -> npt.NDArray[np.int64]:
    """Return atomic numbers."""
    numbers = []
    for index, word in enumerate(words):
        if not re.fullmatch('[0-9]{1,3}', word) or not 0 < int(word) < len(chemical_symbols):
            raise FrameError(f'unknown atomic number `{shown(word)}`', FIRST + index)
        numbers.append(int(word))
    return np.array(numbers, dtype='i8')


def _floats(rows: Sequence[Sequence[str]], column: Column) -> npt.NDArray[np.float64]:
    """Return the (N, width) numbers of a column.

    :raises FrameError: when a word is not a number.
    """
    words = [word for row in rows for word in row[column.words]]
    joined = ''.join(words)
    try:
        # `float` accepts underscores and digits of other scripts, but not Fortran's exponent.
        if '_' in joined or not joined.isascii():
            raise ValueError
        numbers = list(map(float, words))
    except ValueError:
        numbers = []
        for index, word in enumerate(words):
            try:
                numbers.append(parse_number(word))
            except ValueError as error:
                raise FrameError(str(error), FIRST + index // column.width, word) from error
    return np.array(numbers, dtype='f8').reshape(len(rows), column.width)


def _loose(rows: Sequence[Sequence[str]], column: Column) -> npt.NDArray[t.Any]:
    """Return a column as numbers if it is numeric, else as words: (N,) or (N, width)."""
    values: npt.NDArray[t.Any]
    try:
        if column.type not in 'RI':
            raise FrameError('a column of words')
        values = _floats(rows, column)
    except FrameError:
        values = np.array([row[column.words] for row in rows], dtype=object).reshape(len(rows), column.width)
    return values[:, 0] if column.width == 1 else values
