"""Fixtures of the whole suite: where the engines are, and codes that run them."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest

if t.TYPE_CHECKING:
    from aiida import orm

# Importing AiiDA makes its configuration folder: not in the home of whoever runs the tests.
os.environ['AIIDA_PATH'] = tempfile.mkdtemp(prefix='aiida-pace-tests-')
atexit.register(shutil.rmtree, os.environ['AIIDA_PATH'], ignore_errors=True)

pytest_plugins = [
    'aiida.tools.pytest_fixtures',
    'tests.fixtures.campaigns',
    'tests.fixtures.dft',
    'tests.fixtures.loop',
    'tests.fixtures.sandbox',
    'tests.fixtures.potentials',
]

REPOSITORY = Path(__file__).parents[1]
ENGINES = Path(os.environ.get('AIIDA_PACE_ENGINES', REPOSITORY / '.engines' / 'bin'))


@pytest.fixture(scope='session', autouse=True)
def _single_thread() -> None:
    """Let no engine take more than one core: the tests count on running beside each other."""
    os.environ['OMP_NUM_THREADS'] = '1'


@pytest.fixture(scope='session')
def engine() -> Callable[[str], Path]:
    """Return a factory of paths of executables, from the engines' environment or else from PATH."""

    def factory(name: str) -> Path:
        path = ENGINES / name
        if path.exists():
            return path
        found = shutil.which(name)
        assert found, f'`{name}` is neither in {ENGINES} nor on PATH; `make engines` installs the engines'
        return Path(found)

    return factory


@pytest.fixture
def pace_code(
    aiida_code_installed: Callable[..., orm.InstalledCode], engine: Callable[[str], Path]
) -> Callable[[str, str], orm.InstalledCode]:
    """Return a factory of codes on the local computer, for a calculation entry point and an executable."""

    def factory(entry_point: str, executable: str) -> orm.InstalledCode:
        return aiida_code_installed(
            label=executable,
            default_calc_job_plugin=entry_point,
            filepath_executable=str(engine(executable)),
            prepend_text='unset PYTHONPATH\nexport OMP_NUM_THREADS=1',
        )

    return factory
