"""What is believed of the files of ``pace-label``."""

from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import ExitCode

from aiida_pace.data.dataset import AtomsDatasetData
from tests.fixtures.frames import random_frames
from tests.fixtures.jobs import parse

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

Parse = Callable[..., tuple[dict[str, orm.Data], ExitCode]]


def arrays(**changed: t.Any) -> dict[str, np.ndarray]:
    """Return the arrays of three frames, of which the second has no label."""
    rng = np.random.default_rng(0)
    return {
        'sizes': np.array([2, 1, 3]),
        'labelled': np.array([True, False, True]),
        'energy': np.array([-1.0, 0.0, -3.0]),
        'forces': rng.normal(size=(6, 3)),
        'stress': rng.normal(size=(3, 6)),
        'has_stress': np.array([True, False, True]),
        'core_seconds': np.array([0.1, 0.2, 0.3]),
        'wall_seconds': np.array([0.1, 0.2, 0.3]),
    } | changed


def account(**changed: t.Any) -> dict[str, t.Any]:
    return {
        'count': 3,
        'labelled': 2,
        'failures': {'1': 'no SCF'},
        'unreached': [],
        'calculator': 'a.b:C',
        'supercell': {'frame': 0, 'difference': 0.0},
    } | changed


@pytest.fixture
def parse_labels(aiida_localhost: orm.Computer, tmp_path: Path) -> Parse:
    """Return a function that parses the two files (None: not there) of three frames with six atoms."""

    def parser(
        written: dict[str, np.ndarray] | None, told: dict[str, t.Any] | None = None, stderr: str = ''
    ) -> tuple[dict[str, orm.Data], ExitCode]:
        if written is not None:
            np.savez(tmp_path / 'labels.npz', **written)
        if told is not None:
            (tmp_path / 'labels.json').write_text(json.dumps(told))
        return parse(
            'pace.label_calculator',
            aiida_localhost,
            inputs={
                'dataset': AtomsDatasetData(random_frames((2, 1, 3))).store(),
                'parameters': orm.Dict({'calculator': 'a.b:C'}).store(),
            },
            retrieved={'pace-label.err': stderr.encode()},
            temporary=tmp_path,
        )

    return parser


def test_labels_and_failures(parse_labels: Parse) -> None:
    outputs, code = parse_labels(arrays(), account())
    assert code.status == 0
    np.testing.assert_array_equal(outputs['labels'].get_array('forces'), arrays()['forces'])
    assert outputs['output_parameters']['failures'] == {'1': 'no SCF'}


def test_no_frame_has_a_label(parse_labels: Parse) -> None:
    """The causes are told, by number of frames."""
    told = account(labelled=0, failures={'0': 'no SCF', '1': 'no SCF', '2': 'too near'})
    outputs, code = parse_labels(arrays(labelled=np.zeros(3, dtype=bool)), told)
    assert code.status == 510
    assert 'none of the 3 frames' in code.message
    assert '2 x no SCF; 1 x too near' in code.message
    assert {'labels', 'output_parameters'} <= set(outputs)


def test_frames_that_were_not_reached(parse_labels: Parse) -> None:
    """What was labelled is handed over; a run with the same inputs must not take this from the cache."""
    outputs, code = parse_labels(arrays(), account(unreached=[1]))
    assert code.status == 401
    assert 'too short for 1 of 3 frames' in code.message
    assert 'labels' in outputs


@pytest.mark.parametrize(
    ('changed', 'told', 'detail'),
    [
        ({'energy': np.array([1.0, 0.0, np.nan])}, {}, '`energy` holds a number that is not finite'),
        ({'forces': np.zeros((5, 3))}, {}, '`forces` is float64.5, 3., expected float64.6, 3.'),
        ({'labelled': np.ones(3)}, {}, '`labelled` is float64.3., expected bool'),
        ({'sizes': np.array([1, 2, 3])}, {}, 'other numbers of atoms'),
        ({'extra': np.ones(3)}, {}, 'it holds the arrays'),
        ({}, {'failures': {}}, 'gives no cause for some frames without a label'),
        ({}, {'failures': {'1': 'a', '2': 'b'}}, 'gives no cause for some frames without a label'),
        ({}, {'failures': [1]}, 'the account is incomplete'),
        ({}, None, '`labels.json` is missing'),
    ],
)
def test_files_that_cannot_be_believed(
    parse_labels: Parse, changed: dict[str, t.Any], told: dict[str, t.Any] | None, detail: str
) -> None:
    outputs, code = parse_labels(arrays(**changed), None if told is None else account(**told))
    assert code.status == 320
    assert re.search(detail, code.message), code.message
    assert 'labels' not in outputs


@pytest.mark.parametrize(
    ('stderr', 'status', 'detail'),
    [
        ('pace-label: error: cannot import `a.b:C`', 310, 'refused its input: cannot import `a.b:C`'),
        ('labelled 1 of 3 frames\nslurmstepd: error: out of memory', 400, 'out of memory'),
        ('', 400, 'ended without `labels.npz`'),
    ],
)
def test_no_file(parse_labels: Parse, stderr: str, status: int, detail: str) -> None:
    _, code = parse_labels(None, stderr=stderr)
    assert code.status == status
    assert detail in code.message
