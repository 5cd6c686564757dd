"""What all parsers share: how to read what a run left, and how to end."""

from __future__ import annotations

import typing as t

from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser

from aiida_pace.formats.text import printable, printable_values

__all__ = ('PaceParser', 'last_line')


class PaceParser(Parser):
    """A parser that works on the texts of its run; what it hands on of them is printable."""

    def out(self, link_label: str, node: orm.Data) -> None:
        """Attach an output; the texts of a dictionary come from the engine."""
        if isinstance(node, orm.Dict):
            node.set_dict(printable_values(node.get_dict()))
        super().out(link_label, node)

    def _text(self, name: str) -> str:
        """Return the text of a retrieved file, empty when there is none."""
        repository = self.retrieved.base.repository
        if name not in repository.list_object_names():
            return ''
        return repository.get_object_content(name, mode='rb').decode('utf-8', errors='replace')

    def _exit(self, label: str, **details: t.Any) -> ExitCode:
        """Return the exit code ``label`` with its message filled in."""
        exit_code = self.exit_codes[label].format(**details)
        return t.cast(ExitCode, exit_code._replace(message=printable(exit_code.message)))


def last_line(text: str, default: str = 'nothing') -> str:
    """Return the last line with something on it, without the white space around it."""
    return (text.strip().splitlines() or [default])[-1].strip()
