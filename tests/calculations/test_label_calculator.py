"""Jobs of ``pace-label``: their files, and what they refuse."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable

import pytest
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.plugins import CalculationFactory
from ase.build import bulk

from aiida_pace.calculations.label_calculator import PaceLabelCalculation
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames
from tests.fixtures.nodes import recorded_potential

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

Inputs = dict[str, t.Any]


def test_entry_point() -> None:
    assert CalculationFactory('pace.label_calculator') is PaceLabelCalculation


@pytest.fixture
def inputs(aiida_code_installed: Callable[..., orm.InstalledCode]) -> Inputs:
    return {
        'code': aiida_code_installed(filepath_executable='/bin/true', label='true'),
        'dataset': AtomsDatasetData(Frames.from_atoms([bulk('Si')])),
    }


def prepare(inputs: Inputs) -> tuple[t.Any, dict[str, str]]:
    """Return what AiiDA is told of the job, and the files that are written."""
    process = instantiate_process(get_manager().get_runner(), PaceLabelCalculation, **inputs)
    with SandboxFolder() as folder:
        calcinfo = process.prepare_for_submission(folder)
        files = {}
        for name in folder.get_content_list():
            with folder.open(name) as handle:
                files[name] = handle.read()
        return calcinfo, files


def test_files_of_a_calculator(inputs: Inputs) -> None:
    settings = {'calculator': 'tblite.ase:TBLite', 'kwargs': {'method': 'GFN1-xTB'}}
    metadata = {'options': {'max_wallclock_seconds': 100}}
    calcinfo, files = prepare({**inputs, 'parameters': orm.Dict(settings), 'metadata': metadata})
    assert {name: json.loads(text) for name, text in files.items()} == {'settings.json': settings}
    words = ' '.join(calcinfo.codes_info[0].cmdline_params)
    assert words == 'frames.npz --output labels.npz --settings settings.json --max-seconds 95'
    assert [target for *_, target in calcinfo.local_copy_list] == ['frames.npz']
    assert calcinfo.retrieve_temporary_list == ['labels.npz', 'labels.json']


def test_files_of_a_teacher(inputs: Inputs) -> None:
    potential = recorded_potential(reference_energies={'Si': -2.0})
    calcinfo, files = prepare({**inputs, 'potential': potential})
    assert {name: json.loads(text) for name, text in files.items()} == {'reference_energies.json': {'Si': -2.0}}
    words = ' '.join(calcinfo.codes_info[0].cmdline_params)
    assert words == (
        'frames.npz --potential potential.yaml --output labels.npz --reference-energies reference_energies.json'
    )
    assert [target for *_, target in calcinfo.local_copy_list] == ['frames.npz', 'potential.yaml']


def test_refuses_neither_and_both(inputs: Inputs) -> None:
    parameters = orm.Dict({'calculator': 'ase.calculators.emt:EMT'})
    for given in ({}, {'parameters': parameters, 'potential': recorded_potential()}):
        with pytest.raises(ValueError, match='give either `parameters`'):
            prepare({**inputs, **given})


@pytest.mark.parametrize('path', ['EMT', 'ase.calculators.emt.EMT', 'ase emt:EMT', 'os;rm:x', ':EMT', 'a.b:'])
def test_refuses_what_is_no_import_path(inputs: Inputs, path: str) -> None:
    with pytest.raises(ValueError, match='`parameters`: setting `calculator`'):
        prepare({**inputs, 'parameters': orm.Dict({'calculator': path})})


def test_executable_that_is_not_there(inputs: Inputs, aiida_code_installed: Callable[..., orm.InstalledCode]) -> None:
    inputs['code'] = aiida_code_installed(filepath_executable='no-such-pace-label', label='missing')
    parameters = orm.Dict({'calculator': 'ase.calculators.emt:EMT'})
    _, node = run_get_node(PaceLabelCalculation, **inputs, parameters=parameters)
    assert node.exit_status == PaceLabelCalculation.exit_codes.ERROR_ENGINE_INTERRUPTED.status
    assert 'no-such-pace-label' in node.exit_message


@pytest.mark.engines
def test_calculator_that_is_not_installed(inputs: Inputs, pace_code: Callable[[str, str], orm.InstalledCode]) -> None:
    inputs['code'] = pace_code('pace.label_calculator', 'pace-label')
    parameters = orm.Dict({'calculator': 'no_such_package.ase:Calculator'})
    _, node = run_get_node(PaceLabelCalculation, **inputs, parameters=parameters)
    assert node.exit_status == PaceLabelCalculation.exit_codes.ERROR_FRAMES_REFUSED.status
    assert 'No module named' in node.exit_message
    assert 'install the package in the environment of the code' in node.exit_message
