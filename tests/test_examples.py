"""The examples: each gives inputs that its work chain accepts; nothing runs."""

from __future__ import annotations

import runpy
import typing as t
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import ProcessBuilder
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.plugins import DataFactory, GroupFactory

from aiida_pace.workflows.check.trials import code_names
from aiida_pace.workflows.label.labellers import DEFAULT_LABELLER
from tests.fixtures.dft import PSEUDOS

EXAMPLES = Path(__file__).parents[1] / 'examples'
CODES = code_names(DEFAULT_LABELLER)
PLUGINS = {
    'pw': 'quantumespresso.pw',
    'pace_label': 'pace.label_calculator',
    'pacemaker': 'pace.train',
    'pace_fit_linear': 'pace.train',
    'pace_yaml2yace': 'pace.train',
    'pace_activeset': 'pace.active_set',
}


@pytest.mark.parametrize(
    'example', sorted(EXAMPLES.glob('*/submit*.py')), ids=lambda path: f'{path.parent.name}-{path.stem}'
)
def test_inputs_are_accepted(
    example: Path, aiida_profile_clean: t.Any, aiida_localhost: orm.Computer, tmp_path: Path, monkeypatch: t.Any
) -> None:
    for name in {*CODES, *PLUGINS}:
        orm.InstalledCode(
            label=name,
            computer=aiida_localhost,
            filepath_executable='/bin/true',
            default_calc_job_plugin=PLUGINS.get(name, f'pace.{name.removeprefix("pace_")}'),
        ).store()
    for symbol in ('Si', 'Al'):
        (tmp_path / f'{symbol}.upf').write_bytes((PSEUDOS / f'{symbol}.pz-vbc.UPF').read_bytes())
    family = GroupFactory('pseudo.family')
    family.create_from_folder(tmp_path, 'pz-vbc', pseudo_type=DataFactory('pseudo.upf'))
    made = []

    def submit(builder: ProcessBuilder) -> orm.WorkChainNode:
        made.append(instantiate_process(get_manager().get_runner(), builder))
        return t.cast(orm.WorkChainNode, made[0].node)

    monkeypatch.setattr('aiida.engine.submit', submit)
    runpy.run_path(str(example))
    # Made, that is validated, and never run.
    assert [process.node.process_label for process in made] == ['ActiveLearningWorkChain']
