"""Parser of `pace.basis`: what a dry run left, whole or not."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import ExitCode

from aiida_pace.calculations.basis import PaceBasisCalculation
from tests.fixtures.jobs import parse
from tests.fixtures.nodes import BBASIS

Parse = Callable[..., tuple[dict[str, orm.Data], ExitCode]]

DONE = '2026-11-21 07:15:23,540 - root - INFO - Dry run is finished\n'
SILICON = (BBASIS / 'silicon.yaml').read_bytes()

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


@pytest.fixture
def parsed(aiida_localhost: orm.Computer, tmp_path: Path) -> Parse:
    """Return a factory of what the parser makes of an output and of a basis."""

    def factory(output: str, basis: bytes | None, elements: tuple[str, ...] = ('Si',)) -> t.Any:
        if basis is not None:
            (tmp_path / 'target_potential.yaml').write_bytes(basis)
        return parse(
            'pace.basis',
            aiida_localhost,
            inputs={'elements': orm.List(list(elements)).store()},
            retrieved={'basis.out': output.encode()} if output else {},
            temporary=tmp_path,
        )

    return factory


def status(name: str) -> int:
    return int(PaceBasisCalculation.exit_codes[name].status)


def test_a_basis(parsed: Parse) -> None:
    outputs, code = parsed(DONE, SILICON)
    assert code.status == 0
    assert outputs['basis'].functions_per_element == {'Si': 8}
    assert outputs['basis'].get_yaml() == SILICON


@pytest.mark.parametrize('basis', [None, b'', SILICON[: len(SILICON) // 2]])
def test_a_file_that_is_no_basis(parsed: Parse, basis: bytes | None) -> None:
    outputs, code = parsed(DONE, basis)
    assert code.status == status('ERROR_BASIS_UNUSABLE')
    assert '`target_potential.yaml`' in code.message
    assert outputs == {}


def test_a_basis_of_other_elements(parsed: Parse) -> None:
    _, code = parsed(DONE, SILICON, ('C', 'Si'))
    assert code.status == status('ERROR_BASIS_UNUSABLE')
    assert 'it is for Si, not for C, Si' in code.message


def test_a_refusal(parsed: Parse) -> None:
    _, code = parsed('Traceback (most recent call last):\n  File "a.py"\nValueError: no bonds\n', SILICON)
    assert code.status == status('ERROR_BASIS_FAILED')
    assert 'ValueError: no bonds' in code.message


@pytest.mark.parametrize('output', ['Start pacemaker\n', ''])
def test_cut_short(parsed: Parse, output: str) -> None:
    outputs, code = parsed(output, SILICON)
    assert code.status == status('ERROR_ENGINE_INTERRUPTED')
    assert outputs == {}
