"""What goes to the terminal is text, whoever wrote it."""

from __future__ import annotations

import pytest
from rich.table import Table
from rich.text import Text

from aiida_pace.cli.console import make_console


def test_escape_sequences_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """In lines, in tables and in markup."""
    console = make_console()
    table = Table('name')
    table.add_row(Text('\x1b]0;title\x07walker\x9b2J'))
    console.print('it failed: \x1b[2Jall is well\x00', markup=False)
    console.print(table, '[bold]loud\x1b[5m[/]')
    output = capsys.readouterr().out
    assert 'it failed: all is well\n' in output
    assert 'walker' in output
    assert 'loud' in output
    assert not {'\x1b', '\x9b', '\x07', '\x00'} & set(output)
