from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from aiida.plugins import CalculationFactory
from ase import Atoms
from ase.build import bulk

from aiida_pace.calculations.evaluate import PaceEvaluateCalculation
from aiida_pace.calculations.train import PaceTrainCalculation
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.frames import Frames
from tests.fixtures.frames import random_frames
from tests.fixtures.nodes import recorded_active_set, recorded_posterior, recorded_potential
from tests.fixtures.training import silicon_frames

PaceCode = Callable[[str, str], orm.InstalledCode]

REFERENCE_ENERGY = -100.5


@pytest.fixture
def silicon(si_potential_files: Path) -> AcePotentialData:
    yaml = (si_potential_files / 'potential.yaml').read_bytes()
    return AcePotentialData(yaml, reference_energies={'Si': REFERENCE_ENERGY})


def test_entry_point() -> None:
    assert CalculationFactory('pace.evaluate') is PaceEvaluateCalculation


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_evaluation_of_labelled_frames(
    pace_code: PaceCode, silicon: AcePotentialData, si_potential_files: Path
) -> None:
    labelled = Frames.load(si_potential_files / 'dataset.npz').take(range(10))
    atom = Frames.from_atoms([Atoms('Si')])
    frames = Frames.concatenate([atom, labelled.replace(energy=None, forces=None, stress=None)])
    inputs = {
        'code': pace_code('pace.evaluate', 'pace-evaluate'),
        'dataset': AtomsDatasetData(frames),
        'potential': silicon,
        'active_set': AceActiveSetData((si_potential_files / 'active_set.asi').read_bytes(), potential=silicon),
    }
    outputs, node = run_get_node(PaceEvaluateCalculation, **inputs)
    assert node.is_finished_ok, node.exit_message

    evaluation = outputs['evaluation']
    energy, forces = evaluation.get_array('energy'), evaluation.get_array('forces')
    assert energy[0] == REFERENCE_ENERGY
    sizes = frames.sizes[1:]
    errors = (energy[1:] - labelled.energy) / sizes - REFERENCE_ENERGY
    assert np.abs(errors).max() < 0.05  # eV/atom: the potential was fitted to these frames
    assert np.sqrt(np.mean((forces[1:] - labelled.forces) ** 2)) < 0.2
    np.testing.assert_allclose(evaluation.get_array('stress')[1:], labelled.stress, atol=0.03)

    parameters = outputs['output_parameters'].get_dict()
    assert parameters['count'] == len(frames)
    assert parameters['max_grade'] == pytest.approx(evaluation.get_array('grade').max())
    assert 0 < parameters['max_grade'] < 1.1  # the active set was made of these frames
    assert parameters['wall_time_seconds'] > 0
    assert 'evaluation.npz' not in outputs['retrieved'].base.repository.list_object_names()  # not stored twice


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_same_frames_are_not_evaluated_twice(pace_code: PaceCode, silicon: AcePotentialData) -> None:
    code = pace_code('pace.evaluate', 'pace-evaluate')
    nodes, energies = [], []
    for images in ([bulk('Si')], [bulk('Si')], [bulk('Si', a=5.5)]):
        with enable_caching(identifier='aiida.calculations:pace.evaluate'):
            outputs, node = run_get_node(
                PaceEvaluateCalculation,
                code=code,
                dataset=AtomsDatasetData(Frames.from_atoms(images)),
                potential=AcePotentialData(silicon.get_yaml()),
            )
        nodes.append(node)
        energies.append(outputs['evaluation'].get_array('energy')[0])
    assert [node.base.caching.is_created_from_cache for node in nodes] == [False, True, False]
    assert energies[0] == energies[1] != energies[2]


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_frame_that_the_engine_refuses(pace_code: PaceCode, silicon: AcePotentialData) -> None:
    clash = Atoms('Si2', positions=np.zeros((2, 3)))
    inputs = {
        'code': pace_code('pace.evaluate', 'pace-evaluate'),
        'dataset': AtomsDatasetData(Frames.from_atoms([bulk('Si'), clash])),
        'potential': silicon,
    }
    outputs, node = run_get_node(PaceEvaluateCalculation, **inputs)
    assert node.exit_status == PaceEvaluateCalculation.exit_codes.ERROR_FRAMES_REFUSED.status
    assert 'frame 1: pyace refuses' in node.exit_message
    assert not node.base.caching.is_valid_cache
    assert 'evaluation' not in outputs


@pytest.mark.usefixtures('aiida_profile_clean')
def test_executable_that_is_not_there(aiida_code_installed: Callable[..., orm.InstalledCode]) -> None:
    inputs = {
        'code': aiida_code_installed(filepath_executable='no-such-pace-evaluate', label='missing'),
        'dataset': AtomsDatasetData(random_frames()),
        'potential': recorded_potential(),
    }
    _, node = run_get_node(PaceEvaluateCalculation, **inputs)
    assert node.exit_status == PaceEvaluateCalculation.exit_codes.ERROR_ENGINE_INTERRUPTED.status
    assert 'no-such-pace-evaluate' in node.exit_message


@pytest.mark.usefixtures('aiida_profile_clean')
class TestInputs:
    @pytest.fixture
    def inputs(self, aiida_code_installed: Callable[..., orm.InstalledCode]) -> dict[str, orm.Node]:
        potential = recorded_potential()
        return {
            'code': aiida_code_installed(filepath_executable='/bin/true', label='true'),
            'dataset': AtomsDatasetData(random_frames()),
            'potential': potential,
            'active_set': recorded_active_set(potential),
            'posterior': recorded_posterior(potential),
            'metadata': {},
        }

    @staticmethod
    def error(inputs: dict[str, orm.Node]) -> str:
        spec = PaceEvaluateCalculation.spec()
        return str(spec.inputs.validate(spec.inputs.pre_process(dict(inputs))) or '')

    def test_complete_inputs(self, inputs: dict[str, orm.Node]) -> None:
        assert self.error(inputs) == ''

    @pytest.mark.parametrize('name', ['active_set', 'posterior'])
    def test_optional_input(self, inputs: dict[str, orm.Node], name: str) -> None:
        del inputs[name]
        assert self.error(inputs) == ''

    @pytest.mark.parametrize('name', ['code', 'dataset', 'potential'])
    def test_missing_input(self, inputs: dict[str, orm.Node], name: str) -> None:
        del inputs[name]
        assert name in self.error(inputs)

    def test_elements_that_the_potential_does_not_know(self, inputs: dict[str, orm.Node]) -> None:
        inputs['dataset'] = AtomsDatasetData(random_frames(numbers=(6, 14, 32), sizes=(20,)))
        error = self.error(inputs)
        assert '`dataset` holds C, Ge, `potential` is for Si' in error
        assert 'give a potential' in error

    def test_active_set_of_another_potential(self, inputs: dict[str, orm.Node]) -> None:
        inputs['potential'] = AcePotentialData(inputs['potential'].get_yaml().replace(b'c: [0', b'c: [1'))
        assert '`active_set` was made for another potential' in self.error(inputs)

    def test_posterior_of_another_potential(self, inputs: dict[str, orm.Node]) -> None:
        inputs['posterior'] = recorded_posterior(recorded_potential('silicon_carbide'))
        assert '`posterior` was made for another potential' in self.error(inputs)

    def test_resources_are_still_checked(self, inputs: dict[str, orm.Node]) -> None:
        inputs['metadata'] = {'options': {'resources': {'nonsense': 1}}}
        assert self.error(inputs) != ''


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_error_bars_of_a_fit(pace_code: PaceCode) -> None:
    """From the fit to the evaluation: atoms far from the data have the larger predicted errors."""
    fit, node = run_get_node(
        PaceTrainCalculation,
        code=pace_code('pace.train', 'pace-fit-linear'),
        datasets={'morse': AtomsDatasetData(silicon_frames())},
        parameters=orm.Dict({'evaluator': 'linear', 'cutoff': 4.5, 'functions_per_element': 20}),
    )
    assert node.is_finished_ok, node.exit_message
    frames = Frames.from_atoms([bulk('Si', cubic=True), bulk('Si', a=3.6, cubic=True)])
    outputs, node = run_get_node(
        PaceEvaluateCalculation,
        code=pace_code('pace.evaluate', 'pace-evaluate'),
        dataset=AtomsDatasetData(frames),
        potential=fit['potential'],
        posterior=fit['posterior'],
    )
    assert node.is_finished_ok, node.exit_message
    arrays = {name: outputs['evaluation'].get_array(name) for name in ('leverage', 'force_sigma', 'energy_sigma')}
    assert {name: array.shape for name, array in arrays.items()} == {
        'leverage': (16,),
        'force_sigma': (16,),
        'energy_sigma': (2,),
    }
    assert arrays['energy_sigma'][1] > 5 * arrays['energy_sigma'][0] > 0
    assert arrays['leverage'][8:].min() > 5 * arrays['leverage'][:8].max()
