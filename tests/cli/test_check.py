"""`aiida-pace check`: what it asks for, and how it tells what is missing."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.plugins import DataFactory, GroupFactory
from click.testing import CliRunner, Result

from aiida_pace.cli import cmd_root
from aiida_pace.workflows.check.base import CheckWorkChain
from aiida_pace.workflows.check.trials import code_names
from aiida_pace.workflows.label.labellers import DEFAULT_LABELLER
from tests.fixtures.dft import PSEUDOS

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

CODES = code_names(DEFAULT_LABELLER)
PLUGINS = {
    'pw': 'quantumespresso.pw',
    'pacemaker': 'pace.train',
    'pace_fit_linear': 'pace.train',
    'pace_yaml2yace': 'pace.train',
    'pace_activeset': 'pace.active_set',
    'pace_swarm': 'pace.swarm',
    'pace_embed': 'pace.embed',
    'pace_evaluate': 'pace.evaluate',
    'pace_select': 'pace.select',
    'lammps': 'pace.lammps',
}


def check(*arguments: str) -> Result:
    return CliRunner().invoke(cmd_root, ['check', *arguments], catch_exceptions=False)


@pytest.fixture
def family(aiida_profile_clean: t.Any, tmp_path: Path) -> None:
    """Install the pseudopotential of silicon."""
    folder = tmp_path / 'pseudos'
    folder.mkdir()
    (folder / 'Si.upf').write_bytes((PSEUDOS / 'Si.pz-vbc.UPF').read_bytes())
    GroupFactory('pseudo.family').create_from_folder(folder, 'pz-vbc', pseudo_type=DataFactory('pseudo.upf'))


@pytest.fixture
def nowhere(family: None, aiida_code_installed: Callable[..., orm.InstalledCode]) -> None:
    """Make codes with the labels of `examples/localhost.py`, without executables."""
    for label, plugin in PLUGINS.items():
        aiida_code_installed(label=label, default_calc_job_plugin=plugin, filepath_executable=f'/nowhere/{label}')


@pytest.mark.usefixtures('nowhere')
def test_failures_are_told_with_their_remedies() -> None:
    result = check('--elements', 'Si,C', '--pseudo-family', 'pz-vbc')
    assert result.exit_code == 1
    for name in CODES:
        assert re.search(rf'^{name} +failed', result.output, re.MULTILINE), result.output
    assert re.search('^pseudopotentials +failed +there are none for C', result.output, re.MULTILINE)
    assert 'Use a family with pseudopotentials' in result.output
    assert f'{len(CODES) + 1} of {len(CODES) + 4} checks failed' in result.output
    assert 'REPORT' not in result.output
    # The label of the code follows from how the campaign trains.
    inputs = orm.QueryBuilder().append(CheckWorkChain).first(flat=True).inputs
    assert inputs.train.fit.code.label == 'pacemaker'


@pytest.mark.usefixtures('nowhere')
def test_codes_and_options_are_taken() -> None:
    options = '{"queue_name": "debug", "max_wallclock_seconds": 3600}'
    arguments = ('--evaluator', 'linear', '--code', 'lammps=pace_select@localhost', '--options', options)
    assert check('-e', 'Si', '--pseudo-family', 'pz-vbc', *arguments).exit_code == 1
    node = orm.QueryBuilder().append(CheckWorkChain).first(flat=True)
    assert node.inputs.train.fit.code.label == 'pace_fit_linear'
    assert node.inputs.train.fit.parameters['evaluator'] == 'linear'
    assert node.inputs.explore.lammps.code.label == 'pace_select'
    # As the protocol of a campaign gives them to each job.
    given: t.Any = node.get_metadata_inputs()
    for calculation in (given['label']['pw']['pw'], given['explore']['lammps'], given['train']['fit']):
        taken = calculation['metadata']['options']
        assert (taken['queue_name'], taken['max_wallclock_seconds']) == ('debug', 3600)
    assert given['label']['pw']['pw']['metadata']['options']['withmpi']


@pytest.mark.usefixtures('nowhere')
@pytest.mark.parametrize('options', ['{"walltime": 60}', '{"max_wallclock_seconds": "long"}'])
def test_options_that_aiida_does_not_know(options: str) -> None:
    result = check('-e', 'Si', '--pseudo-family', 'pz-vbc', '--options', options)
    assert result.exit_code == 1
    assert 'see `--options`' in result.output


@pytest.mark.usefixtures('nowhere')
def test_family_without_the_elements() -> None:
    result = check('-e', 'C', '--pseudo-family', 'pz-vbc')
    assert result.exit_code == 1
    assert '`pz-vbc` has none for C' in result.output


def test_help_names_the_codes() -> None:
    words = ' '.join(check('--help').output.split())
    assert all(name in words for name in CODES)


@pytest.mark.engines
@pytest.mark.usefixtures('nowhere')
def test_more_detail_is_what_the_codes_printed(
    aiida_code_installed: Callable[..., orm.InstalledCode], tmp_path: Path
) -> None:
    script = tmp_path / 'wrong'
    script.write_text("#!/bin/bash\nprintf 'first words\\n\\e[31mlast words\\n'\n")
    script.chmod(0o755)
    code = aiida_code_installed(label='wrong', default_calc_job_plugin='pace.train', filepath_executable=str(script))
    arguments = ('-e', 'Si', '--pseudo-family', 'pz-vbc', '--code', f'pacemaker={code.full_label}')
    result = check(*arguments, '--verbose')
    job = orm.QueryBuilder().append(orm.CalcJobNode).first(flat=True)
    assert re.search(r'^ +first words\n +last words$', result.output, re.MULTILINE), result.output
    assert re.search(rf'^pacemaker +failed .* {job.pk} *$', result.output, re.MULTILINE), result.output


@pytest.mark.usefixtures('family')
def test_codes_that_do_not_exist_are_named_together() -> None:
    result = check('-e', 'Si', '--pseudo-family', 'pz-vbc', '--computer', 'cluster')
    assert result.exit_code == 1
    assert all(f'{name}={name}@cluster' in result.output for name in CODES)
    assert 'examples/localhost.py' in result.output


@pytest.mark.usefixtures('nowhere')
def test_family_that_does_not_exist() -> None:
    result = check('-e', 'Si', '--pseudo-family', 'nothing')
    assert result.exit_code == 1
    assert 'aiida-pseudo install' in result.output


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ((), 'elements'),
        (('-e', 'Si,Xx'), 'not a list of chemical symbols'),
        (('-e', ''), 'not a list of chemical symbols'),
        (('-e', 'Si', '--code', 'lammps'), 'NAME=LABEL'),
        (('-e', 'Si', '--code', 'lmp=lmp@localhost'), 'NAME=LABEL'),
        (('-e', 'Si', '--options', 'queue_name=debug'), 'JSON'),
        (('-e', 'Si', '--options', '[]'), 'JSON'),
    ],
)
def test_usage(arguments: tuple[str, ...], words: str) -> None:
    result = check(*arguments)
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.engines
@pytest.mark.slow
def test_all_is_well(family: None, pace_code: Callable[[str, str], orm.InstalledCode]) -> None:
    executables = {'pw': 'pw.x', 'pacemaker': 'pace-fit-linear', 'lammps': 'pace-lmp'}
    executables |= {f'pace_{name}': f'pace-{name}' for name in ('swarm', 'embed', 'evaluate', 'select')}
    codes = {name: pace_code(PLUGINS[name], executables.get(name, name)) for name in CODES}
    labels = [part for name, code in codes.items() for part in ('--code', f'{name}={code.full_label}')]
    options = ('--evaluator', 'linear', '--options', '{"withmpi": false}')
    result = check('-e', 'Si', '--pseudo-family', 'pz-vbc', *options, *labels)
    assert result.exit_code == 0, result.output
    assert 'A campaign can run' in result.output
