"""From halted frames to candidates, with the real engines."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import DataFactory, WorkflowFactory
from ase.build import bulk

from aiida_pace.calculations.functions.candidates import make_candidate_pool, take_above_grade, take_highest_grades
from aiida_pace.frames import Frames

AceActiveSetData = DataFactory('pace.active_set')
AcePotentialData = DataFactory('pace.potential')
AtomsDatasetData = DataFactory('pace.dataset')
CandidatesWorkChain = WorkflowFactory('pace.candidates')

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


@pytest.fixture
def training_frames(si_potential_files: Path) -> Frames:
    return Frames.load(si_potential_files / 'dataset.npz').replace(energy=None, forces=None, stress=None)


@pytest.fixture
def halted() -> t.Any:
    """Two extrapolative frames, the halted one last: crystals denser than any frame of the training."""
    rng = np.random.default_rng(3)
    images = []
    for origin, scale in (('extrapolative', 0.86), ('halt', 0.84)):
        atoms = bulk('Si', a=5.43 * scale, cubic=True)
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
        atoms.info['origin'] = origin
        images.append(atoms)
    return AtomsDatasetData(Frames.from_atoms(images))


def overlapping(origin: str, training_frames: Frames) -> t.Any:
    atoms = training_frames.atoms(0)
    atoms.positions[1] = atoms.positions[0] + 0.5
    atoms.info['origin'] = origin
    return AtomsDatasetData(Frames.from_atoms([atoms]))


@pytest.fixture
def inputs(
    si_potential_files: Path, pace_code: Callable[[str, str], orm.InstalledCode], halted: t.Any
) -> dict[str, t.Any]:
    potential = AcePotentialData((si_potential_files / 'potential.yaml').read_bytes())
    return {
        'extrapolative': {'walker': halted},
        'potential': potential,
        'active_set': AceActiveSetData((si_potential_files / 'active_set.asi').read_bytes(), potential=potential),
        'seed': orm.Int(7),
        'max_per_halt': orm.Int(4),
        'evaluate': {'code': pace_code('pace.evaluate', 'pace-evaluate')},
        'select': {'code': pace_code('pace.select', 'pace_select')},
    }


@pytest.mark.engines
def test_candidates(inputs: dict[str, t.Any], halted: t.Any) -> None:
    """A few of many candidates are kept, all above the threshold, each one of the pool."""
    results, node = run_get_node(CandidatesWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    kept = results['dataset'].frames
    assert 0 < len(kept) <= 4
    assert kept.max_grade().min() > 2
    assert results['output_parameters']['candidates'] == 22
    assert set(kept.origin) <= {'extrapolative', 'halt', 'swarm/rattle'}
    labels = node.base.links.get_outgoing().all_link_labels()
    assert {'evaluate', 'select'} <= set(labels)


@pytest.mark.engines
def test_candidates_without_need_to_select(inputs: dict[str, t.Any]) -> None:
    """When the pool is no larger than what may be kept, all of it is kept, `pace_select` does not run."""
    inputs |= {'swarm': orm.Dict({'count': 1}), 'max_per_halt': orm.Int(5)}
    results, node = run_get_node(CandidatesWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    assert 0 < results['dataset'].count <= 3
    assert 'select' not in node.base.links.get_outgoing().all_link_labels()


@pytest.mark.engines
@pytest.mark.parametrize(
    ('step', 'error'), [('evaluate', 'ERROR_EVALUATION_FAILED'), ('select', 'ERROR_SELECTION_FAILED')]
)
def test_candidates_name_the_step_that_failed(
    inputs: dict[str, t.Any], aiida_code_installed: Callable[..., orm.InstalledCode], step: str, error: str
) -> None:
    """With an executable that does nothing: no real engine can be made to fail to order."""
    inputs[step]['code'] = aiida_code_installed(
        label='broken', default_calc_job_plugin=f'pace.{step}', filepath_executable='/bin/false'
    )
    _, node = run_get_node(CandidatesWorkChain, **inputs)
    assert node.exit_status == CandidatesWorkChain.exit_codes[error].status
    assert 'last words' in node.exit_message


def test_candidates_pool_empty(inputs: dict[str, t.Any], training_frames: Frames) -> None:
    inputs['extrapolative'] = {'walker': overlapping('halt', training_frames)}
    inputs['swarm'] = orm.Dict({'count': 0})
    _, node = run_get_node(CandidatesWorkChain, **inputs)
    assert node.exit_status == CandidatesWorkChain.exit_codes.ERROR_POOL_EMPTY.status
    assert '1 x short_distance' in node.exit_message


def test_candidates_refuse_active_set_of_another_potential(inputs: dict[str, t.Any], si_potential_files: Path) -> None:
    inputs['potential'] = AcePotentialData((si_potential_files / 'potential.yaml').read_bytes() + b'# another\n')
    with pytest.raises(ValueError, match='`active_set` belongs to another potential'):
        run_get_node(CandidatesWorkChain, **inputs)


def test_pool_falls_back_on_the_last_acceptable_sample(training_frames: Frames) -> None:
    """When the guards reject all frames of a halt, the last frame before it is the candidate: no deadlock."""
    results = make_candidate_pool(
        orm.Dict({'count': 0}),
        orm.Int(1),
        extrapolative__walker=overlapping('halt', training_frames),
        samples__walker=AtomsDatasetData(training_frames.take([1, 2])),
    )
    np.testing.assert_array_equal(results['pool'].frames.positions, training_frames.take([2]).positions)
    assert results['output_parameters'].get_dict() == {'candidates': 2, 'rejected': {'short_distance': 1}}


def test_pool_is_reproducible_and_keeps_no_duplicates(halted: t.Any) -> None:
    def make(seed: int) -> Frames:
        walkers = {'extrapolative__a': halted, 'extrapolative__b': halted}
        return make_candidate_pool(orm.Dict({'count': 3}), orm.Int(seed), **walkers)['pool'].frames

    first, again, other = make(1), make(1), make(2)
    np.testing.assert_array_equal(first.positions, again.positions)
    assert not np.array_equal(first.positions, other.positions)
    assert len(first) == 2 + 3 + 3


def test_take_above_grade(training_frames: Frames) -> None:
    dataset = AtomsDatasetData(training_frames.take([0, 1, 2]))
    grade = np.ones(dataset.atoms_count)
    grade[dataset.frames.offsets[1]] = 5.0
    evaluation = orm.ArrayData({'grade': grade})
    chosen = take_above_grade(dataset, evaluation, orm.Float(2.0))
    np.testing.assert_array_equal(chosen.frames.max_grade(), [5.0])
    # Above everything there is: the highest one is still taken.
    assert take_above_grade(dataset, evaluation, orm.Float(9.0)).count == 1


def test_take_highest_grades(training_frames: Frames) -> None:
    frames = training_frames.take([0, 1, 2])
    grade = np.ones(len(frames.numbers))
    grade[frames.offsets[:-1]] = [3.0, 9.0, 5.0]
    chosen = take_highest_grades(AtomsDatasetData(frames.replace(grade=grade)), orm.Int(2)).frames
    np.testing.assert_array_equal(chosen.max_grade(), [9.0, 5.0])


def test_pool_holds_nothing_that_is_labelled_already(halted: t.Any) -> None:
    results = make_candidate_pool(orm.Dict({'count': 0}), orm.Int(1), extrapolative__a=halted, known__initial=halted)
    assert 'pool' not in results
    assert results['output_parameters'].get_dict() == {'candidates': 2, 'rejected': {'known': 2}}
