"""The group of commands: help, version, profiles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import aiida_pace
from aiida_pace.cli import cmd_root


def test_version() -> None:
    result = CliRunner().invoke(cmd_root, ['--version'])
    assert result.exit_code == 0
    assert aiida_pace.__version__ in result.output


def test_help_names_the_commands_and_loads_nothing_heavy(tmp_path: Path) -> None:
    """Help comes before a profile, a database or a plot library is touched."""
    script = (
        'import sys\n'
        'from click.testing import CliRunner\n'
        'from aiida_pace.cli import cmd_root\n'
        'print(CliRunner().invoke(cmd_root, ["--help"]).output)\n'
        'print("heavy:", sorted({"aiida.orm", "aiida.engine", "numpy", "ase", "rich.table"} & set(sys.modules)))\n'
    )
    environment = os.environ | {'AIIDA_PATH': str(tmp_path)}
    output = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', script], capture_output=True, text=True, check=True, env=environment
    ).stdout
    assert 'status' in output
    assert 'save-potential' in output
    assert 'heavy: []' in output


@pytest.mark.parametrize('arguments', [['status'], ['save-potential', 'somewhere']])
def test_no_profile(arguments: list[str], tmp_path: Path) -> None:
    """On a machine without a profile a sentence is the answer, not a traceback."""
    command = [sys.executable, '-W', 'ignore', '-c', 'from aiida_pace.cli import cmd_root; cmd_root()', *arguments]
    environment = os.environ | {'AIIDA_PATH': str(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert result.returncode == 1
    assert 'Traceback' not in result.stderr
    assert 'verdi presto' in result.stderr
    assert not (tmp_path / 'somewhere').exists()


@pytest.mark.parametrize('arguments', [['-p', 'nowhere', 'status'], ['status', '-p', 'nowhere']])
@pytest.mark.usefixtures('aiida_profile_clean')
def test_unknown_profile(arguments: list[str]) -> None:
    result = CliRunner().invoke(cmd_root, arguments)
    assert result.exit_code == 2
    assert '`nowhere` does not exist' in result.output
