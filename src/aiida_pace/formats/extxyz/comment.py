"""The comment line of a frame of extended XYZ: keys and values, cell and periodic directions; no AiiDA."""

from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Collection, Mapping

import numpy as np

from aiida_pace.formats.images import shown
from aiida_pace.frames import FloatArray

__all__ = (
    'NUMBER',
    'FrameError',
    'find',
    'lattice_of',
    'parse_comment',
    'parse_number',
    'parse_value',
    'periodicity_of',
)

CLOSING = {'"': '"', "'": "'", '{': '}', '[': ']'}
BRACKETS = str.maketrans('[]{}', '    ')

#: A number of C or Fortran.
NUMBER = re.compile(r'[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?|nan|inf(?:inity)?)', re.ASCII | re.IGNORECASE)

#: Words for truth values, in any case.
TRUTH = {
    **dict.fromkeys(('t', 'true', '.true.', '.t.', 'y', 'yes', '1'), True),
    **dict.fromkeys(('f', 'false', '.false.', '.f.', 'n', 'no', '0'), False),
}

#: Names, in any case, of the cell and of the periodic directions.
LATTICE = ('lattice', 'cell')
PBC = ('pbc',)

#: Other names for a cell or periodic directions: a frame with such a name only is refused.
LIKE_LATTICE = re.compile(
    r'(unit|super|sim\w*)?_?(cell|box)(_?(vec|len|par|dim|mat)\w*)?|latt\w*|cellpar|abc|h_?mat\w*'
)
LIKE_PBC = re.compile(r'(is_?)?periodic\w*|pbcs|pbc_\w+|bound(ary|aries)(_?cond\w*)?')

#: Free text that gives a cell or periodic directions without `=`.
WITHOUT_EQUALS = re.compile(
    r'\b(lattice|cell|box|pbc)\b\s*:?\s*[\["\'({]*\s*(?:[-+.\dTF][-+.\deE]*[\s,]+){2}[-+.\dTF]', re.IGNORECASE
)


class FrameError(ValueError):
    """A frame that cannot be read: the cause, and the line in the frame, counted from 0, with its text."""

    def __init__(self, cause: str, line: int = 1, text: str = '') -> None:
        """Keep the parts of the message."""
        super().__init__(cause)
        self.cause = cause
        self.line = line
        self.text = text


def parse_comment(line: str) -> dict[str, str | None]:
    """Return the values by key, as texts; None for a word without ``=``.

    A value in quotes or brackets ends at the closing one. In quotes and brackets a backslash escapes.

    :raises FrameError: when a quote or bracket has no partner, a key is given twice, or the cell or the periodic
        directions are given without ``=``.
    """
    pairs = {} if '=' not in line else _pairs(line)
    found = WITHOUT_EQUALS.search(line)
    names = PBC if found and found[1].lower() in PBC else LATTICE
    if found and not any(value is not None and key.lower() in names for key, value in pairs.items()):
        raise FrameError(f'`{found[1]}` without `=`', 1, found[0])
    return pairs


def _pairs(line: str) -> dict[str, str | None]:
    """Return the values by key of a line with ``=``."""
    pairs: dict[str, str | None] = {}
    enclosed: list[str] = []
    at = _skip(line, 0)
    while at < len(line):
        start = at
        key, at, _ = _word(line, at, '=')
        after = _skip(line, at)
        if after == len(line) or line[after] != '=':
            pairs.setdefault(key, None)
            at = after
            continue
        if not key:
            raise FrameError('`=` without a key before it', 1, line[start:])
        if pairs.get(key) is not None:
            raise FrameError(f'the key `{shown(key)}` is given twice', 1, line[start:])
        value, at, is_enclosed = _value(line, after + 1)
        pairs[key] = value
        if is_enclosed and not value.startswith('_JSON '):
            enclosed.append(value)
        at = _skip(line, at)
    _refuse_swallowed(pairs, enclosed)
    return pairs


def _refuse_swallowed(pairs: Mapping[str, str | None], enclosed: Collection[str]) -> None:
    """Refuse a line in which a needed key is inside the quotes or brackets of another key."""
    for value in enclosed:
        for name in ('lattice', 'properties', 'pbc'):
            if re.search(rf'\b{name}\s*=', value, re.IGNORECASE) and not any(key.lower() == name for key in pairs):
                raise FrameError(f'`{name}=` is inside the quotes or brackets of another key', 1, value)


def _skip(line: str, at: int) -> int:
    """Return the place of the next character that is neither white space nor a comma."""
    while at < len(line) and (line[at].isspace() or line[at] == ','):
        at += 1
    return at


def _value(line: str, at: int) -> tuple[str, int, bool]:
    """Return the value after the ``=`` before ``at``, empty when the next key follows, with the results of `_word`."""
    start = _skip(line, at)
    if start == len(line):
        return '', start, False
    if start > at and line[start] not in CLOSING:
        word, end, _ = _word(line, start, '=')
        after = _skip(line, end)
        # `key = value` has a value, but `key= next=value` leaves the first key without one.
        return ('', start, False) if after < len(line) and line[after] == '=' else (word, end, False)
    return _word(line, start, '')


def _word(line: str, at: int, stop: str) -> tuple[str, int, bool]:
    """Return the word at ``at``, its end, and whether it is in quotes or brackets.

    :raises FrameError: when a quote or bracket has no partner, or text follows directly after the closing one.
    """
    if line[at] in CLOSING:
        text, end = _enclosed(line, at)
        if end < len(line) and not line[end].isspace() and line[end] not in f',{stop}':
            raise FrameError(f'text follows directly after a closing `{line[end - 1]}`', 1, line[at:])
        return text, end, True
    end = at
    while end < len(line) and not line[end].isspace() and (not stop or line[end] not in stop):
        end += 1
    word = line[at:end]
    for opening, closing in CLOSING.items():
        if word.count(opening) % 2 if opening == closing else word.count(opening) != word.count(closing):
            lone = opening if opening in word else closing
            raise FrameError(f'a `{lone}` without its partner', 1, line[at:])
    return word, end, False


def _enclosed(line: str, at: int) -> tuple[str, int]:
    """Return the text in the quotes or brackets that open at ``at``, and the place after them."""
    opening, closing = line[at], CLOSING[line[at]]
    text: list[str] = []
    depth, place = 1, at + 1
    while place < len(line):
        character = line[place]
        if character == '\\' and place + 1 < len(line):
            place += 1
            character = line[place]
        elif character == closing:
            depth -= 1
            if depth == 0:
                return ''.join(text), place + 1
        elif character == opening:
            depth += 1
        text.append(character)
        place += 1
    raise FrameError(f'a `{opening}` without its partner', 1, line[at:])


def parse_number(text: str) -> float:
    """Return the number, also with Fortran's exponent ``D``.

    :raises ValueError: when ``text`` is not a number, such as ``1_000`` or digits of other scripts.
    """
    if not NUMBER.fullmatch(text):
        raise ValueError(f'`{shown(text)}` is not a number')
    return float(text if text[-1:].isalpha() else re.sub('[dD]', 'e', text))


def parse_value(text: str | None) -> t.Any:
    """Return a value as a number, an array of numbers, decoded JSON, or the text itself."""
    if text is None:
        return True
    if text.startswith('_JSON '):
        try:
            value = json.loads(text.removeprefix('_JSON '))
            array = np.asarray(value)
        except (RecursionError, ValueError):
            return text
        return array if isinstance(value, list) and array.dtype.kind in 'fi' else value
    words = re.findall(r'[^\s,]+', text.translate(BRACKETS))
    if not words or not all(map(NUMBER.fullmatch, words)):
        return text
    numbers = np.array([parse_number(word) for word in words])
    return float(numbers[0]) if len(numbers) == 1 else numbers


def find(pairs: Mapping[str, t.Any], names: Collection[str]) -> str | None:
    """Return the key that is one of ``names`` in any case, or None.

    :raises FrameError: when there are several such keys.
    """
    found = [key for key in pairs if key.lower() in names]
    if len(found) > 1:
        raise FrameError(f'both {" and ".join(f"`{shown(key)}`" for key in found)} are given', 1, '')
    return found[0] if found else None


def lattice_of(pairs: Mapping[str, str | None]) -> tuple[str | None, FloatArray | None]:
    """Return the key of the cell, and the cell (3, 3) with the vectors as rows in Å; None without a cell.

    :raises FrameError: when the cell is not nine finite numbers, or another key seems to mean the cell.
    """
    key = find({key: value for key, value in pairs.items() if value is not None}, LATTICE)
    if key is None:
        for other, value in pairs.items():
            if value and LIKE_LATTICE.fullmatch(other.lower()) and np.size(parse_value(value)) in {3, 6, 9}:
                raise FrameError(
                    f'no `Lattice`, but `{shown(other)}`: give the cell as `Lattice`, nine numbers', 1, value
                )
        return None, None
    numbers = parse_value(pairs[key])
    if not isinstance(numbers, np.ndarray) or numbers.dtype.kind != 'f' or numbers.size != 9:
        raise FrameError(f'`{shown(key)}` is not nine numbers', 1, str(pairs[key]))
    if not np.isfinite(numbers).all():
        raise FrameError(f'`{shown(key)}` holds a number that is not finite', 1, str(pairs[key]))
    return key, numbers.reshape(3, 3)


def periodicity_of(pairs: Mapping[str, str | None]) -> tuple[str | None, list[bool] | None]:
    """Return the key of the periodic directions, and the three truth values; None when they are not given.

    :raises FrameError: when the value is not three truth values or one, or another key seems to mean the directions.
    """
    key = find(pairs, PBC)
    if key is None:
        for other in pairs:
            if LIKE_PBC.fullmatch(other.lower()) and pairs[other] is not None:
                raise FrameError(f'no `pbc`, but `{shown(other)}`: give `pbc="T T F"`', 1, str(pairs[other]))
        return None, None
    text = pairs[key] or ''
    words = re.findall(r'[^\s,]+', text.translate(BRACKETS).lower())
    if len(words) == 1 and re.fullmatch('[tf]{3}', words[0]):
        words = list(words[0])
    if len(words) not in {1, 3} or not all(word in TRUTH for word in words):
        raise FrameError(f'`{shown(key)}` is not three truth values such as `T T F`', 1, text)
    return key, [TRUTH[word] for word in (words * 3)[:3]]
