"""Training with restarts, and the active set after it, with the real engines."""

from __future__ import annotations

import sys
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node

from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.workflows.graph import children
from aiida_pace.workflows.train.base import TrainBaseWorkChain
from tests.fixtures.training import doped_frames, silicon_frames

pytestmark = [pytest.mark.engines, pytest.mark.usefixtures('aiida_profile_clean')]

#: Kills the first fit after some iterations, as a scheduler does at the walltime; lets the second one go to its end.
#: It kills between two iterations: a kill in the midst of rewriting the potential leaves half of one.
KILL_ONCE = """#!/bin/bash
if [ -e {marker} ]; then exec {pacemaker} "$@"; fi
touch {marker}
{pacemaker} "$@" &
until [ "$(wc -l 2>/dev/null < metrics.txt || echo 0)" -ge 4 ]; do sleep 0.1; done
while sleep 0.1; do
    kill -STOP $!
    {python} -c '{is_whole}' 2>/dev/null && break
    kill -CONT $!
done
kill -9 $!
"""
IS_WHOLE = (
    'from pathlib import Path; from aiida_pace.formats.bbasis import parse_bbasis; '
    'assert parse_bbasis(Path("interim_potential_0.yaml").read_bytes()).functions_per_element == {"Si": 10}'
)


@pytest.fixture
def inputs(pace_code: Callable[[str, str], orm.InstalledCode]) -> dict[str, t.Any]:
    return {
        'fit': {
            'code': pace_code('pace.train', 'pace-fit-linear'),
            'yace_code': pace_code('pace.train', 'pace_yaml2yace'),
            'datasets': {'morse': AtomsDatasetData(silicon_frames())},
            'parameters': orm.Dict({'evaluator': 'linear', 'functions_per_element': 20, 'cutoff': 4.5}),
        },
        'active_set': {'code': pace_code('pace.active_set', 'pace_activeset')},
    }


def test_train_base(inputs: dict[str, t.Any]) -> None:
    results, node = run_get_node(TrainBaseWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    assert results['active_set'].matches(results['potential'])
    assert results['posterior'].matches(results['potential'])
    assert results['potential'].has_yace
    assert results['output_parameters']['rmse_f_comp'] > 0
    assert children(node)['active_set'].inputs.potential == results['potential']


def test_few_atoms_make_a_small_basis_that_grows_with_the_data(inputs: dict[str, t.Any]) -> None:
    """Seven atoms of aluminium among many of silicon carry six functions, not forty; with more data there are more."""
    few = doped_frames(10, doped=7)
    inputs['fit']['datasets'] = {'first': AtomsDatasetData(few)}
    parameters = {'evaluator': 'linear', 'functions_per_element': 40, 'cutoff': 4.5}
    inputs['fit']['parameters'] = orm.Dict(parameters)
    first, node = run_get_node(TrainBaseWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    assert first['potential'].functions_per_element == {'Al': 6, 'Si': 40}
    assert first['active_set'].matches(first['potential'])
    sized = children(node)['iteration_01'].inputs.parameters
    assert sized.get_dict() == parameters | {'functions_per_element': {'Al': 6, 'Si': 40}}
    assert sized.creator == children(node)['size_basis']
    logs = [log.message for log in orm.Log.collection.get_logs_for(node)]
    assert any('6 of 40 functions of Al, which has 7 atoms with neighbours' in message for message in logs)

    inputs['fit']['datasets']['second'] = AtomsDatasetData(doped_frames(50, doped=50, seed=1))
    inputs['fit']['potential'] = first['potential']
    second, node = run_get_node(TrainBaseWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    assert second['potential'].functions_per_element == {'Al': 40, 'Si': 40}
    assert second['active_set'].matches(second['potential'])
    assert children(node)['iteration_01'].inputs.parameters.get_dict() == parameters


def test_an_element_without_atoms_enough_for_any_basis(inputs: dict[str, t.Any]) -> None:
    inputs['fit']['datasets'] = {'first': AtomsDatasetData(doped_frames(10, doped=2))}
    _, node = run_get_node(TrainBaseWorkChain, **inputs)
    assert node.exit_status == TrainBaseWorkChain.exit_codes.ERROR_ATOMS_INSUFFICIENT.status
    assert '2 atoms of Al with neighbours that a fit learns from, the smallest basis for Al, Si needs 3' in (
        node.exit_message
    )
    assert children(node) == {}


@pytest.fixture
def killed_once(
    inputs: dict[str, t.Any],
    aiida_code_installed: Callable[..., orm.InstalledCode],
    engine: Callable[[str], Path],
    tmp_path: Path,
) -> dict[str, t.Any]:
    """Return inputs of a fit by pacemaker that is killed the first time."""
    wrapper = tmp_path / 'pacemaker-killed-once'
    wrapper.write_text(
        KILL_ONCE.format(
            marker=tmp_path / 'marker', pacemaker=engine('pacemaker'), python=sys.executable, is_whole=IS_WHOLE
        )
    )
    wrapper.chmod(0o755)
    inputs['fit']['code'] = aiida_code_installed(
        label='killed', default_calc_job_plugin='pace.train', filepath_executable=str(wrapper)
    )
    inputs['fit']['parameters'] = orm.Dict({'functions_per_element': 10, 'cutoff': 4.5, 'max_epochs': 40})
    return inputs


@pytest.mark.slow
def test_train_base_continues_from_the_interim_potential(killed_once: dict[str, t.Any]) -> None:
    """The fit is killed, and goes on from the last potential it wrote: its loss ends lower."""
    results, node = run_get_node(TrainBaseWorkChain, **killed_once)
    assert node.is_finished_ok, node.exit_message
    first, second = children(node)['iteration_01'], children(node)['iteration_02']
    assert first.exit_status == first.process_class.exit_codes.ERROR_FIT_INTERRUPTED.status
    assert second.inputs.potential == first.outputs.potential
    assert results['potential'] == second.outputs.potential
    interim, final = first.outputs.learning_curve, second.outputs.learning_curve
    assert final.get_array('loss')[-1] < interim.get_array('loss')[-1]


@pytest.mark.slow
def test_train_base_out_of_tries_hands_over_the_interim_potential(killed_once: dict[str, t.Any]) -> None:
    results, node = run_get_node(TrainBaseWorkChain, max_iterations=orm.Int(1), **killed_once)
    assert node.exit_status == TrainBaseWorkChain.exit_codes.ERROR_MAXIMUM_ITERATIONS_EXCEEDED.status
    assert results['potential'] == children(node)['iteration_01'].outputs.potential


def test_train_base_without_active_set(
    inputs: dict[str, t.Any], aiida_code_installed: Callable[..., orm.InstalledCode]
) -> None:
    """A potential without active set is handed over all the same, with the cause."""
    inputs['active_set']['code'] = aiida_code_installed(
        label='broken', default_calc_job_plugin='pace.active_set', filepath_executable='/bin/false'
    )
    results, node = run_get_node(TrainBaseWorkChain, **inputs)
    assert node.exit_status == TrainBaseWorkChain.exit_codes.ERROR_ACTIVE_SET_FAILED.status
    assert 'pace_activeset' in node.exit_message
    assert 'potential' in results


def test_train_base_accepts_a_potential_without_posterior(
    inputs: dict[str, t.Any],
    aiida_code_installed: Callable[..., orm.InstalledCode],
    engine: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    wrapper = tmp_path / 'fit-without-posterior'
    wrapper.write_text(f'#!/bin/bash\n{engine("pace-fit-linear")} "$@"\nrm output_potential.posterior.npz\n')
    wrapper.chmod(0o755)
    inputs['fit']['code'] = aiida_code_installed(
        label='old', default_calc_job_plugin='pace.train', filepath_executable=str(wrapper)
    )
    results, node = run_get_node(TrainBaseWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    assert children(node)['iteration_01'].exit_status == 511
    assert 'posterior' not in results
    assert results['active_set'].matches(results['potential'])


def test_train_base_accepts_a_potential_without_yace(
    inputs: dict[str, t.Any],
    aiida_code_installed: Callable[..., orm.InstalledCode],
    engine: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """The loop does not need the other format: a converter that fails costs no fit."""
    wrapper = tmp_path / 'fit-without-yace'
    wrapper.write_text(f'#!/bin/bash\n{engine("pace-fit-linear")} "$@"\nrm output_potential.yace\n')
    wrapper.chmod(0o755)
    for port, path in (('code', str(wrapper)), ('yace_code', '/bin/false')):
        inputs['fit'][port] = aiida_code_installed(
            label=port, default_calc_job_plugin='pace.train', filepath_executable=path
        )
    results, node = run_get_node(TrainBaseWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    assert set(children(node)) == {'iteration_01', 'active_set'}
    assert children(node)['iteration_01'].exit_status == 510
    assert not results['potential'].has_yace
    assert results['active_set'].matches(results['potential'])
