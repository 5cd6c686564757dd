"""Parser of `pace.select`: a selection is whole and possible, or it is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import ExitCode

from aiida_pace.calculations.select import PaceSelectCalculation
from aiida_pace.data.dataset import AtomsDatasetData
from tests.fixtures.frames import random_frames
from tests.fixtures.jobs import parse

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

Parse = Callable[..., tuple[dict[str, orm.Data], ExitCode]]

POOL = random_frames((2, 1, 3, 4))


@pytest.fixture
def parsed(aiida_localhost: orm.Computer, tmp_path: Path) -> Parse:
    """Return a function that parses arrays (None: no file), selected from four frames when three were asked for."""

    def parser(
        arrays: dict[str, object] | bytes | None, stderr: str = '', candidates: Sequence[int] = ()
    ) -> tuple[dict[str, orm.Data], ExitCode]:
        path = tmp_path / 'selection.npz'
        if isinstance(arrays, bytes):
            path.write_bytes(arrays)
        elif arrays is not None:
            np.savez(path, **arrays)
        return parse(
            'pace.select',
            aiida_localhost,
            inputs={
                'dataset': AtomsDatasetData(POOL).store(),
                'max_frames': orm.Int(3).store(),
                **({'candidates': orm.List(list(candidates)).store()} if candidates else {}),
            },
            retrieved={'pace-select.err': stderr.encode()},
            temporary=tmp_path,
        )

    return parser


def selection(
    indices: Sequence[int] = (3, 0, 2), entered: Sequence[int] = (5, 2, 2), **changed: object
) -> dict[str, object]:
    arrays = {
        'indices': np.array(indices, dtype='i8'),
        'entered': np.array(entered, dtype='i8'),
        'wall_time_seconds': np.float64(1.5),
    }
    return arrays | changed


def status(name: str) -> int:
    return int(PaceSelectCalculation.exit_codes[name].status)


def test_only_candidates_may_be_selected(parsed: Parse) -> None:
    _, code = parsed(selection(), candidates=[0, 3, 2])
    assert code.status == 0
    _, code = parsed(selection(), candidates=[0, 1, 3])
    assert '`indices` holds 2, which is not a candidate' in code.message
    _, code = parsed(selection([], []), candidates=[1, 2])
    assert 'the active set spans all candidates (2)' in code.message


def test_frames_come_in_the_order_of_their_rank(parsed: Parse) -> None:
    outputs, code = parsed(selection())
    assert code.status == 0
    assert outputs['output_parameters'].get_dict() == {
        'indices': [3, 0, 2],
        'entered': [5, 2, 2],
        'wall_time_seconds': 1.5,
    }
    assert set(outputs) == {'output_parameters'}


def test_nothing_selected(parsed: Parse) -> None:
    outputs, code = parsed(selection([], []))
    assert code.status == status('ERROR_SELECTION_EMPTY')
    assert 'the active set spans all candidates (4)' in code.message
    assert outputs['output_parameters']['indices'] == []


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        (b'nonsense', 'the file is not an archive of plain arrays'),
        ({'indices': np.array([0, 1, 2])}, 'it holds the arrays'),
        (selection(wall_time_seconds=np.int64(1)), 'it holds the arrays'),
        (selection(other=np.zeros(3)), 'it holds the arrays'),
        (selection((3, 0)), 'the arrays have different lengths'),
        (selection(wall_time_seconds=np.float64('nan')), 'the arrays have different lengths'),
        (selection([0, 1, 2, 3], [4, 3, 2, 1]), '`indices` holds 4 frames, expected at most 3 different ones'),
        (selection([0, 1, 0]), '`indices` holds 3 frames, expected at most 3 different ones'),
        (selection([0, 1, 4]), '`indices` holds 4, which is not a candidate'),
        (selection([0, -1, 2]), '`indices` holds -1, which is not a candidate'),
        (selection((3, 0, 2), (5, 2, 0)), '`entered` holds a frame without entering atoms'),
    ],
)
def test_a_selection_that_cannot_be(parsed: Parse, arrays: dict[str, object] | bytes, message: str) -> None:
    outputs, code = parsed(arrays)
    assert code.status == status('ERROR_RESULT_INVALID') == 320
    assert '`selection.npz` cannot be used' in code.message
    assert message in code.message
    assert outputs == {}


def test_a_refusal(parsed: Parse) -> None:
    outputs, code = parsed(None, 'evaluated 1 of 4 frames\npace-select: error: frame 1: pyace refuses the structure\n')
    assert code.status == status('ERROR_FRAMES_REFUSED') == 310
    assert code.message == 'pace-select refused its input: frame 1: pyace refuses the structure'
    assert outputs == {}


@pytest.mark.parametrize(
    'stderr', ['', 'evaluated 1 of 4 frames\n', 'pace_select: error: the following arguments are required: -p\n']
)
def test_cut_short(parsed: Parse, stderr: str) -> None:
    """Or another program: the `pace_select` of python-ace takes other arguments."""
    outputs, code = parsed(None, stderr)
    assert code.status == status('ERROR_ENGINE_INTERRUPTED') == 400
    assert f'"{stderr.strip() or "none"}"' in code.message
    assert outputs == {}
