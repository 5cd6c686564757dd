from __future__ import annotations

import typing as t
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

from aiida_pace.calculations.lammps import PaceLammpsCalculation
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.potential import AcePotentialData
from tests.fixtures.nodes import recorded_active_set, recorded_potential

PaceCode = Callable[[str, str], orm.InstalledCode]
Inputs = Callable[..., dict[str, t.Any]]

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


@pytest.fixture
def inputs(pace_code: PaceCode) -> Inputs:
    """Return a factory of inputs of a run with ``pace-lmp``."""

    def factory(files: Path, atoms: Atoms, *, seed: int = 7, **settings: object) -> dict[str, t.Any]:
        potential = AcePotentialData((files / 'potential.yaml').read_bytes())
        return {
            'code': pace_code('pace.lammps', 'pace-lmp'),
            'structure': orm.StructureData(ase=atoms),
            'potential': potential,
            'active_set': AceActiveSetData((files / 'active_set.asi').read_bytes(), potential=potential),
            'parameters': orm.Dict(settings),
            'seed': orm.Int(seed),
        }

    return factory


def test_entry_point() -> None:
    assert CalculationFactory('pace.lammps') is PaceLammpsCalculation


@pytest.mark.engines
def test_walker_of_two_elements_in_any_orientation(inputs: Inputs, sic_potential_files: Path) -> None:
    """A left-handed, turned, skewed cell under pressure: the frames are in the orientation of the structure."""
    atoms = bulk('SiC', 'zincblende', a=4.36, cubic=True)
    atoms = atoms[[5, 0, 3, 1, 7, 2, 4, 6]]
    cell = atoms.cell.array
    atoms.set_cell([cell[1], cell[0] + 3 * cell[1], cell[2] - 2 * cell[0]])
    atoms.rotate(37, (1, 2, 3), rotate_cell=True)
    settings = {'ensemble': 'npt', 'barostat': 'tri', 'pressure_start': 30.0, 'pressure_damping': 300.0}
    settings |= {'temperature_start': 50.0, 'steps': 100, 'samples': 5}
    outputs, node = run_get_node(PaceLammpsCalculation, **inputs(sic_potential_files, atoms, **settings))
    assert node.is_finished_ok, node.exit_message
    assert not outputs['output_parameters']['halted']
    assert outputs['output_parameters']['steps'] == 100
    assert 'extrapolative' not in outputs

    frames = outputs['samples'].frames
    assert len(frames) == 5
    assert frames.numbers.tolist() == atoms.numbers.tolist() * 5
    strains = np.array([np.linalg.solve(atoms.cell.array, cell) - np.eye(3) for cell in frames.cells])
    assert 0.005 < np.abs(strains).max() < 0.1
    fractions = frames.positions[-8:] @ np.linalg.inv(frames.cells[-1])
    moves = fractions - atoms.positions @ np.linalg.inv(atoms.cell.array)
    # All atoms together may have moved: LAMMPS dilates the box about a point of its own.
    assert np.abs(moves - moves.mean(axis=0)).max() < 0.05
    volumes = np.abs(np.linalg.det(frames.cells))
    thermo = dict(zip(*(outputs['thermo'].get_array(name).tolist() for name in ('step', 'volume')), strict=True))
    assert volumes == pytest.approx([thermo[step] for step in (20, 40, 60, 80, 100)])
    assert volumes[-1] < abs(atoms.get_volume())


@pytest.mark.engines
def test_walker_that_halts_keeps_the_frame(inputs: Inputs, si_potential_files: Path) -> None:
    atoms = bulk('Si', cubic=True)
    settings = {'temperature_start': 4000.0, 'steps': 1000, 'collect_grade': 1.05, 'halt_grade': 1.5, 'samples': 4}
    outputs, node = run_get_node(PaceLammpsCalculation, **inputs(si_potential_files, atoms, **settings))
    assert node.is_finished_ok, node.exit_message
    parameters = outputs['output_parameters'].get_dict()
    assert parameters['halted']
    assert 0 < parameters['halt_step'] == parameters['steps'] < 1000
    frames = outputs['extrapolative'].frames
    assert frames.origin[-1] == 'halt'
    assert set(frames.origin[:-1]) <= {'extrapolative'}
    # AiiDA keeps 14 digits of the numbers in a Dict.
    assert parameters['halt_grade'] == parameters['max_grade'] == pytest.approx(frames.max_grade()[-1], rel=1e-12)
    assert parameters['halt_grade'] > 1.5
    assert ((frames.max_grade()[:-1] >= 1.05) & (frames.max_grade()[:-1] <= 1.5)).all()
    assert outputs['thermo'].get_array('step')[-1] == parameters['halt_step']
    assert node.outputs.retrieved.base.repository.list_object_names() == [
        '_scheduler-stderr.txt',
        '_scheduler-stdout.txt',
        'lammps.out',
        'log.lammps',
    ]


@pytest.mark.engines
def test_walker_that_starts_beyond_its_limit(inputs: Inputs, si_potential_files: Path) -> None:
    atoms = bulk('Si', a=4.6, cubic=True)
    atoms.positions[1] += [7.0, -3.0, 0.2]
    atoms.rotate(20, 'x', rotate_cell=True)
    run = inputs(si_potential_files, atoms, halt_grade=3.0, collect_grade=2.0, steps=20)
    outputs, node = run_get_node(PaceLammpsCalculation, **run)
    assert node.is_finished_ok, node.exit_message
    assert outputs['output_parameters']['halt_step'] == outputs['output_parameters']['steps'] == 0
    frames = outputs['extrapolative'].frames
    assert frames.origin.tolist() == ['halt']
    np.testing.assert_allclose(frames.positions, atoms.positions, atol=1e-12)
    np.testing.assert_allclose(frames.cells[0], atoms.cell.array, atol=1e-12)
    assert 'samples' not in outputs


@pytest.mark.engines
def test_walker_whose_atoms_collide(inputs: Inputs, si_potential_files: Path) -> None:
    atoms = bulk('Si', cubic=True)
    atoms.positions[1] = atoms.positions[0]
    outputs, node = run_get_node(PaceLammpsCalculation, **inputs(si_potential_files, atoms))
    assert node.exit_status == PaceLammpsCalculation.exit_codes.ERROR_DYNAMICS_UNSTABLE.status
    assert 'after 0 of 1000 steps: pace-lmp: the potential failed at step 0' in node.exit_message
    assert 'output_parameters' not in outputs


@pytest.mark.engines
def test_seed_decides_and_nothing_runs_twice(inputs: Inputs, si_potential_files: Path) -> None:
    temperatures, cached = [], []
    for seed in (1, 2, 1):
        run = inputs(si_potential_files, bulk('Si', cubic=True), seed=seed, steps=20)
        with enable_caching(identifier='aiida.calculations:pace.lammps'):
            outputs, node = run_get_node(PaceLammpsCalculation, **run)
        assert node.is_finished_ok, node.exit_message
        temperatures.append(outputs['thermo'].get_array('temperature')[-1])
        cached.append(node.base.caching.is_created_from_cache)
    assert cached == [False, False, True]
    assert temperatures[0] == temperatures[2] != temperatures[1]


def test_executable_that_is_not_there(aiida_code_installed: Callable[..., orm.InstalledCode]) -> None:
    potential = recorded_potential()
    run = {
        'code': aiida_code_installed(filepath_executable='no-such-lmp', label='missing'),
        'structure': orm.StructureData(ase=bulk('Si')),
        'potential': potential,
        'active_set': recorded_active_set(potential),
        'seed': orm.Int(1),
    }
    _, node = run_get_node(PaceLammpsCalculation, **run)
    assert node.exit_status == PaceLammpsCalculation.exit_codes.ERROR_LOG_MISSING.status
    assert 'no-such-lmp' in node.exit_message


def alloy() -> orm.StructureData:
    structure = orm.StructureData(cell=np.eye(3) * 4)
    for position in ((0, 0, 0), (2, 2, 2)):
        structure.append_atom(position=position, symbols=['Si', 'Ge'], weights=[0.5, 0.5], name='SiGe')
    return structure


class TestInputs:
    @pytest.fixture
    def complete(self, aiida_code_installed: Callable[..., orm.InstalledCode]) -> dict[str, t.Any]:
        potential = recorded_potential()
        return {
            'code': aiida_code_installed(filepath_executable='/bin/true', label='true'),
            'structure': orm.StructureData(ase=bulk('Si')),
            'potential': potential,
            'active_set': recorded_active_set(potential),
            'seed': orm.Int(1),
            'metadata': {},
        }

    @staticmethod
    def error(inputs: dict[str, t.Any]) -> str:
        spec = PaceLammpsCalculation.spec()
        return str(spec.inputs.validate(spec.inputs.pre_process(dict(inputs))) or '')

    def test_complete_inputs(self, complete: dict[str, t.Any]) -> None:
        assert self.error(complete) == ''

    @pytest.mark.parametrize('name', ['code', 'structure', 'potential', 'active_set', 'seed'])
    def test_missing_input(self, complete: dict[str, t.Any], name: str) -> None:
        del complete[name]
        assert name in self.error(complete)

    @pytest.mark.parametrize(
        ('name', 'make', 'message'),
        [
            ('parameters', lambda: orm.Dict({'temprature': 300}), 'unknown setting `temprature`'),
            ('parameters', lambda: orm.Dict({'halt_grade': 1}), '`collect_grade` 2.0 must be below'),
            ('seed', lambda: orm.Int(0), '`seed` is 0: give a number from 1'),
            ('seed', lambda: orm.Int(2**31), 'give a number from 1 to 2147483647'),
            ('structure', lambda: orm.StructureData(ase=bulk('Si')[:1]), 'give a supercell'),
            ('structure', lambda: orm.StructureData(ase=Atoms('Si2', [[0] * 3, [2] * 3], cell=[9] * 3)), 'periodic in'),
            ('structure', lambda: orm.StructureData(ase=bulk('Ge')), '`structure` holds Ge, `potential` is for Si'),
            ('structure', alloy, 'give each site exactly one element'),
        ],
    )
    def test_refused(self, complete: dict[str, t.Any], name: str, make: Callable[[], orm.Data], message: str) -> None:
        complete[name] = make()
        assert message in self.error(complete)

    def test_active_set_of_another_potential(self, complete: dict[str, t.Any]) -> None:
        complete['potential'] = AcePotentialData(complete['potential'].get_yaml().replace(b'c: [0', b'c: [1'))
        assert '`active_set` was made for another potential' in self.error(complete)
