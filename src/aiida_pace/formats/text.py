"""Text for messages: numbers with their nouns, and text of other programs without control characters."""

from __future__ import annotations

import re
import typing as t

__all__ = ('counted', 'printable', 'printable_values')

#: Escape sequences of terminals (ECMA-48): those with parameters, strings up to their terminator, two characters.
_ESCAPES = re.compile(r'(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]')
#: Control characters except line feed and tab, and halves of surrogate pairs, which have no encoding.
_CONTROLS = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]')


def counted(number: int, noun: str) -> str:
    """Return the number with its noun, such as ``1 frame`` or ``2 frames``."""
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def printable(text: str) -> str:
    """Return ``text`` without escape sequences and control characters; a carriage return ends a line.

    PostgreSQL refuses a text with a NUL, and a terminal executes escape sequences of any origin.
    """
    return _CONTROLS.sub('', _ESCAPES.sub('', re.sub('\r+\n?', '\n', text)))


def printable_values(value: t.Any) -> t.Any:
    """Return a JSON value whose texts, keys included, are all `printable`."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable_values(key): printable_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [printable_values(item) for item in value]
    return value
