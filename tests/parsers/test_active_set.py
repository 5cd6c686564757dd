"""Parser of `pace.active_set`: an active set, one that is broken, none at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import ExitCode

from aiida_pace.calculations.active_set import PaceActiveSetCalculation
from aiida_pace.data.dataset import AtomsDatasetData
from tests.fixtures.frames import random_frames
from tests.fixtures.jobs import parse
from tests.fixtures.nodes import asi_bytes, recorded_potential

Parse = Callable[[bytes | None, str], tuple[dict[str, orm.Data], ExitCode]]

FAILURE = (
    'Traceback (most recent call last):\n  File "activelearning.py"\nValueError: Insufficient atomic environments to '
    'determine active set for species type 0, system is under-determined, projections shape=(6, 8)\n'
)


@pytest.fixture
def parsed(aiida_localhost: orm.Computer, tmp_path: Path) -> Parse:
    """Return a factory of what the parser makes of an active-set file and an output."""

    def factory(content: bytes | None, output: str) -> tuple[dict[str, orm.Data], ExitCode]:
        if content is not None:
            (tmp_path / 'potential.asi').write_bytes(content)
        return parse(
            'pace.active_set',
            aiida_localhost,
            inputs={
                'datasets__a': AtomsDatasetData(random_frames(sizes=(2, 1, 3))).store(),
                'potential': recorded_potential().store(),
            },
            retrieved={'pace_activeset.out': output.encode()} if output else {},
            temporary=tmp_path,
        )

    return factory


def status(name: str) -> int:
    return int(PaceActiveSetCalculation.exit_codes[name].status)


@pytest.mark.usefixtures('aiida_profile_clean')
class TestPaceActiveSetParser:
    def test_an_active_set(self, parsed: Parse) -> None:
        outputs, code = parsed(asi_bytes(Si=np.eye(8)), 'Saving  done')
        assert code.status == 0
        assert outputs['active_set'].ranks == {'Si': 8}
        assert outputs['active_set'].matches(recorded_potential())

    @pytest.mark.parametrize(
        ('content', 'message'),
        [
            (asi_bytes(Si=np.eye(8))[:200], 'not an active set'),
            (asi_bytes(Si=np.eye(7)), "has the ranks {'Si': 7}"),
            (asi_bytes(Si=np.full((8, 8), np.nan)), 'not finite'),
        ],
        ids=['cut short', 'of another potential', 'singular'],
    )
    def test_a_file_that_is_no_active_set(self, parsed: Parse, content: bytes, message: str) -> None:
        outputs, code = parsed(content, 'Saving  done')
        assert code.status == status('ERROR_ACTIVE_SET_UNUSABLE')
        assert message in code.message
        assert outputs == {}

    def test_too_few_atoms(self, parsed: Parse) -> None:
        _, code = parsed(None, FAILURE)
        assert code.status == status('ERROR_ENVIRONMENTS_INSUFFICIENT')
        assert 'hold 6 atoms of Si that the fit learns from, `potential` has 8 functions' in code.message

    def test_another_failure(self, parsed: Parse) -> None:
        _, code = parsed(None, FAILURE.replace('Insufficient atomic environments', 'Nonsense'))
        assert code.status == status('ERROR_ACTIVE_SET_FAILED')
        assert 'ValueError: Nonsense' in code.message

    @pytest.mark.parametrize(('output', 'last'), [('INFO - Compute\nKilled\n', 'Killed'), ('', 'nothing')])
    def test_cut_short(self, parsed: Parse, output: str, last: str) -> None:
        _, code = parsed(None, output)
        assert code.status == status('ERROR_ENGINE_INTERRUPTED')
        assert f'"{last}"' in code.message
