"""Walkers in lanes, with the real engine."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import DataFactory, WorkflowFactory
from ase.build import bulk

from aiida_pace.calculations.functions.walkers import summarise_walkers

AceActiveSetData = DataFactory('pace.active_set')
AcePotentialData = DataFactory('pace.potential')
ExploreWorkChain = WorkflowFactory('pace.explore')

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


@pytest.fixture
def inputs(si_potential_files: Path, pace_code: Callable[[str, str], orm.InstalledCode]) -> dict[str, t.Any]:
    """One walker in the crystal the potential knows, one in a crystal compressed far beyond."""
    potential = AcePotentialData((si_potential_files / 'potential.yaml').read_bytes())
    return {
        'structures': {
            'far': orm.StructureData(ase=bulk('Si', a=4.4, cubic=True)),
            'known': orm.StructureData(ase=bulk('Si', a=5.43, cubic=True)),
        },
        'seed': orm.Int(5),
        'lammps': {
            'code': pace_code('pace.lammps', 'pace-lmp'),
            'potential': potential,
            'active_set': AceActiveSetData((si_potential_files / 'active_set.asi').read_bytes(), potential=potential),
            'parameters': orm.Dict({'steps': 100, 'temperature_start': 200.0, 'samples': 4}),
        },
    }


@pytest.mark.engines
def test_explore(inputs: dict[str, t.Any]) -> None:
    """The walker that knows its way comes to its end, the other halts; each has its own seed and its own frames."""
    results, node = run_get_node(ExploreWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    summary = results['output_parameters'].get_dict()
    assert summary['completed'] == ['known']
    assert summary['halted'] == ['far']
    assert summary['max_grade'] > 10
    assert list(results['extrapolative']) == ['far']
    assert results['extrapolative']['far'].frames.origin[-1] == 'halt'
    assert 1 <= results['samples']['known'].count <= 4
    seeds = {
        job.inputs.seed.value for lane in node.called if 'Lane' in (lane.process_label or '') for job in lane.called
    }
    assert seeds == {5, 6}


@pytest.mark.engines
def test_explore_counts_a_walker_that_fails(inputs: dict[str, t.Any]) -> None:
    """Two atoms in one place have no energy: that walker is counted and named, the others go on."""
    inputs['lammps']['parameters'] = orm.Dict({'steps': 20, 'samples': 2})
    inputs['structures']['broken'] = broken_structure()
    results, node = run_get_node(ExploreWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    summary = results['output_parameters'].get_dict()
    assert 'broken' not in summary['completed'] + summary['halted']
    assert list(summary['failed']) == ['broken']
    assert 'known' in summary['completed']


@pytest.mark.engines
def test_explore_without_a_usable_walker(inputs: dict[str, t.Any]) -> None:
    inputs['structures'] = {'broken': broken_structure()}
    _, node = run_get_node(ExploreWorkChain, **inputs)
    assert node.exit_status == ExploreWorkChain.exit_codes.ERROR_WALKERS_FAILED.status
    assert 'broken' in node.exit_message


def broken_structure() -> orm.StructureData:
    """Two atoms in one place: their energy is not a number."""
    atoms = bulk('Si', a=5.43, cubic=True)
    atoms.positions[1] = atoms.positions[0]
    return orm.StructureData(ase=atoms)


def test_walkers_that_were_cut_short_have_not_completed() -> None:
    """Killed at the walltime after a few quiet steps is not quiet."""
    short = {'halted': False, 'steps': 30, 'target_steps': 2000, 'max_grade': 1.0}
    halted = {'halted': True, 'steps': 40, 'target_steps': 2000, 'max_grade': 20.0}
    whole = {'halted': False, 'steps': 2000, 'target_steps': 2000, 'max_grade': 3.0}
    summary = summarise_walkers(
        orm.Dict({'killed': 'out of walltime', 'halted': 'unstable'}),
        **{
            name: orm.Dict(row)
            for name, row in (('killed', short), ('short', short), ('halted', halted), ('whole', whole))
        },
    ).get_dict()
    assert summary['completed'] == ['whole']
    assert summary['halted'] == ['halted']
    assert summary['failed'] == {'killed': 'out of walltime'}
    assert summary['max_grade'] == 20.0
