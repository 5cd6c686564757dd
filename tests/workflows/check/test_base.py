"""The pre-flight check with the real engines, and with each of the faults that it is there for."""

from __future__ import annotations

import functools
import operator
import re
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.manage.caching import enable_caching

import aiida_pace
from aiida_pace.workflows.check.base import CheckWorkChain, check_inputs
from aiida_pace.workflows.graph import children

Inputs = dict[str, t.Any]

#: What pacemaker 0.4.0rc1 wrote in an environment without tensorpotential.
WITHOUT_BACKEND = Path(__file__).parent / 'pacemaker_without_tensorpotential.out'

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

ENGINES = [
    'pw',
    'pacemaker',
    'pace_yaml2yace',
    'pace_activeset',
    'pace_swarm',
    'pace_embed',
    'pace_select',
    'pace_evaluate',
    'lammps',
]
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
            'swarm': {'code': pace_code('pace.swarm', 'pace-swarm')},
            'embed': {'code': pace_code('pace.embed', 'pace-embed')},
            'maxvol': {'code': pace_code('pace.select', 'pace-select')},
        },
        'evaluate': {'code': pace_code('pace.evaluate', 'pace-evaluate')},
    }
    return check_inputs(campaign, ['Si'])


def checks_of(node: orm.ProcessNode) -> dict[str, dict[str, str]]:
    return {check['name']: check for check in node.outputs.output_parameters['checks']}


@pytest.mark.engines
@pytest.mark.slow
def test_all_is_well(inputs: Inputs, pace_code: Callable[[str, str], orm.InstalledCode]) -> None:
    """With pacemaker and TensorFlow: every engine runs, tells its version, and has a live grade."""
    inputs['train']['fit'] |= {
        'code': pace_code('pace.train', 'pacemaker'),
        'parameters': orm.Dict({'functions_per_element': 100, 'max_epochs': 500}),
    }
    _, node = run_get_node(CheckWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    checks = checks_of(node)
    assert list(checks) == COMPUTER + ENGINES
    assert node.outputs.output_parameters['status'] == 'ok', checks
    versions = {name: check['version'] for name, check in checks.items() if check['version']}
    assert re.fullmatch(r'pw\.x [67]\.\S+', versions.pop('pw'))
    assert versions == {
        'pacemaker': 'python-ace 0.4.0rc1, tensorpotential 0.6.2.1',
        **{
            f'pace_{name}': f'pace-{name} {aiida_pace.__version__}' for name in ('swarm', 'embed', 'select', 'evaluate')
        },
        'lammps': f'pace-lmp {aiida_pace.__version__}',
    }

    # What is checked is the whole way: each engine got what the one before made.
    jobs = children(node)
    assert jobs['lammps'].inputs.active_set == jobs['pace_activeset'].outputs.active_set
    assert jobs['pace_activeset'].inputs.potential == jobs['pacemaker'].outputs.potential
    assert jobs['lammps'].outputs.output_parameters['max_grade'] > 0
    # Tiny, but with the settings of the campaign.
    assert jobs['pacemaker'].inputs.parameters['kappa'] == 0.3
    assert jobs['pacemaker'].inputs.datasets.check.count == 1
    assert jobs['pw'].inputs.parameters['SYSTEM'] == inputs['label']['pw']['pw']['parameters']['SYSTEM']
    assert jobs['lammps'].inputs.parameters['temperature_stop'] == 2000.0
    # Another check must not be answered from the cache.
    with enable_caching():
        assert not any(job.base.caching.should_use_cache() for job in jobs.values() if isinstance(job, orm.CalcJobNode))


@pytest.fixture
def broken(
    inputs: Inputs, aiida_code_installed: Callable[..., orm.InstalledCode], tmp_path: Path
) -> Callable[[str, str, str], None]:
    """Return a function that puts another executable, or a script, in the place of a code."""

    def replace(path: str, entry_point: str, executable: str) -> None:
        if '\n' in executable:
            script = tmp_path / path.replace('.', '_')
            script.write_text(executable)
            script.chmod(0o755)
            executable = str(script)
        *namespaces, port = path.split('.')
        place = functools.reduce(operator.getitem, namespaces, inputs)
        place[port] = aiida_code_installed(
            label=path, default_calc_job_plugin=entry_point, filepath_executable=executable
        )

    return replace


@pytest.mark.engines
@pytest.mark.slow
def test_no_fault_hides_another(inputs: Inputs, broken: Callable[[str, str, str], None]) -> None:
    """A missing pseudopotential, no backend, no pw.x, no LAMMPS: all are told, and the engines that are whole run."""
    inputs['elements'] = orm.List(['C', 'Si'])
    inputs['train']['fit']['parameters'] = orm.Dict({'evaluator': 'tensorpot'})
    broken('label.pw.pw.code', 'quantumespresso.pw', '/bin/true')
    broken('train.fit.code', 'pace.train', f'#!/bin/bash\ncat {WITHOUT_BACKEND}\nexit 1\n')
    broken('explore.lammps.code', 'pace.lammps', '/nowhere/lmp')

    _, node = run_get_node(CheckWorkChain, **inputs)

    codes = CheckWorkChain.exit_codes
    assert node.exit_status == codes.ERROR_PSEUDOS_MISSING.status
    assert 'failed checks: 4 (pseudopotentials, pw, pacemaker, lammps)' in node.exit_message
    assert 'there are none for C' in node.exit_message
    checks = checks_of(node)
    assert {name: check['status'] for name, check in checks.items()} == dict.fromkeys(COMPUTER[:3], 'ok') | {
        'pseudopotentials': 'failed',
        'pw': 'failed',
        'pacemaker': 'failed',
        'pace_yaml2yace': 'skipped',
        'pace_activeset': 'ok',
        'pace_swarm': 'ok',
        'pace_embed': 'ok',
        'pace_select': 'ok',
        'pace_evaluate': 'ok',
        'lammps': 'failed',
    }
    assert 'Program PWSCF' in checks['pw']['found']
    assert "No module named 'tensorpotential'" in checks['pacemaker']['found']
    assert checks['pacemaker']['remedy'].startswith('Install tensorpotential beside pacemaker')
    assert '/nowhere/lmp' in checks['lammps']['found']
    assert all(check['remedy'] for check in checks.values() if check['status'] != 'ok')
    # pw.x was given what has a pseudopotential.
    assert children(node)['pw'].inputs.structure.get_symbols_set() == {'Si'}
    assert 'lammps' not in children(node)


#: Every code of a campaign: its port, and the plugin of its calculation.
CODE_PORTS = (
    ('label.pw.pw.code', 'quantumespresso.pw'),
    ('train.fit.code', 'pace.train'),
    ('train.fit.yace_code', 'pace.train'),
    ('train.active_set.code', 'pace.active_set'),
    ('select.swarm.code', 'pace.swarm'),
    ('select.embed.code', 'pace.embed'),
    ('evaluate.code', 'pace.evaluate'),
    ('select.maxvol.code', 'pace.select'),
    ('explore.lammps.code', 'pace.lammps'),
)


@pytest.mark.engines
@pytest.mark.slow
def test_wrong_executables(inputs: Inputs, broken: Callable[[str, str, str], None]) -> None:
    """Another program in the place of each code: named with what it printed, of which no terminal sees the escapes."""
    wrong = "#!/bin/bash\nprintf '\\e[31mtar: unknown\\0 option\\e[0m\\n'\nexit 2\n"
    for path, entry_point in CODE_PORTS:
        broken(path, entry_point, wrong)
    _, node = run_get_node(CheckWorkChain, **inputs)
    assert node.exit_status == CheckWorkChain.exit_codes.ERROR_ENGINE_FAILED.status
    checks = checks_of(node)
    statuses = dict.fromkeys(ENGINES, 'failed') | {'pace_yaml2yace': 'skipped'}
    assert {name: checks[name]['status'] for name in ENGINES} == statuses
    for path, _ in CODE_PORTS:
        code = functools.reduce(operator.getitem, path.split('.'), inputs)
        if path != 'train.fit.yace_code':
            (check,) = [check for check in checks.values() if f'`{code.filepath_executable}`' in check['found']]
            assert '"tar: unknown option"' in check['found']
            assert check['remedy'].startswith(f'Make sure that the code `{code.full_label}` runs ')
            assert 'memory' not in check['found'] + check['remedy']
    logs = [log.message for log in orm.Log.collection.get_logs_for(node)]
    for text in (node.exit_message, *logs, *(text for check in checks.values() for text in check.values())):
        assert not {'\x1b', '\x00'} & set(text)


def test_missing_executables(inputs: Inputs, broken: Callable[[str, str, str], None]) -> None:
    """Where nothing is installed, nothing is submitted, and everything is named at once."""
    for path, entry_point in CODE_PORTS:
        broken(path, entry_point, f'/nowhere/{path}')
    _, node = run_get_node(CheckWorkChain, **inputs)
    assert node.exit_status == CheckWorkChain.exit_codes.ERROR_ENGINE_FAILED.status
    assert f'({", ".join(ENGINES)})' in node.exit_message
    assert 'Install it there' in node.exit_message
    assert not orm.QueryBuilder().append(orm.CalcJobNode).count()


def test_campaign_of_small_cells(inputs: Inputs) -> None:
    """It gives settings of the boxes, but no code for them: there is nothing to try."""
    campaign = {**inputs, 'select': {**inputs['select'], 'embed': {'parameters': orm.Dict({'max_dft_atoms': 32})}}}
    given = check_inputs(campaign, ['Si'])
    assert 'embed' not in given['select']
    process = instantiate_process(get_manager().get_runner(), CheckWorkChain, **given)
    assert 'embed' not in process.inputs.select
    assert 'swarm' in process.inputs.select


def test_scheduler_that_does_not_answer(inputs: Inputs, aiida_localhost: orm.Computer) -> None:
    """Jobs that nobody would start are not submitted."""
    aiida_localhost.scheduler_type = 'core.pbspro'  # which is nowhere where these tests run
    _, node = run_get_node(CheckWorkChain, **inputs)
    assert node.exit_status == CheckWorkChain.exit_codes.ERROR_COMPUTER_UNFIT.status
    checks = checks_of(node)
    assert 'qstat' in checks['scheduler localhost']['found']
    assert 'core.pbspro' in checks['scheduler localhost']['remedy']
    assert {checks[name]['status'] for name in ENGINES} == {'skipped'}
    assert not orm.QueryBuilder().append(orm.CalcJobNode).count()
