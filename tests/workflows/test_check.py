"""The pre-flight check with the real engines, and with each of the faults that it is there for."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from aiida.plugins import DataFactory

from aiida_pace.workflows.check import CheckWorkChain, check_inputs
from aiida_pace.workflows.lane import children
from tests.fixtures.dft import PSEUDOS

Inputs = dict[str, t.Any]

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

ENGINES = ['pw', 'pacemaker', 'pace_yaml2yace', 'pace_activeset', 'pace_evaluate', 'pace_select', 'lammps']
COMPUTER = ['computer localhost', 'scheduler localhost', 'disk localhost', 'pseudopotentials']


@pytest.fixture
def inputs(pace_code: Callable[[str, str], orm.InstalledCode], label_inputs: Callable[..., Inputs]) -> Inputs:
    """Return the inputs of a check, with the fit that takes a second."""
    campaign = {
        'label': label_inputs('Si'),
        'train': {
            'fit': {
                'code': pace_code('pace.train', 'pace-fit-linear'),
                'yace_code': pace_code('pace.train', 'pace_yaml2yace'),
                'parameters': orm.Dict({'evaluator': 'linear', 'functions_per_element': 300}),
            },
            'active_set': {'code': pace_code('pace.active_set', 'pace_activeset')},
        },
        'explore': {
            'lammps': {
                'code': pace_code('pace.lammps', 'pace-lmp'),
                'parameters': orm.Dict({'temperature_stop': 2000.0, 'steps': 100_000, 'collect_stride': 100}),
            }
        },
        'select': {
            'evaluate': {'code': pace_code('pace.evaluate', 'pace-evaluate')},
            'select': {'code': pace_code('pace.select', 'pace_select')},
        },
    }
    return check_inputs(campaign, ['Si'])


def checks_of(node: orm.ProcessNode) -> dict[str, dict[str, str]]:
    return {check['name']: check for check in node.outputs.output_parameters['checks']}


@pytest.mark.engines
def test_all_is_well(inputs: Inputs, pace_code: Callable[[str, str], orm.InstalledCode]) -> None:
    """With pacemaker and TensorFlow: every engine runs, tells its version, and has a live grade."""
    inputs['train']['fit'] |= {
        'code': pace_code('pace.train', 'pacemaker'),
        'parameters': orm.Dict({'functions_per_element': 100, 'max_epochs': 500}),
    }
    _, node = run_get_node(CheckWorkChain, **inputs)
    checks = checks_of(node)
    assert node.is_finished_ok, node.exit_message
    assert list(checks) == COMPUTER + ENGINES
    assert node.outputs.output_parameters['status'] == 'ok', checks
    for name in ('pw', 'pacemaker', 'pace_evaluate', 'lammps'):
        assert checks[name]['version'], name
