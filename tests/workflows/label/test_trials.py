"""Trials of what labels: what the pre-flight check says of a calculator."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk

from aiida_pace.calculations.label_calculator import PaceLabelCalculation
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames
from aiida_pace.workflows.label.calculator import CalculatorTrial, supercell_warning

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
@pytest.mark.parametrize(
    ('calculator', 'element', 'status', 'words'),
    [
        ('ase.calculators.emt:EMT', 'Cu', 'ok', 'labelled 2 frames with ase.calculators.emt:EMT'),
        ('tests.fixtures.odd_calculators:Gamma', 'Cu', 'warning', 'depends on the description of its cell'),
        ('ase.calculators.emt:EMT', 'Si', 'failed', 'No EMT-potential for Si'),
        ('no_such_package:Calculator', 'Si', 'failed', 'install the package in the environment of the code'),
    ],
)
def test_calculator_on_trial(  # noqa: PLR0917
    calculator: str,
    element: str,
    status: str,
    words: str,
    aiida_code_installed: Callable[..., orm.InstalledCode],
    engine: Callable[[str], Path],
) -> None:
    code = aiida_code_installed(
        label='pace-label',
        default_calc_job_plugin='pace.label_calculator',
        filepath_executable=str(engine('pace-label')),
        prepend_text=f'export PYTHONPATH={REPOSITORY} OMP_NUM_THREADS=1',
    )
    trial = CalculatorTrial()
    given: dict[str, t.Any] = {'code': code, 'parameters': orm.Dict({'calculator': calculator})}
    assert trial.cover(given, [element]) == ([element], None)
    frames = Frames.from_atoms([bulk(element), bulk(element, cubic=True)])
    _, node = run_get_node(PaceLabelCalculation, **trial.job_inputs(given, {'pool': AtomsDatasetData(frames)}))
    check = trial.judge(node)
    assert (check.name, check.status) == ('pace_label', status)
    assert words in f'{check.found} {check.remedy}'
    assert check.version.startswith('pace-label') == (status != 'failed')


def test_a_meV_is_no_reason_to_warn() -> None:  # noqa: N802
    assert supercell_warning(0.0009) == supercell_warning(-0.0009) == []
    assert 'differs by -1.1 meV/atom' in supercell_warning(-0.0011)[0]
