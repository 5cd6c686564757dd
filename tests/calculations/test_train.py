"""`pace.train`: real fits by both evaluators, and inputs that are refused before any job."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.plugins import CalculationFactory

from aiida_pace.calculations.train import PaceTrainCalculation
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.frames import Frames
from tests.fixtures.frames import random_frames
from tests.fixtures.nodes import recorded_potential
from tests.fixtures.training import ATOM_ENERGIES, alloy_frames, doped_frames, silicon_frames

PaceCode = Callable[[str, str], orm.InstalledCode]

SMALL = {'cutoff': 4.5, 'functions_per_element': 20, 'max_epochs': 15}
WEIGHTLESS_ATOM = 3


def weighted_frames() -> Frames:
    """Return frames that differ in weight, with one atom whose forces do not count."""
    frames = silicon_frames()
    force_weight = np.ones(len(frames.numbers))
    force_weight[WEIGHTLESS_ATOM] = 0
    return frames.replace(weight=np.linspace(0.5, 1.5, len(frames)), force_weight=force_weight)


def with_nonsense_force(frames: Frames) -> Frames:
    forces = frames.forces.copy()
    forces[WEIGHTLESS_ATOM] = [50.0, -40.0, 30.0]
    return frames.replace(forces=forces)


def loss_of_nothing(frames: Frames, kappa: float) -> float:
    """Return the loss of a potential that predicts the energy of isolated atoms, for the frames that are no atoms."""
    chosen = frames.take(np.flatnonzero(frames.sizes > 1))
    energies = chosen.energy / chosen.sizes - ATOM_ENERGIES['Si']
    weight, force_weight = chosen.weight / chosen.weight.sum(), chosen.force_weight / chosen.force_weight.sum()
    return (1 - kappa) * weight @ energies**2 + kappa * force_weight @ np.sum(chosen.forces**2, axis=1)


def species(potential: AcePotentialData) -> bytes:
    """Return what the potential is, without the time it was made."""
    return potential.get_yaml().partition(b'species:')[2]


def coefficients(potential: AcePotentialData) -> dict[str, list[float]]:
    """Return the coefficients of each function, by what makes the function."""
    blocks = yaml.safe_load(potential.get_yaml())['species']
    return {
        str({name: value for name, value in function.items() if name != 'c'}): function['c']
        for block in blocks
        for function in block['nbody']
    }


def assert_grown(first: dict[str, orm.Data], second: dict[str, orm.Data], functions: dict[str, int]) -> None:
    """The second fit starts with all functions of the first, where that ended, and gets lower."""
    assert second['potential'].functions_per_element == functions
    assert set(coefficients(first['potential'])) < set(coefficients(second['potential']))
    loss = second['learning_curve'].get_array('loss')
    assert loss[0] == pytest.approx(first['output_parameters']['loss'], rel=1e-6)
    assert loss[-1] < 0.99 * loss[0]


def train(
    code: orm.AbstractCode, frames: Frames, parameters: dict[str, object], **inputs: orm.Data
) -> tuple[dict[str, orm.Data], orm.CalcJobNode]:
    datasets = {'a': AtomsDatasetData(frames)}
    return run_get_node(
        PaceTrainCalculation, code=code, datasets=datasets, parameters=orm.Dict(parameters), **inputs
    )  # fmt: skip


def test_entry_point() -> None:
    assert CalculationFactory('pace.train') is PaceTrainCalculation


@pytest.mark.slow
@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_tensorpot(
    pace_code: PaceCode,
    engine: Callable[[str], Path],
    aiida_code_installed: Callable[..., orm.InstalledCode],
    tmp_path: Path,
) -> None:
    """Three fits: one to its end; one with a nonsense force of weight 0; one that continues and is killed."""
    pacemaker, frames = pace_code('pace.train', 'pacemaker'), weighted_frames()
    yace_code = pace_code('pace.train', 'pace_yaml2yace')
    outputs, node = train(pacemaker, frames, SMALL, yace_code=yace_code)
    assert node.is_finished_ok, node.exit_message
    potential, parameters = outputs['potential'], outputs['output_parameters'].get_dict()
    curve = outputs['learning_curve']
    assert potential.has_yace
    assert potential.functions_per_element == {'Si': 20}
    assert potential.cutoff == 4.5
    assert potential.reference_energies == {'Si': ATOM_ENERGIES['Si']}
    assert curve.get_array('iteration').tolist() == list(range(16))
    loss = curve.get_array('loss')
    assert loss[0] == pytest.approx(loss_of_nothing(frames, kappa=0.3), rel=1e-10)
    assert loss[-1] < 0.1 * loss[0]
    assert parameters['loss'] == pytest.approx(loss[-1], rel=1e-12)
    assert not parameters['converged']
    assert parameters['iterations'] == 15
    assert parameters['frames_count'] == 27
    assert parameters['rmse_f_comp_weighted'] == pytest.approx(parameters['rmse_f_comp'], rel=0.1)
    assert parameters['wall_time_seconds'] > 0

    outputs, node = train(pacemaker, with_nonsense_force(frames), SMALL)
    assert node.is_finished_ok, node.exit_message
    assert species(outputs['potential']) == species(potential)
    worse = outputs['output_parameters'].get_dict()
    assert worse['rmse_f_comp_weighted'] == pytest.approx(parameters['rmse_f_comp_weighted'], rel=1e-10)
    assert worse['rmse_f_comp'] > 2  # that of pacemaker counts every atom

    killed = tmp_path / 'pacemaker-killed'
    killed.write_text(
        f'#!/bin/sh\n"{engine("pacemaker")}" "$@" &\n'
        'until [ "$(wc -l 2>/dev/null < metrics.txt || echo 0)" -ge 4 ]; do sleep 0.1; done\nkill -9 $!\n'
    )
    killed.chmod(0o755)
    code = aiida_code_installed(
        label='killed', default_calc_job_plugin='pace.train', filepath_executable=str(killed)
    )  # fmt: skip
    outputs, node = train(code, frames, SMALL | {'max_epochs': 100_000}, potential=potential)
    assert node.exit_status == PaceTrainCalculation.exit_codes.ERROR_FIT_INTERRUPTED.status
    assert re.search(r'interrupted after \d+ iterations: continue from the output `potential`', node.exit_message)
    continued = outputs['learning_curve'].get_array('loss')
    assert continued[0] == pytest.approx(loss[-1], rel=1e-9)
    assert continued[-1] < continued[0]
    assert outputs['potential'].reference_energies == {'Si': ATOM_ENERGIES['Si']}
    assert species(outputs['potential']) != species(potential)


@pytest.mark.slow
@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_tensorpot_with_functions_by_element(pace_code: PaceCode) -> None:
    """Three fits: the smallest number for each element; grown for both; continued with fewer asked for."""
    pacemaker, frames = pace_code('pace.train', 'pacemaker'), doped_frames(12)
    first, node = train(pacemaker, frames, SMALL | {'functions_per_element': {'Al': 12, 'Si': 20}})
    assert node.is_finished_ok, node.exit_message
    assert first['potential'].functions_per_element == {'Al': 12, 'Si': 12}

    wanted = {'functions_per_element': {'Al': 21, 'Si': 30}}
    second, node = train(pacemaker, frames, SMALL | wanted, potential=first['potential'])
    assert node.is_finished_ok, node.exit_message
    assert_grown(first, second, {'Al': 20, 'Si': 20})

    third, node = train(pacemaker, frames, SMALL | {'functions_per_element': 4}, potential=second['potential'])
    assert node.is_finished_ok, node.exit_message
    assert third['potential'].functions_per_element == {'Al': 20, 'Si': 20}
    assert third['output_parameters']['loss'] < second['output_parameters']['loss']


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
class TestLinear:
    PARAMETERS = {'evaluator': 'linear', 'cutoff': 4.5, 'functions_per_element': 20}  # noqa: RUF012

    def test_fit(self, pace_code: PaceCode) -> None:
        frames = weighted_frames()
        outputs, node = train(
            pace_code('pace.train', 'pace-fit-linear'), frames, self.PARAMETERS | {'test_fraction': 0.2}
        )
        assert node.is_finished_ok, node.exit_message
        parameters, curve = outputs['output_parameters'].get_dict(), outputs['learning_curve']
        assert outputs['potential'].has_yace
        assert outputs['potential'].functions_per_element == {'Si': 20}
        assert outputs['posterior'].matches(outputs['potential'])
        assert curve.get_array('iteration').tolist() == [0, 1]
        assert parameters['converged']
        assert (parameters['frames_count'], parameters['test_frames_count']) == (22, 5)
        assert 0 < parameters['rmse_f_comp'] < 0.2
        assert parameters['test_rmse_f_comp'] > 0

    def test_a_force_of_weight_zero_changes_nothing(self, pace_code: PaceCode) -> None:
        code = pace_code('pace.train', 'pace-fit-linear')
        yamls = [
            train(code, frames, self.PARAMETERS)[0]['potential'].get_yaml()
            for frames in (weighted_frames(), with_nonsense_force(weighted_frames()))
        ]
        assert yamls[0] == yamls[1]

    def test_the_weight_of_a_frame_acts(self, pace_code: PaceCode) -> None:
        code, frames = pace_code('pace.train', 'pace-fit-linear'), silicon_frames()
        weight = np.ones(len(frames))
        weight[0] = 1e4
        outputs = train(code, frames.replace(weight=weight), self.PARAMETERS | {'kappa': 0.01})[0]
        # Nearly all of the weight is on one frame: its energy is met at the expense of the others.
        parameters = outputs['output_parameters'].get_dict()
        assert parameters['rmse_epa_weighted'] < 0.1 * parameters['rmse_epa']

    def test_two_elements_and_a_potential_to_continue_from(self, pace_code: PaceCode) -> None:
        code = pace_code('pace.train', 'pace-fit-linear')
        first, node = train(code, alloy_frames(), self.PARAMETERS | {'cutoff': 5.0})
        assert node.is_finished_ok, node.exit_message
        assert first['potential'].functions_per_element == {'Al': 20, 'Cu': 20}
        # The isolated atoms are in the data no more: their energies come from the potential.
        second, node = train(
            code, alloy_frames(isolated=False), self.PARAMETERS | {'cutoff': 7.0}, potential=first['potential']
        )
        assert node.is_finished_ok, node.exit_message
        assert second['learning_curve'].get_array('loss')[0] == pytest.approx(first['output_parameters']['loss'])
        assert second['potential'].cutoff == 5.0
        assert second['potential'].reference_energies == {'Al': -50.0, 'Cu': -200.0}

    def test_functions_by_element_that_grow(self, pace_code: PaceCode) -> None:
        """One element grows, the other one, of which fewer are asked for, stays as it is."""
        code, frames = pace_code('pace.train', 'pace-fit-linear'), doped_frames()
        first, node = train(code, frames, self.PARAMETERS | {'functions_per_element': {'Al': 5, 'Si': 20}})
        assert node.is_finished_ok, node.exit_message
        assert first['potential'].functions_per_element == {'Al': 4, 'Si': 20}
        wanted = {'functions_per_element': {'Al': 2, 'Si': 50}}
        second, node = train(code, frames, self.PARAMETERS | wanted, potential=first['potential'])
        assert node.is_finished_ok, node.exit_message
        assert_grown(first, second, {'Al': 4, 'Si': 50})

    def test_a_potential_that_is_not_linear_is_refused(self, pace_code: PaceCode) -> None:
        yaml = recorded_potential().get_yaml()
        yaml = re.sub(rb'ndensityi: \d', b'ndensityi: 2', yaml)
        yaml = re.sub(rb'parameters: \[1, 1\]', b'parameters: [1, 1, 1, 0.5]', yaml)
        potential = AcePotentialData(re.sub(rb'c: \[[^,\]]*\]', b'c: [0, 0]', yaml))
        code = pace_code('pace.train', 'pace-fit-linear')
        _, node = train(code, silicon_frames(), self.PARAMETERS, potential=potential)
        assert node.exit_status == PaceTrainCalculation.exit_codes.ERROR_FIT_FAILED.status
        assert 'the potential is not linear' in node.exit_message

    def test_the_evaluator_must_fit_the_code(self, pace_code: PaceCode) -> None:
        _, node = train(pace_code('pace.train', 'pace-fit-linear'), silicon_frames(), {'evaluator': 'tensorpot'})
        assert node.exit_status == PaceTrainCalculation.exit_codes.ERROR_FIT_FAILED.status
        assert 'asks for the evaluator tensorpot: run pacemaker' in node.exit_message


@pytest.mark.usefixtures('aiida_profile_clean')
def test_executable_that_is_not_there(aiida_code_installed: Callable[..., orm.InstalledCode]) -> None:
    code = aiida_code_installed(filepath_executable='no-such-pacemaker', label='missing')
    _, node = train(code, silicon_frames(), SMALL)
    assert node.exit_status == PaceTrainCalculation.exit_codes.ERROR_LOG_MISSING.status
    assert 'no-such-pacemaker' in node.exit_message


@pytest.mark.usefixtures('aiida_profile_clean')
class TestInputs:
    @pytest.fixture
    def inputs(self, aiida_code_installed: Callable[..., orm.InstalledCode]) -> dict[str, object]:
        return {
            'code': aiida_code_installed(filepath_executable='/bin/true', label='true'),
            'datasets': {'initial': AtomsDatasetData(silicon_frames())},
            'parameters': orm.Dict({}),
            'metadata': {},
        }

    @staticmethod
    def error(inputs: dict[str, object]) -> str:
        spec = PaceTrainCalculation.spec()
        inputs = inputs | {'metadata': dict(inputs['metadata'])}
        return str(spec.inputs.validate(spec.inputs.pre_process(inputs)) or '')

    def test_complete_inputs(self, inputs: dict[str, object]) -> None:
        assert self.error(inputs) == ''

    @pytest.mark.parametrize('name', ['code', 'datasets'])
    def test_missing_input(self, inputs: dict[str, object], name: str) -> None:
        del inputs[name]
        assert name in self.error(inputs)

    @pytest.mark.parametrize(
        ('parameters', 'message'),
        [({'cutoff': 0}, '`parameters`: setting `cutoff`'), ({'rcut': 5}, '`parameters`: unknown setting `rcut`')],
    )
    def test_wrong_settings(self, inputs: dict[str, object], parameters: dict[str, object], message: str) -> None:
        inputs['parameters'] = orm.Dict(parameters)
        assert message in self.error(inputs)

    def test_data_set_without_labels(self, inputs: dict[str, object]) -> None:
        inputs['datasets'] = {'pool': AtomsDatasetData(random_frames())}
        assert '`datasets.pool` holds no energies and forces: label its frames first' in self.error(inputs)

    def test_element_without_reference_energy(self, inputs: dict[str, object]) -> None:
        inputs['datasets'] = {'initial': AtomsDatasetData(silicon_frames(isolated=False))}
        assert 'no reference energy of Si: add a labelled frame of one atom' in self.error(inputs)
        inputs['parameters'] = orm.Dict({'reference_energies': {'Si': -100.0}})
        assert self.error(inputs) == ''

    def test_element_that_the_potential_does_not_know(self, inputs: dict[str, object]) -> None:
        inputs['datasets'] = {'initial': AtomsDatasetData(alloy_frames())}
        inputs['potential'] = recorded_potential()
        error = self.error(inputs)
        assert '`datasets.initial` holds Al, Cu, `potential` is for Si: leave the potential out' in error

    def test_resources_are_still_checked(self, inputs: dict[str, object]) -> None:
        inputs['metadata'] = {'options': {'resources': {'nonsense': 1}}}
        assert self.error(inputs) != ''


@pytest.mark.usefixtures('aiida_profile_clean')
def test_files_of_a_job(aiida_code_installed: Callable[..., orm.InstalledCode]) -> None:
    code = aiida_code_installed(filepath_executable='/bin/true', label='true')
    yaml = recorded_potential().get_yaml().replace(b'r_in: 0\n', b'r_in: 2.25\n')
    process = instantiate_process(
        get_manager().get_runner(),
        PaceTrainCalculation,
        code=code,
        yace_code=code,
        datasets={'b': AtomsDatasetData(silicon_frames()), 'a': AtomsDatasetData(silicon_frames(4, seed=1))},
        parameters=orm.Dict({'test_fraction': 0.1, 'functions_per_element': 8}),
        potential=AcePotentialData(yaml),
    )
    with SandboxFolder() as folder:
        calcinfo = process.prepare_for_submission(folder)
        assert sorted(folder.get_content_list()) == [
            'df.pckl.gzip', 'df_test.pckl.gzip', 'initial_potential.yaml', 'input.yaml'
        ]  # fmt: skip
        assert 'r_in: 0\n' in Path(folder.get_abs_path('initial_potential.yaml')).read_text()
    fit, convert = calcinfo.codes_info
    assert fit.cmdline_params == ['input.yaml', '--no-predict', '--potential', 'initial_potential.yaml']
    assert convert.cmdline_params == ['output_potential.yaml', '-o', 'output_potential.yace']
