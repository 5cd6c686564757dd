"""Items that readers of files yield: a structure, or a fault; no AiiDA."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping

from ase import Atoms

__all__ = ('Fault', 'Image', 'shown')

#: Largest number of characters of a text in a message.
MAX_SHOWN = 60


@dataclasses.dataclass(frozen=True)
class Image:
    """One structure of a file.

    :param atoms: the structure, with all data in ``info``, arrays and a calculator.
    :param place: place in the file, such as ``line 12``.
    :param units: units that the file gives for all structures, by the name of the quantity.
    """

    atoms: Atoms
    place: str = ''
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Fault:
    """A structure that cannot be read: the cause, and the place with the text there."""

    cause: str
    place: str = ''


def shown(text: t.Any, most: int | None = MAX_SHOWN) -> str:
    """Return ``text`` for a message: control characters as escapes, cut after ``most`` characters."""
    words = str(text)
    cut = words if most is None or len(words) <= most else f'{words[:most]}…'
    return ''.join(
        character if character.isprintable() else character.encode('unicode_escape').decode() for character in cut
    )
