"""The console that tables and messages go to: a terminal obeys nothing of what it shows."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from aiida_pace.formats.text import printable

__all__ = ('WIDTH', 'make_console')

#: Width in which everything fits, used where the terminal has none of its own.
WIDTH = 100


class _PrintableConsole(Console):
    """A console that writes names and messages, whoever gave them, without their control characters."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render an object; what moves the cursor is rich's own, and stays."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def make_console(*, markup: bool = True) -> Console:
    """Return a console on standard output."""
    return _PrintableConsole(highlight=False, markup=markup, width=None if sys.stdout.isatty() else WIDTH)
