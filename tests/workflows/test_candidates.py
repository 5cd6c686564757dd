"""From halted frames to candidates, with the real engines."""

from __future__ import annotations

import typing as t
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from aiida.plugins import DataFactory, WorkflowFactory
from ase import Atom, Atoms
from ase.build import bulk

from aiida_pace.calculations.functions.candidates import (
    choose_candidates,
    collect_candidates,
    guard_candidates,
    halting_indices,
    take_large_frames,
)
from aiida_pace.frames import Frames
from aiida_pace.structures.fingerprint import exact_fingerprints
from aiida_pace.structures.guards import check_frames
from aiida_pace.structures.strategies import STRATEGIES
from aiida_pace.workflows.graph import children
from aiida_pace.workflows.label.quantumespresso import collect_trajectories
from tests.fixtures.frames import assert_identical
from tests.fixtures.nodes import recorded_active_set, recorded_potential, stored_copies

AceActiveSetData = DataFactory('pace.active_set')
AcePotentialData = DataFactory('pace.potential')
AtomsDatasetData = DataFactory('pace.dataset')
CandidatesWorkChain = WorkflowFactory('pace.candidates')

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

#: What swarms of four candidates without dynamics cost little time with.
FEW = {'count': 4, 'shares': {'rattle': 3, 'modes': 1}}


def adds_up(account: t.Mapping[str, t.Any]) -> bool:
    """Whether every candidate is accounted for: those made are those rejected, not chosen and kept."""
    ends = [sum(account[name].values()) for name in ('rejected', 'not_chosen', 'kept')]
    return account['candidates'] == sum(account['made'].values()) == sum(ends) and min(ends) >= 0


def silicon(origin: str, scale: float = 1.0, seed: int = 3, repeat: int = 1) -> Atoms:
    """A rattled crystal; one denser than any frame of the training is extrapolative."""
    atoms = bulk('Si', a=5.43 * scale, cubic=True) * (repeat, repeat, repeat)
    atoms.positions += np.random.default_rng(seed).normal(scale=0.1, size=atoms.positions.shape)
    atoms.info['origin'] = origin
    return atoms


def overlapping(origin: str, seed: int = 3) -> Atoms:
    atoms = silicon(origin, seed=seed)
    atoms.positions[1] = atoms.positions[0] + 0.5
    return atoms


def large(origin: str, shift: float | None = 0.0, seed: int = 3) -> Atoms:
    """A crystal of 64 atoms with an interstitial: known but for one place; without a shift, the crystal alone."""
    atoms = bulk('Si', a=5.43, cubic=True) * (2, 2, 2)
    atoms.positions += np.random.default_rng(seed).normal(scale=0.02, size=atoms.positions.shape)
    if shift is not None:
        atoms.append(Atom('Si', 5.43 * np.array([0.5 + shift, 0.5, 0.5])))
    atoms.info['origin'] = origin
    return atoms


def dataset(*images: Atoms, grades: t.Sequence[float] | None = None) -> t.Any:
    frames = Frames.from_atoms(images)
    return AtomsDatasetData(frames if grades is None else frames.replace(grade=np.repeat(grades, frames.sizes)))


@pytest.fixture
def halted() -> t.Any:
    """Two extrapolative frames, the halted one last."""
    return dataset(silicon('extrapolative', 0.86, seed=3), silicon('halt', 0.84, seed=4))


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
        'max_per_halt': orm.Int(2),
        'embed': {'code': pace_code('pace.embed', 'pace-embed')},
        'swarm': {'code': pace_code('pace.swarm', 'pace-swarm'), 'parameters': orm.Dict(FEW)},
        'evaluate': {'code': pace_code('pace.evaluate', 'pace-evaluate')},
        'maxvol': {'code': pace_code('pace.select', 'pace-select')},
    }


@pytest.fixture
def broken(aiida_code_installed: Callable[..., orm.InstalledCode]) -> Callable[[str], orm.InstalledCode]:
    """A factory of codes that do nothing: no real engine can be made to fail to order."""
    return lambda step: aiida_code_installed(
        label='broken', default_calc_job_plugin=f'pace.{step}', filepath_executable='/bin/false'
    )


@pytest.mark.engines
@pytest.mark.slow
def test_strategies(inputs: dict[str, t.Any]) -> None:
    """All four choose from the same candidates, by their own rule; whatever is not kept is accounted for."""
    kept, accounts, walked = {}, {}, {}
    with enable_caching(identifier='aiida.calculations:pace.*'):
        for strategy in STRATEGIES:
            results, node = run_get_node(CandidatesWorkChain, **inputs, strategy=orm.Str(strategy))
            assert node.is_finished_ok, node.exit_message
            kept[strategy] = results['dataset'].frames
            accounts[strategy] = results['output_parameters'].get_dict()
            walked[strategy] = children(node)
    made = {'extrapolative': 1, 'halt': 1, 'swarm/rattle': 3, 'swarm/modes': 1}
    for strategy, account in accounts.items():
        assert adds_up(account), account
        assert account['made'] == made
        assert account['kept'] == Counter(kept[strategy].origin.tolist())
        assert len(kept[strategy]) == 2
        assert account['failed'] == {}
        assert account['embedded'] == []
        assert 'embed' not in walked[strategy]
        assert ('select' in walked[strategy]) == (strategy == 'd_optimal')
    # Independently of the work chain: the grades of all candidates, from the evaluation that all have in common.
    evaluated = walked['random']['evaluate']
    pool, grade = evaluated.inputs.dataset.frames, evaluated.outputs.evaluation.get_array('grade')
    highest = sorted((grade[pool.atoms_slice(index)].max() for index in range(len(pool))), reverse=True)
    assert kept['max_grade'].max_grade().tolist() == highest[:2]
    for strategy in ('d_optimal', 'threshold_random'):
        assert kept[strategy].max_grade().min() > 2
        assert accounts[strategy]['not_chosen']['below_threshold'] == sum(found <= 2 for found in highest)
    assert set(kept['random'].max_grade().tolist()) <= set(highest)


@pytest.mark.engines
@pytest.mark.slow
def test_large_frames_are_embedded_first(inputs: dict[str, t.Any]) -> None:
    """What is too large for DFT goes on as boxes, around which the swarms are made; only their cores have grades."""
    others = [large('extrapolative', shift) for shift in (0.06, 0.02, 0.04)]
    walker = dataset(*others, large('halt'), grades=[3.0, 9.0, 6.0, 20.0])
    inputs |= {'extrapolative': {'walker': walker}, 'max_per_halt': orm.Int(1)}
    inputs['samples'] = {'walker': dataset(large('sample', None), grades=[1.0])}
    inputs['embed']['parameters'] = orm.Dict({'max_dft_atoms': 40})
    inputs['known'] = {'other': dataset(silicon('bulk'))}
    results, node = run_get_node(CandidatesWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    account = results['output_parameters'].get_dict()
    assert adds_up(account), account

    # Of the three others only the one of highest grade, and the sample, cost an embedding.
    step = children(node)
    embedded = step['embed']
    assert embedded.inputs.dataset.frames.max_grade().tolist() == [9.0, 20.0, 1.0]
    assert account['embedded'] == embedded.outputs.output_parameters['frames']
    assert [row['atoms_before'] for row in account['embedded']] == [65, 65, 64]
    assert all(row['atoms_after'] <= 40 for row in account['embedded'])
    assert set(account['made']) == {'embedded/extrapolative', 'embedded/halt', 'swarm/rattle', 'swarm/modes'}

    (name, indices), *others = step['swarm'].inputs.indices.get_dict().items()
    assert others == []
    assert step['swarm'].inputs.datasets[name].frames.take(indices).origin.tolist() == ['embedded/halt']
    kept = results['dataset'].frames
    assert len(kept) == 1
    # MaxVol chooses among boxes as among whole frames, by their cores alone.
    chosen_from = step['select'].inputs.dataset.frames.take(step['select'].inputs.candidates.get_list())
    assert len(chosen_from) > 1
    assert sum(step['select'].outputs.output_parameters['entered']) <= chosen_from.force_weight.sum()
    assert kept.sizes.max() <= 40
    assert 0 < kept.force_weight.sum() < len(kept.numbers)
    assert not kept.weight.any()
    assert not kept.grade[kept.force_weight == 0].any()
    assert kept.max_grade().min() > 2
    # The place of the halt keeps its grade in the box.
    halt = account['embedded'][1]
    assert halt['grade_before'] > 10
    assert halt['grade_after'] == pytest.approx(halt['grade_before'], rel=1e-6)


@pytest.mark.engines
def test_fallback_on_the_last_acceptable_sample(inputs: dict[str, t.Any]) -> None:
    """When all frames of a halt are unfit for DFT, the last one before it is the candidate: no deadlock."""
    inputs['extrapolative'] = {'walker': dataset(overlapping('extrapolative', 5), overlapping('halt', 6))}
    samples = [silicon('sample', seed=seed) for seed in (1, 2, 3)]
    inputs['samples'] = {'walker': dataset(*samples, overlapping('sample', 7))}
    inputs['known'] = {'cycle': dataset(samples[2])}
    results, node = run_get_node(CandidatesWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    kept, account = results['dataset'].frames, results['output_parameters'].get_dict()
    np.testing.assert_array_equal(kept.positions, samples[1].positions)
    assert adds_up(account), account
    assert account['made'] == {'extrapolative': 1, 'halt': 1, 'sample': 1}
    assert account['rejected'] == {'short_distance': 2}
    assert 'no candidate could be made' in account['failed']['swarming']


@pytest.mark.engines
def test_goes_on_without_swarm_and_boxes(
    inputs: dict[str, t.Any], broken: Callable[[str], orm.InstalledCode], halted: t.Any
) -> None:
    """With the frames of the walkers alone, and the reason in the account."""
    inputs['swarm']['code'] = inputs['embed']['code'] = broken('swarm')
    inputs['extrapolative'] = {'large': dataset(large('extrapolative'), large('halt', 0.01)), 'small': halted}
    inputs['embed']['parameters'] = orm.Dict({'max_dft_atoms': 40})
    results, node = run_get_node(CandidatesWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    account = results['output_parameters'].get_dict()
    assert adds_up(account), account
    assert account['made'] == {'extrapolative': 2, 'halt': 2}
    assert account['rejected'] == {'not_embedded': 2}
    assert set(account['kept']) == {'extrapolative', 'halt'}
    assert set(account['failed']) == {'embedding', 'swarming'}
    assert all('last output was' in cause for cause in account['failed'].values())


@pytest.mark.engines
@pytest.mark.parametrize(
    ('step', 'plugin', 'error'),
    [('evaluate', 'evaluate', 'ERROR_EVALUATION_FAILED'), ('maxvol', 'select', 'ERROR_SELECTION_FAILED')],
)
def test_names_the_step_that_failed(
    inputs: dict[str, t.Any], broken: Callable[[str], orm.InstalledCode], step: str, plugin: str, error: str
) -> None:
    inputs[step]['code'] = broken(plugin)
    inputs['max_per_halt'] = orm.Int(1)
    inputs['swarm']['parameters'] = orm.Dict({'count': 0})
    _, node = run_get_node(CandidatesWorkChain, **inputs)
    assert node.exit_status == CandidatesWorkChain.exit_codes[error].status
    assert 'last output was' in node.exit_message


@pytest.mark.engines
def test_embedding_failed(inputs: dict[str, t.Any], broken: Callable[[str], orm.InstalledCode]) -> None:
    """With nothing but large frames there is nothing to go on with."""
    inputs['embed'] = {'code': broken('embed'), 'parameters': orm.Dict({'max_dft_atoms': 40})}
    inputs['extrapolative'] = {'walker': dataset(large('halt'))}
    _, node = run_get_node(CandidatesWorkChain, **inputs)
    assert node.exit_status == CandidatesWorkChain.exit_codes.ERROR_EMBEDDING_FAILED.status
    assert '`embed.parameters.max_dft_atoms` = 40 atoms' in node.exit_message
    assert 'last output was' in node.exit_message


@pytest.mark.engines
def test_pool_empty(inputs: dict[str, t.Any]) -> None:
    inputs['extrapolative'] = {'walker': dataset(overlapping('extrapolative'))}
    results, node = run_get_node(CandidatesWorkChain, **inputs)
    assert node.exit_status == CandidatesWorkChain.exit_codes.ERROR_POOL_EMPTY.status
    assert '1 x short_distance' in node.exit_message
    assert results['output_parameters']['made'] == {'extrapolative': 1}


class TestRefuses:
    @staticmethod
    def error(inputs: dict[str, t.Any]) -> str:
        ports = CandidatesWorkChain.spec().inputs
        fresh = {name: dict(value) if isinstance(value, t.Mapping) else value for name, value in inputs.items()}
        return str(ports.validate(ports.pre_process(fresh)) or '')

    @pytest.fixture
    def inputs(self, aiida_code_installed: Callable[..., orm.InstalledCode]) -> dict[str, t.Any]:
        """Complete inputs, of which nothing can run."""
        potential, code = recorded_potential(), aiida_code_installed(label='true', filepath_executable='/bin/true')
        return {
            'extrapolative': {'walker': dataset(silicon('halt'))},
            'potential': potential,
            'active_set': recorded_active_set(potential),
            'seed': orm.Int(7),
            **{step: {'code': code} for step in ('embed', 'swarm', 'evaluate', 'maxvol')},
        }

    def test_complete_inputs(self, inputs: dict[str, t.Any]) -> None:
        assert self.error(inputs) == ''
        del inputs['embed']
        assert self.error(inputs) == ''

    @pytest.mark.parametrize(
        ('name', 'value', 'message'),
        [
            ('strategy', orm.Str, '`strategy` is `best`: give one of d_optimal, random, threshold_random, max_grade'),
            ('grade_threshold', lambda _: orm.Float(-1.0), '`grade_threshold` is -1.0: give a number from 0 up'),
            ('grade_threshold', lambda _: orm.Float('nan'), '`grade_threshold` is nan: give a number from 0 up'),
            ('max_per_halt', lambda _: orm.Int(0), '`max_per_halt` is 0: give at least 1'),
            ('seed', lambda _: orm.Int(-1), '`seed` is -1: give a number from 0'),
            ('guards', lambda _: orm.Dict({'distant': 0.7}), 'unknown setting `distant`; GuardConfig knows: distinct'),
            ('guards', lambda _: orm.Dict({'closest': 0.7}), 'setting `closest` is now the input `closest`'),
            ('closest', lambda _: orm.Float(0.0), '`closest` is 0.0: give a share above 0'),
            ('guards', lambda _: orm.Dict({'energy_window': 0}), '`energy_window`: Input should be greater than 0'),
        ],
    )
    def test_bad_setting(self, inputs: dict[str, t.Any], name: str, value: t.Any, message: str) -> None:
        assert message in self.error(inputs | {name: value('best')})

    def test_active_set_of_another_potential(self, inputs: dict[str, t.Any]) -> None:
        inputs['potential'] = AcePotentialData(inputs['potential'].get_yaml() + b'# another\n')
        assert '`active_set` was made for another potential: give the active set' in self.error(inputs)

    def test_elements_that_the_potential_does_not_know(self, inputs: dict[str, t.Any]) -> None:
        inputs['extrapolative'] = {'alloy': dataset(bulk('AlSi', 'zincblende', a=5.5))}
        assert '`extrapolative.alloy` holds Al, `potential` is for Si' in self.error(inputs)

    def test_large_frames_without_a_code_to_embed_them(self, inputs: dict[str, t.Any]) -> None:
        inputs['extrapolative'] = {'walker': dataset(large('halt'))}
        inputs['embed'] = {'parameters': orm.Dict({'max_dft_atoms': 40})}
        assert '`extrapolative.walker` holds frames of 65 atoms, more than `embed.parameters' in self.error(inputs)
        inputs['embed'] = {'parameters': orm.Dict({'max_dft_atoms': 65})}
        assert self.error(inputs) == ''


def guard(max_dft_atoms: int = 40, **frames: t.Any) -> dict[str, t.Any]:
    return guard_candidates(orm.Dict(), orm.Float(0.7), orm.Int(max_dft_atoms), **frames)


def test_all_small_frames_count_and_the_large_ones_of_highest_grade() -> None:
    many = dataset(
        *[silicon('extrapolative', seed=seed, repeat=2) for seed in range(4)],
        silicon('halt', seed=9, repeat=2),
        grades=[5.0, 8.0, 6.0, 7.0, 4.0],
    )
    few = dataset(silicon('extrapolative', seed=1), silicon('halt', seed=2), grades=[3.0, 4.0])
    before = dataset(*[silicon('sample', seed=seed, repeat=2) for seed in (20, 21)], grades=[1.0, 1.0])
    frames = {'extrapolative__big': many, 'samples__big': before, 'extrapolative__tiny': few}
    taken = take_large_frames(orm.Float(0.7), orm.Int(40), orm.Int(2), **frames)
    large = taken['dataset'].frames
    assert large.max_grade().tolist() == [8.0, 7.0, 4.0, 1.0]
    np.testing.assert_array_equal(large.take([3]).positions, before.frames.take([1]).positions)
    assert taken['walkers'].get_list() == ['big'] * 4
    results = guard(large=taken['dataset'], walkers=taken['walkers'], **frames)
    assert results['walkers'].get_list() == ['tiny'] * 2
    assert results['account']['rejected'] == {'not_embedded': 3}


def test_a_frame_of_two_walkers_counts_once(halted: t.Any) -> None:
    frames = {'extrapolative__a': halted, 'extrapolative__b': halted, 'samples__b': halted}
    results = guard(**frames)
    assert results['walkers'].get_list() == ['a', 'a']
    assert results['account']['made'] == {'extrapolative': 1, 'halt': 1}
    datasets, indices = halting_indices({'b': halted, 'a': halted}, None, 40)
    assert datasets == {'walker_a': halted}
    assert indices == {'walker_a': [1]}


def test_swarms_are_made_around_halts_that_fit_into_dft() -> None:
    boxes = dataset(silicon('embedded/extrapolative', seed=1), silicon('embedded/halt', seed=2))
    walkers = {
        'b': dataset(silicon('halt', seed=3), silicon('sample', seed=4)),
        'a': dataset(silicon('halt', seed=5, repeat=2), silicon('halt', seed=6)),
        'c': dataset(silicon('extrapolative', seed=7)),
    }
    _, indices = halting_indices(walkers, boxes, 40)
    assert indices == {'embedded': [1], 'walker_a': [1], 'walker_b': [0]}


def test_guards_know_whose_candidates_are_whose(halted: t.Any) -> None:
    """The swarm around the only frame of a walker is rejected: its own sample stands in, not that of the other."""
    frames = {
        'extrapolative__a': dataset(silicon('halt', seed=1)),
        'samples__a': dataset(silicon('sample', seed=3)),
        'extrapolative__b': dataset(overlapping('halt', seed=2)),
        'samples__b': dataset(silicon('sample', seed=4)),
    }
    results = guard(
        halts=orm.Dict({'walker_b': [0], 'walker_a': [0]}),
        swarming=orm.Dict({'parents': [1, 0]}),
        swarm=dataset(overlapping('swarm/rattle', seed=5), silicon('swarm/rattle', seed=6)),
        known__other=halted,
        **frames,
    )
    assert results['walkers'].get_list() == ['a', 'b', 'a']
    np.testing.assert_array_equal(results['pool'].frames.take([1]).positions, silicon('', seed=4).positions)
    assert results['account'].get_dict() == {
        'candidates': 5,
        'made': {'halt': 2, 'sample': 1, 'swarm/rattle': 2},
        'rejected': {'short_distance': 2},
    }


def test_guards_know_whose_boxes_are_whose() -> None:
    """The walker of a swarm around a box is that of the large frame."""
    large = dataset(silicon('halt', seed=1, repeat=2), silicon('halt', seed=2, repeat=2))
    results = guard(
        large=large,
        walkers=orm.List(['a', 'b']),
        embedding=orm.Dict({'parents': [1]}),
        embedded=dataset(silicon('embedded/halt', seed=3)),
        halts=orm.Dict({'embedded': [0]}),
        swarming=orm.Dict({'parents': [0]}),
        swarm=dataset(silicon('swarm/rattle', seed=4)),
        extrapolative__a=large,
    )
    assert results['walkers'].get_list() == ['b', 'b']
    assert results['account']['rejected'] == {'not_embedded': 1}


def choose(pool: Frames, strategy: str, count: int) -> dict[str, t.Any]:
    """Choose from a pool with the grades 1, 2, ... of its atoms and no energies."""
    return choose_candidates(
        AtomsDatasetData(pool),
        walkers=orm.List(['a'] * len(pool)),
        potential=recorded_potential(),
        evaluation=evaluation_of(pool),
        guards=orm.Dict(),
        strategy=orm.Str(strategy),
        grade_threshold=orm.Float(2.0),
        max_frames=orm.Int(count),
        seed=orm.Int(1),
    )


def evaluation_of(pool: Frames) -> orm.ArrayData:
    return orm.ArrayData({'grade': np.arange(1.0, len(pool.numbers) + 1), 'energy': np.zeros(len(pool))})


def box_pool() -> Frames:
    """Return a pool of three boxes with a core of one atom each; their grades are 1, 11 and 24."""
    pool = Frames.from_atoms([silicon('embedded/halt', seed=seed) for seed in range(3)])
    weight = np.zeros(24)
    weight[[0, 10, 23]] = 1
    return pool.replace(force_weight=weight)


def test_only_grades_of_atoms_that_teach_something_count() -> None:
    """Of the buffer of a box nothing is learnt: neither the threshold nor a ranking looks at it."""
    assert choose(box_pool(), 'max_grade', 1)['indices'].get_list() == [2]
    # Among all above the threshold, however many may be kept, MaxVol chooses.
    results = choose(box_pool(), 'd_optimal', 1)
    assert results['indices'].get_list() == [1, 2]
    assert results['account']['below_threshold'] == 1


@pytest.mark.parametrize(
    ('selection', 'grades'), [(None, [11.0, 24.0]), ({'indices': [1]}, [11.0]), ({'indices': []}, [24.0])]
)
def test_what_is_kept(selection: dict[str, t.Any] | None, grades: list[float]) -> None:
    """All that are chosen, those of them that MaxVol selected or, when it selected none, those of highest grade."""
    pool = box_pool()
    collected = collect_candidates(
        AtomsDatasetData(pool),
        evaluation_of(pool),
        guarded=orm.Dict({'candidates': 5, 'made': {'embedded/halt': 5}, 'rejected': {'short_distance': 2}}),
        chosen=orm.List([1, 2]),
        choice=orm.Dict({'rejected': {}, 'below_threshold': 1}),
        max_frames=orm.Int(1),
        failed=orm.Dict(),
        **({} if selection is None else {'selection': orm.Dict(selection)}),
    )
    frames, account = collected['dataset'].frames, collected['output_parameters'].get_dict()
    assert frames.max_grade().tolist() == grades
    assert np.count_nonzero(frames.grade) == len(grades)
    assert account['kept'] == {'embedded/halt': len(grades)}
    assert adds_up(account), account


def test_guards_keep_nothing_that_is_labelled_already(halted: t.Any) -> None:
    for name in ('known__initial', 'drawn'):
        results = guard(extrapolative__a=halted, **{name: halted})
        assert 'pool' not in results
        assert results['account']['rejected'] == {'known': 2}
    assert check_frames(halted.frames).mask.all()


@pytest.mark.engines
def test_a_halting_frame_is_stored_four_times_from_the_dump_to_the_training_set(
    inputs: dict[str, t.Any], halted: t.Any
) -> None:
    """By the parser of the dump, in the pool, among what is labelled, and with its label; drawn frames go along."""
    drawn = dataset(silicon('audit', seed=11), silicon('random', seed=12))
    walker = dataset(*halted.frames, silicon('extrapolative', 0.82, seed=5))
    inputs |= {'extrapolative': {'walker': walker}, 'drawn': drawn, 'max_per_halt': orm.Int(3)}
    inputs['swarm']['parameters'] = orm.Dict({'count': 1, 'shares': {'rattle': 1}})
    results, node = run_get_node(CandidatesWorkChain, **inputs)
    assert node.is_finished_ok, node.exit_message
    assert 'select' in children(node)
    frames = results['dataset'].frames
    assert len(frames) == 5
    assert_identical(frames.take([3, 4]), drawn.frames)
    account = results['output_parameters'].get_dict()
    assert adds_up(account), account
    assert sum(account['kept'].values()) == 3

    trajectories = {}
    for index, size in enumerate(frames.sizes):
        trajectory = orm.ArrayData(
            {'energy': np.zeros(1), 'forces': np.zeros((1, size, 3)), 'stress': np.zeros((1, 3, 3))}
        )
        trajectories[f'frame_{index:05d}'] = trajectory
    picks = orm.Dict({key: [key, 0] for key in trajectories})
    labels = collect_trajectories(results['dataset'], picks, **trajectories)
    copies = stored_copies()
    kept = exact_fingerprints(frames.take(range(3)))
    assert set(kept) & set(exact_fingerprints(walker.frames)), 'no frame of the walker is kept'
    assert {copies[digest] for digest in kept} == {4}
    assert set(exact_fingerprints(labels['audit'].frames)) == {exact_fingerprints(drawn.frames)[0]}
    assert {copies[digest] for digest in exact_fingerprints(drawn.frames)} == {3}
