"""What readers of files yield: one structure, or why there is none; no AiiDA."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping

from ase import Atoms

__all__ = ('Fault', 'Image', 'shown')

#: Characters of a file that a message shows of one text.
MAX_SHOWN = 60


@dataclasses.dataclass(frozen=True)
class Image:
    """One structure of a file.

    :param atoms: the structure, with whatever it carries in ``info``, in its arrays or in a calculator.
    :param place: where it stands in the file, such as ``line 12``.
    :param units: units that the file gives beside the structures, by the name of the quantity.
    """

    atoms: Atoms
    place: str = ''
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Fault:
    """A structure that cannot be read: the cause, and the place with what stands there."""

    cause: str
    place: str = ''


def shown(text: t.Any, most: int | None = MAX_SHOWN) -> str:
    """Return ``text`` for a message: control characters as escapes, cut after ``most`` characters."""
    words = str(text)
    cut = words if most is None or len(words) <= most else f'{words[:most]}…'
    return ''.join(
        character if character.isprintable() else character.encode('unicode_escape').decode() for character in cut
    )
