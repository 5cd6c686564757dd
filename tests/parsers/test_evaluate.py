import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import ExitCode

from aiida_pace.data.dataset import AtomsDatasetData
from tests.fixtures.frames import random_frames
from tests.fixtures.jobs import parse
from tests.fixtures.nodes import recorded_active_set, recorded_posterior, recorded_potential

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

Parse = Callable[..., tuple[dict[str, orm.Data], ExitCode]]

SIZES = (2, 1, 3)


@pytest.fixture
def parse_evaluation(aiida_localhost: orm.Computer, tmp_path: Path) -> Parse:
    """Return a function that parses arrays (None: no file) of three frames with six atoms."""

    def parser(
        arrays: dict[str, np.ndarray] | bytes | None,
        *,
        graded: bool = False,
        has_posterior: bool = False,
        **retrieved: str,
    ) -> tuple[dict[str, orm.Data], ExitCode]:
        potential = recorded_potential()
        inputs = {'dataset': AtomsDatasetData(random_frames(SIZES)), 'potential': potential}
        if graded:
            inputs['active_set'] = recorded_active_set(potential)
        if has_posterior:
            inputs['posterior'] = recorded_posterior(potential)
        path = tmp_path / 'evaluation.npz'
        if isinstance(arrays, bytes):
            path.write_bytes(arrays)
        elif arrays is not None:
            np.savez(path, **arrays)
        names = {'stderr': 'pace-evaluate.err', 'scheduler': '_scheduler-stderr.txt'}
        return parse(
            'pace.evaluate',
            aiida_localhost,
            inputs={label: node.store() for label, node in inputs.items()},
            retrieved={names[key]: content.encode() for key, content in retrieved.items()},
            temporary=tmp_path,
        )

    return parser


def evaluation(*, graded: bool = False, **changed: object) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {
        'energy': rng.normal(size=3),
        'forces': rng.normal(size=(6, 3)),
        'stress': rng.normal(size=(3, 6)),
        'wall_time_seconds': np.float64(1.5),
    }
    if graded:
        arrays['grade'] = np.array([0.5, 3, 1, 2, 2, 1])
    arrays.update(changed)
    return {name: array for name, array in arrays.items() if array is not None}


def test_complete_evaluation_is_stored(parse_evaluation: Parse) -> None:
    arrays = evaluation(graded=True)
    outputs, exit_code = parse_evaluation(arrays, graded=True, stderr='evaluated 3 of 3 frames')
    assert exit_code.status == 0
    assert set(outputs['evaluation'].get_arraynames()) == {'energy', 'forces', 'stress', 'grade'}
    for name in ('energy', 'forces', 'stress', 'grade'):
        assert outputs['evaluation'].get_array(name).tobytes() == arrays[name].tobytes()
    assert outputs['output_parameters'].get_dict() == {
        'atoms_count': 6,
        'count': 3,
        'max_grade': 3.0,
        'wall_time_seconds': 1.5,
    }


def test_without_active_set_there_is_no_grade(parse_evaluation: Parse) -> None:
    outputs, exit_code = parse_evaluation(evaluation())
    assert exit_code.status == 0
    assert 'grade' not in outputs['evaluation'].get_arraynames()
    assert 'max_grade' not in outputs['output_parameters'].get_dict()


#: What a posterior adds for six atoms in three frames.
ERROR_BARS = {
    'leverage': np.linspace(0.1, 3, 6),
    'force_sigma': np.linspace(0.01, 0.3, 6),
    'energy_sigma': np.array([0.1, 0.2, 0.3]),
}


def test_error_bars_are_stored(parse_evaluation: Parse) -> None:
    outputs, exit_code = parse_evaluation(evaluation(**ERROR_BARS), has_posterior=True)
    assert exit_code.status == 0
    assert set(outputs['evaluation'].get_arraynames()) == {'energy', 'forces', 'stress', *ERROR_BARS}
    for name, array in ERROR_BARS.items():
        assert outputs['evaluation'].get_array(name).tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ('arrays', 'has_posterior', 'detail'),
    [
        (evaluation(), True, "expected \\['energy', 'energy_sigma', 'force_sigma', 'forces', 'leverage'"),
        (evaluation(**ERROR_BARS), False, "holds the arrays .*'leverage'"),
        (evaluation(**ERROR_BARS | {'energy_sigma': np.zeros(6)}), True, '`energy_sigma` is float64\\[6\\]'),
        (evaluation(**ERROR_BARS | {'force_sigma': np.full(6, np.nan)}), True, '`force_sigma` holds a number'),
    ],
)
def test_error_bars_that_cannot_be_used(
    parse_evaluation: Parse, arrays: dict[str, np.ndarray], has_posterior: bool, detail: str
) -> None:
    outputs, exit_code = parse_evaluation(arrays, has_posterior=has_posterior)
    assert exit_code.status == 320
    assert re.search(detail, exit_code.message), exit_code.message
    assert not outputs


def test_refusal_of_the_engine_is_passed_on(parse_evaluation: Parse) -> None:
    outputs, exit_code = parse_evaluation(
        None, stderr='evaluated 1 of 3 frames\npace-evaluate: error: frame 1: pyace refuses the structure\n'
    )
    assert exit_code.status == 310
    assert exit_code.message == 'pace-evaluate refused its input: frame 1: pyace refuses the structure'
    assert not outputs


@pytest.mark.parametrize(
    ('retrieved', 'words'),
    [
        ({'stderr': 'evaluated 1 of 3 frames\n'}, '"evaluated 1 of 3 frames"'),
        ({'stderr': 'Traceback (most recent call last):\nMemoryError\n'}, '"MemoryError"'),
        ({'stderr': '', 'scheduler': 'line 3: pace-evaluate: command not found\n'}, 'command not found'),
        ({}, '"none"'),
    ],
)
def test_engine_that_was_cut_short(parse_evaluation: Parse, retrieved: dict[str, str], words: str) -> None:
    outputs, exit_code = parse_evaluation(None, **retrieved)
    assert exit_code.status == 400
    assert words in exit_code.message
    assert not outputs


@pytest.mark.parametrize(
    ('arrays', 'graded', 'detail'),
    [
        (b'', False, 'not an archive'),
        (b'text', False, 'not an archive'),
        (b'PK\x03\x04 cut', False, 'not an archive'),
        (evaluation(energy=None), False, "holds the arrays \\['forces'"),
        (evaluation(), True, "expected \\['energy', 'forces', 'grade'"),
        (evaluation(graded=True), False, "holds the arrays .*'grade'"),
        (evaluation(energy=np.zeros(2)), False, '`energy` is float64\\[2\\], expected float64\\[3\\]'),
        (evaluation(forces=np.zeros((3, 6))), False, '`forces`'),
        (evaluation(stress=np.zeros((3, 6), dtype='f4')), False, '`stress` is float32'),
        (evaluation(energy=np.array([0, np.nan, 0])), False, '`energy` holds a number that is not finite'),
        (evaluation(graded=True, grade=np.full(6, np.inf)), True, '`grade` holds a number that is not finite'),
        (evaluation(energy=np.array([object()] * 3)), False, 'not an archive'),  # would have to be unpickled
    ],
)
def test_evaluation_that_cannot_be_used(
    parse_evaluation: Parse, arrays: dict[str, np.ndarray] | bytes, graded: bool, detail: str
) -> None:
    outputs, exit_code = parse_evaluation(arrays, graded=graded)
    assert exit_code.status == 320
    assert exit_code.message.startswith('`evaluation.npz` cannot be used')
    assert re.search(detail, exit_code.message), exit_code.message
    assert not outputs
