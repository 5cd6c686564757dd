"""`pace.select`: the frames of the pool that the real engine selects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory
from ase import Atoms

from aiida_pace.calculations.select import PaceSelectCalculation
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.frames import Frames
from tests.fixtures.frames import random_frames
from tests.fixtures.nodes import recorded_active_set, recorded_potential

PaceCode = Callable[[str, str], orm.InstalledCode]

Potential = tuple[AcePotentialData, AceActiveSetData]


@pytest.fixture
def silicon(si_potential_files: Path) -> Potential:
    potential = AcePotentialData((si_potential_files / 'potential.yaml').read_bytes())
    return potential, AceActiveSetData((si_potential_files / 'active_set.asi').read_bytes(), potential=potential)


def pool_of(files: Path) -> Frames:
    """Return crystals, the last four compressed: they are not known yet."""
    images = [atoms.copy() for atoms in Frames.load(files / 'dataset.npz').take(range(6))]
    for index, atoms in enumerate(images[2:]):
        atoms.set_cell((0.92 - 0.02 * index) * atoms.cell.array, scale_atoms=True)
    frames = Frames.from_atoms(images, origin='swarm')
    return frames.replace(grade=np.arange(len(frames.numbers)))


def select(
    pace_code: PaceCode, silicon: Potential, pool: Frames, count: int, candidates: list[int] | None = None
) -> tuple[dict[str, orm.Data], orm.CalcJobNode]:
    return run_get_node(
        PaceSelectCalculation,
        code=pace_code('pace.select', 'pace-select'),
        dataset=AtomsDatasetData(pool),
        potential=silicon[0],
        active_set=silicon[1],
        max_frames=orm.Int(count),
        **({} if candidates is None else {'candidates': orm.List(candidates)}),
    )


def test_entry_point() -> None:
    assert CalculationFactory('pace.select') is PaceSelectCalculation


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_selected_frames_are_those_of_the_pool(
    pace_code: PaceCode, silicon: Potential, si_potential_files: Path
) -> None:
    """Whole, and no more than asked for; what is known already is not among them."""
    pool = pool_of(si_potential_files)
    outputs, node = select(pace_code, silicon, pool, 2)
    assert node.is_finished_ok, node.exit_message
    parameters = outputs['output_parameters']
    assert set(parameters['indices']) < {2, 3, 4, 5}
    assert len(parameters['indices']) == len(parameters['entered']) == 2
    assert parameters['wall_time_seconds'] > 0
    # What is not a candidate is not selected, and takes no part.
    candidates = [0, 4, 1]
    outputs, node = select(pace_code, silicon, pool, 2, candidates)
    assert node.is_finished_ok, node.exit_message
    assert outputs['output_parameters']['indices'] == [4]
    alone, _ = select(pace_code, silicon, pool.take([4]), 2)
    assert outputs['output_parameters']['entered'] == alone['output_parameters']['entered']


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_a_pool_that_is_known_already(pace_code: PaceCode, silicon: Potential, si_potential_files: Path) -> None:
    known = Frames.load(si_potential_files / 'dataset.npz').take([0])
    known = known.replace(energy=None, forces=None, stress=None)
    outputs, node = select(pace_code, silicon, known, 5)
    assert node.exit_status == PaceSelectCalculation.exit_codes.ERROR_SELECTION_EMPTY.status
    assert 'spans all candidates (1) already' in node.exit_message
    assert outputs['output_parameters']['indices'] == []


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
@pytest.mark.parametrize('system', ['Si', 'SiC'])
def test_without_an_active_set_the_basis_is_enough(
    pace_code: PaceCode, request: pytest.FixtureRequest, system: str
) -> None:
    """Isolated atoms, which have no neighbours, are never picked; a slab and a molecule are no obstacle."""
    files = request.getfixturevalue(f'{system.lower()}_potential_files')
    frames = Frames.load(files / 'dataset.npz').replace(energy=None, forces=None, stress=None)
    atoms = [Atoms(symbol) for symbol in frames.elements]
    molecule = Atoms('Si3', [[0, 0, 0], [2.1, 0, 0], [0, 2.2, 0]])
    pool = Frames.concatenate([Frames.from_atoms([*atoms, molecule]), frames])
    outputs, node = run_get_node(
        PaceSelectCalculation,
        code=pace_code('pace.select', 'pace-select'),
        dataset=AtomsDatasetData(pool),
        potential=AcePotentialData((files / 'potential.yaml').read_bytes()),
        max_frames=orm.Int(len(pool)),
    )
    assert node.is_finished_ok, node.exit_message
    indices = outputs['output_parameters']['indices']
    assert len(indices) == len(set(indices)) > 5
    assert len(atoms) in indices, 'the molecule is like no crystal'
    assert not set(indices) & set(range(len(atoms)))
    assert 'active_set' not in node.base.links.get_incoming().all_link_labels()


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_a_pool_without_one_of_the_elements(pace_code: PaceCode, sic_potential_files: Path) -> None:
    """The active set has atoms of each, whatever the pool has."""
    potential = AcePotentialData((sic_potential_files / 'potential.yaml').read_bytes())
    atoms = Atoms('Si2', cell=np.diag([2.3, 2.4, 4.5]), positions=[[0, 0, 0], [1, 1, 2.2]], pbc=True)
    outputs, node = run_get_node(
        PaceSelectCalculation,
        code=pace_code('pace.select', 'pace-select'),
        dataset=AtomsDatasetData(Frames.from_atoms([atoms])),
        potential=potential,
        active_set=AceActiveSetData((sic_potential_files / 'active_set.asi').read_bytes(), potential=potential),
        max_frames=orm.Int(5),
    )
    assert node.is_finished_ok, node.exit_message
    assert outputs['output_parameters']['indices'] == [0]


@pytest.mark.usefixtures('aiida_profile_clean')
class TestInputs:
    @pytest.fixture
    def inputs(self, aiida_code_installed: Callable[..., orm.InstalledCode]) -> dict[str, object]:
        potential = recorded_potential()
        return {
            'code': aiida_code_installed(filepath_executable='/bin/true', label='true'),
            'dataset': AtomsDatasetData(random_frames()),
            'potential': potential,
            'active_set': recorded_active_set(potential),
            'max_frames': orm.Int(5),
            'metadata': {},
        }

    @staticmethod
    def error(inputs: dict[str, object]) -> str:
        spec = PaceSelectCalculation.spec()
        inputs = inputs | {'metadata': dict(inputs['metadata'])}
        return str(spec.inputs.validate(spec.inputs.pre_process(inputs)) or '')

    def test_complete_inputs(self, inputs: dict[str, object]) -> None:
        assert self.error(inputs) == ''

    @pytest.mark.parametrize('name', ['code', 'dataset', 'potential', 'max_frames'])
    def test_missing_input(self, inputs: dict[str, object], name: str) -> None:
        del inputs[name]
        assert name in self.error(inputs)

    def test_a_pool_without_active_set_needs_as_many_atoms_as_functions(self, inputs: dict[str, object]) -> None:
        del inputs['active_set']
        inputs['dataset'] = AtomsDatasetData(random_frames((4, 3)))
        assert '`dataset` holds 7 atoms of Si that a fit learns from, `potential` has 8 functions for it' in self.error(
            inputs
        )
        frames = random_frames((4, 4))
        inputs['dataset'] = AtomsDatasetData(frames)
        assert self.error(inputs) == ''
        # The buffer of a box does not count.
        weighted = frames.replace(force_weight=np.repeat([1.0, 0.0], 4), weight=np.zeros(2))
        inputs['dataset'] = AtomsDatasetData(weighted)
        assert '`dataset` holds 4 atoms of Si that a fit learns from' in self.error(inputs)
        # Nor does a frame that is not a candidate.
        inputs |= {'dataset': AtomsDatasetData(frames), 'candidates': orm.List([1])}
        assert '`dataset` holds 4 atoms of Si that a fit learns from' in self.error(inputs)

    def test_no_frames_asked_for(self, inputs: dict[str, object]) -> None:
        inputs['max_frames'] = orm.Int(0)
        assert '`max_frames` is 0: give at least 1' in self.error(inputs)

    @pytest.mark.parametrize(
        ('candidates', 'message'),
        [
            ([], '`candidates` is empty'),
            ([0, 99], '`candidates` holds an index that is not in `dataset`: give numbers from 0 to 2'),
            ([-1], '`candidates` holds an index that is not in `dataset`'),
            ([True], '`candidates` holds an index that is not in `dataset`'),
            ([1, 1], '`candidates` holds an index twice'),
        ],
    )
    def test_candidates_that_are_not_in_the_pool(
        self, inputs: dict[str, object], candidates: list[int], message: str
    ) -> None:
        assert message in self.error(inputs | {'candidates': orm.List(candidates)})

    def test_elements_that_the_potential_does_not_know(self, inputs: dict[str, object]) -> None:
        inputs['dataset'] = AtomsDatasetData(random_frames(numbers=(6, 14), sizes=(20,)))
        assert '`dataset` holds C, `potential` is for Si: give a potential' in self.error(inputs)

    def test_active_set_of_another_potential(self, inputs: dict[str, object]) -> None:
        inputs['potential'] = AcePotentialData(inputs['potential'].get_yaml().replace(b'c: [0', b'c: [1'))
        assert '`active_set` was made for another potential' in self.error(inputs)
