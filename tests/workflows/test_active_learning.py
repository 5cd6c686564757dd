"""The loop: what it refuses, and two cycles of it with the real engines."""

from __future__ import annotations

import functools
import operator
import re
import typing as t
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import ProcessBuilder, run_get_node
from aiida.plugins import DataFactory, WorkflowFactory
from ase.build import bulk

from aiida_pace.campaign.phases import CAMPAIGN_EXTRA
from aiida_pace.frames import Frames
from aiida_pace.structures.fingerprint import exact_fingerprints
from aiida_pace.workflows.graph import children
from tests.fixtures.loop import BuilderOf
from tests.fixtures.nodes import stored_copies
from tests.fixtures.silicon import silicon_campaign

ActiveLearningWorkChain = WorkflowFactory('pace.active_learning')
AceActiveSetData = DataFactory('pace.active_set')
AcePotentialData = DataFactory('pace.potential')
AtomsDatasetData = DataFactory('pace.dataset')

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


def halting_sets(campaign: orm.WorkChainNode) -> list[t.Any]:
    """Return the extrapolative frames of all walkers that halted."""
    explored = [node.outputs for label, node in children(campaign).items() if label.endswith('_explore')]
    return [outputs.extrapolative[name] for outputs in explored for name in outputs.output_parameters['halted']]


@pytest.mark.engines
@pytest.mark.slow
def test_two_cycles(builder_of: BuilderOf) -> None:
    """Silicon from nothing: every phase leaves what it must, and the counts add up."""
    results, node = run_get_node(
        builder_of({'explore': {'lammps': {'parameters': {'collect_grade': 1.5, 'halt_grade': 4.0}}}})
    )

    # Two cycles were not enough to be quiet twice: the potential is handed over all the same, with the reason.
    assert node.exit_status == ActiveLearningWorkChain.exit_codes.ERROR_CONVERGENCE_NOT_REACHED.status
    assert '2 cycles of at most 2 are done' in node.exit_message
    assert {'potential', 'active_set', 'training', 'datasets', 'audits', 'history'} <= set(results)
    assert results['active_set'].matches(results['potential'])
    assert results['potential'].elements == ['Si']
    assert results['potential'].reference_energies['Si'] < -90  # of the isolated atom, labelled by pw.x

    # The tree tells the story.
    step = children(node)
    story = {'explore', 'select', 'label', 'train'}
    assert {f'cycle_01_{phase}' for phase in story} | {'initial_label', 'initial_train', 'cycle_02_explore'} <= set(
        step
    )
    assert step['initial_generate'].outputs.dataset.count == 10

    # Labels: as many as asked for, each from a DFT run of its own.
    rounds = [label for label in step if label.endswith('_label')]
    for label in rounds:
        account = step[label].outputs.output_parameters
        assert account['requested'] == step[label].inputs.dataset.count
        assert account['requested'] == account['labelled'] + account['failed'] + account['rejected']
        outputs = step[label].outputs
        assert account['labelled'] == sum(outputs[name].count for name in ('dataset', 'audit') if name in outputs)
    assert set(results['datasets']) <= {label.removesuffix('_label') for label in rounds}
    frames = [dataset.frames for name in ('datasets', 'audits') for dataset in results[name].values()]
    sources = [uuid for part in frames for uuid in part.label_uuid]
    assert (
        len(set(sources)) == len(sources) == sum(step[label].outputs.output_parameters['labelled'] for label in rounds)
    )
    assert all(isinstance(orm.load_node(str(uuid)), orm.TrajectoryData) for uuid in sources)

    # The grade was seen, and it halted a walker.
    summary = step['cycle_01_explore'].outputs.output_parameters
    assert summary['halted']
    assert summary['max_grade'] > 4
    halted = step['cycle_01_explore'].outputs.extrapolative[summary['halted'][0]].frames
    assert halted.origin[-1] == 'halt'
    assert halted.max_grade()[-1] > 4

    # From the dump of the walker to the training set: extrapolative frames, pool, candidates, labels.
    digests = {exact_fingerprints(found.frames.take([len(found.frames) - 1]))[0] for found in halting_sets(node)}
    copies = [count for digest, count in stored_copies().items() if digest in digests]
    assert len(copies) == len(digests) > 0
    assert max(copies) <= 4

    # What was learnt changed the potential, and the data it was trained on grew.
    first, second = (step[label].outputs.potential for label in ('initial_train', 'cycle_01_train'))
    assert first.digest != second.digest
    assert set(step['cycle_01_train'].inputs.fit.datasets) == {'initial', 'cycle_01'}
    # The second round walked with the new potential.
    assert step['cycle_02_explore'].inputs.lammps.potential == second

    # The audit: frames of every cycle, errors of the potential that made the MD, and no fit has seen one of them.
    history = results['history']['history']
    assert [record['potential'] for record in history] == [first.uuid, second.uuid]
    assert all(record['audit']['frames'] == 2 for record in history)
    audited = {digest for dataset in results['audits'].values() for digest in exact_fingerprints(dataset.frames)}
    trained = {digest for dataset in results['datasets'].values() for digest in exact_fingerprints(dataset.frames)}
    assert len(audited) == 4
    assert not audited & trained
    assert history[-1]['core_seconds'] > history[0]['core_seconds'] > 0

    assert node.base.extras.get(CAMPAIGN_EXTRA)['phase'] == 'not converged'


@pytest.fixture
def given(cheap_campaign: BuilderOf, si_potential_files: Path) -> ProcessBuilder:
    """Return the campaign, begun with labelled frames."""
    # The labels given are those of another method: no audit can agree.
    builder = cheap_campaign({'stop': {'quiet_rounds': 2, 'max_cycles': 3, 'target': 100.0, 'min_audit': 2}})
    parts = [Frames.load(si_potential_files / name) for name in ('dataset.npz', 'isolated_atoms.npz')]
    builder.datasets = {str(number): AtomsDatasetData(part) for number, part in enumerate(parts)}
    return builder


def calm(builder: ProcessBuilder, samples: int = 2) -> None:
    builder.explore.lammps.parameters = orm.Dict(
        {'temperature_start': 50.0, 'steps': 10 * samples, 'samples': samples, 'collect_grade': 1e3, 'halt_grade': 1e4}
    )
    builder.explore.structures = {'cubic': orm.StructureData(ase=bulk('Si', a=5.43, cubic=True))}


@pytest.mark.engines
def test_converges_after_quiet_rounds(given: ProcessBuilder) -> None:
    """Begun with labelled frames, with walkers that stay where they are: nothing to learn, but audited."""
    calm(given)
    results, node = run_get_node(given)
    assert node.is_finished_ok, node.exit_message
    assert 'cycle_02_explore' in children(node)
    assert 'cycle_03_explore' not in children(node)
    assert set(results['datasets']) == {'given_0', 'given_1'}
    assert set(results['audits']) == {'cycle_01', 'cycle_02'}
    assert not {'cycle_01_train', 'cycle_01_select'} & set(children(node))
    assert results['history']['action'] == 'converged'
    stand = node.base.extras.get(CAMPAIGN_EXTRA)
    assert (stand['cycle'], stand['phase']) == (2, 'converged')
    assert (node.label, node.description) == (
        'ACE potential for Si',
        'Active learning of an ACE potential for Si; walkers: cubic (Si8)',
    )


@pytest.mark.engines
def test_learns_where_nothing_is_new(cheap_campaign: BuilderOf) -> None:
    """Quiet walkers, and an error above the target: frames of their MD are labelled and trained on."""
    builder = cheap_campaign({'stop': {'max_cycles': 3, 'target': 1e-4, 'min_audit': 2}, 'growth': {'frames': 3}})
    calm(builder, samples=8)
    results, node = run_get_node(builder)
    assert node.exit_status == ActiveLearningWorkChain.exit_codes.ERROR_CONVERGENCE_NOT_REACHED.status
    step = children(node)
    assert step['cycle_01_judge'].outputs.result['action'] == 'learn'
    drawn = results['datasets']['cycle_02'].frames
    assert list(drawn.origin) == ['random'] * 3
    audited = {digest for audit in results['audits'].values() for digest in exact_fingerprints(audit.frames)}
    assert not audited & set(exact_fingerprints(drawn))
    walked = [step[f'cycle_0{cycle}_explore'].inputs.lammps.potential for cycle in (1, 2, 3)]
    assert walked[0] == walked[1] != walked[2] == step['cycle_02_train'].outputs.potential
    assert 'cycle_02' in step['cycle_02_train'].inputs.fit.datasets
    assert 'cycle_01' not in results['datasets']


@pytest.mark.engines
def test_learns_from_the_validation_that_failed(cheap_campaign: BuilderOf) -> None:
    """Gates that are not met: the frames of the validation are trained on, once; the next one labels nothing."""
    builder = cheap_campaign({'stop': {'max_cycles': 2, 'quiet_rounds': 1, 'target': 100.0, 'min_audit': 2}})
    calm(builder, samples=4)
    builder.validate.structures = {'diamond': orm.StructureData(ase=bulk('Si', a=5.4))}
    builder.validate.parameters = orm.Dict({'volume_count': 5, 'elastic_constants': False, 'phonons': False})
    builder.validate.tolerances = orm.Dict({'lattice_constant': 1e-9})
    results, node = run_get_node(builder)
    step = children(node)
    verdict = step['cycle_01_judge_again'].outputs.result
    assert (verdict['action'], verdict['reason']) == ('learn', 'gates_not_met')
    assert results['datasets']['cycle_01_volumes'] == step['cycle_01_validate'].outputs.datasets.volumes
    assert 'cycle_01_volumes' in step['cycle_01_train'].inputs.fit.datasets
    assert 'cycle_02_volumes' not in results['datasets']
    account = step['cycle_02_validate'].outputs.accounts.volumes
    assert account['reused'] == account['requested'] == 5


@pytest.fixture
def broken(aiida_code_installed: Callable[..., orm.InstalledCode]) -> Callable[[str], orm.InstalledCode]:
    """Return a factory of codes that fail at once: no real engine can be made to do that to order."""
    return lambda plugin: aiida_code_installed(
        label='broken', default_calc_job_plugin=plugin, filepath_executable='/bin/false'
    )


@pytest.mark.engines
def test_loses_patience(given: ProcessBuilder) -> None:
    """A target that cannot be met, and a basis that may not grow: it stops with the reason, and the best potential."""
    calm(given)
    settings = {'target': 1e-6, 'patience': 2, 'max_cycles': 9, 'min_audit': 2}
    given.stop = orm.Dict(settings)
    given.growth = orm.Dict({'frames': 0, 'max_functions': 1})
    results, node = run_get_node(given)
    assert node.exit_status == ActiveLearningWorkChain.exit_codes.ERROR_NO_IMPROVEMENT.status
    assert 'no improvement in 2 cycles' in node.exit_message
    history = results['history']['history']
    assert len(history) < 9
    audited = {record['potential']: record['audit']['value'] for record in history}
    assert results['potential'].uuid in audited
    assert results['active_set'].matches(results['potential'])


@pytest.mark.engines
@pytest.mark.parametrize('has_active_set', [True, False])
def test_starts_from_a_potential(
    given: ProcessBuilder,
    broken: Callable[[str], orm.InstalledCode],
    si_potential_files: Path,
    has_active_set: bool,
) -> None:
    """With its active set and its data the walkers start with it at once; else the first fit continues from it."""
    potential = AcePotentialData((si_potential_files / 'potential.yaml').read_bytes())
    given.potential = potential
    if has_active_set:
        asi = (si_potential_files / 'active_set.asi').read_bytes()
        given.active_set = AceActiveSetData(asi, potential=potential)
    given.explore.lammps.code = broken('pace.lammps')
    _, node = run_get_node(given)
    assert node.exit_status == ActiveLearningWorkChain.exit_codes.ERROR_EXPLORATION_FAILED.status
    steps = children(node)
    if has_active_set:
        assert 'initial_train' not in steps
        assert steps['cycle_01_explore'].inputs.lammps.potential == potential
    else:
        assert steps['initial_train'].inputs.fit.potential == potential


@pytest.mark.engines
@pytest.mark.parametrize(
    ('port', 'plugin', 'error', 'handed_over'),
    [
        ('train.fit.code', 'pace.train', 'ERROR_TRAINING_FAILED', {'datasets'}),
        ('explore.lammps.code', 'pace.lammps', 'ERROR_EXPLORATION_FAILED', {'datasets', 'potential', 'active_set'}),
        ('evaluate.code', 'pace.evaluate', 'ERROR_SELECTION_FAILED', {'datasets', 'potential', 'active_set'}),
        (
            'label.calculator.code',
            'pace.label_calculator',
            'ERROR_LABELS_FAILED',
            {'datasets', 'potential', 'active_set'},
        ),
    ],
)
def test_stops_with_the_cause(  # noqa: PLR0917
    given: ProcessBuilder,
    broken: Callable[[str], orm.InstalledCode],
    port: str,
    plugin: str,
    error: str,
    handed_over: set[str],
) -> None:
    """Whatever fails, the campaign says where and why, and hands over what it has."""
    given.explore.structures = {'dense': orm.StructureData(ase=bulk('Si', a=4.6, cubic=True))}
    given.explore.lammps.parameters = orm.Dict({'steps': 20, 'collect_grade': 1.2, 'halt_grade': 2.0})
    *namespaces, name = port.split('.')
    functools.reduce(operator.getitem, namespaces, given)[name] = broken(plugin)
    results, node = run_get_node(given)
    exit_code = ActiveLearningWorkChain.exit_codes[error]
    assert node.exit_status == exit_code.status
    assert re.search(r'`(initial|cycle_01)`: .*\w{4}', node.exit_message)
    assert 'unhandled failure' not in node.exit_message
    assert handed_over <= set(results)


@pytest.mark.engines
@pytest.mark.slow
def test_stops_when_the_initial_labels_make_no_fit(builder_of: BuilderOf) -> None:
    """Without vacuum pw.x cannot label the isolated atom: few failed, but there is no reference energy."""
    results, node = run_get_node(
        builder_of({'initial': {'parameters': {'vacuum': 0.01, 'shares': {'dimer': 0, 'trimer': 0}}}})
    )
    assert node.exit_status == ActiveLearningWorkChain.exit_codes.ERROR_LABELS_INSUFFICIENT.status
    assert 'no reference energy of Si' in node.exit_message
    assert results['datasets']['initial'].count == 9
    assert 'initial_train' not in children(node)


def test_refuses_a_pool_smaller_than_the_basis(builder_of: BuilderOf) -> None:
    """Before the first DFT run: there is nothing to choose from."""
    _, node = run_get_node(builder_of({'train': {'fit': {'parameters': {'functions_per_element': 3000}}}}))
    assert node.exit_status == ActiveLearningWorkChain.exit_codes.ERROR_INITIAL_SET_FAILED.status
    assert 'the basis has 3000 functions' in node.exit_message
    assert set(children(node)) == {'initial_generate'}


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        ({'train': {'fit': {'parameters': {'cutof': 5.0}}}}, 'unknown setting `cutof`'),
        ({'train': {'fit': {'parameters': {'cutoff': 0.0}}}}, '`cutoff`.*greater than 0'),
        ({'train': {'fit': {'parameters': {'reference_energies': {'Al': -2.0}}}}}, 'no reference energy for Si'),
        ({'initial': {'parameters': {'isolated_atoms': False}}}, 'no reference energy for Si'),
        ({'initial': {'elements': ['Xx']}}, 'Xx.*not been recognized'),
        ({'initial': {'elements': ['Al']}}, '`explore.structures` contain Si'),
        ({'initial': {'count': 0}}, '`count` is 0: give at least 1'),
        ({'initial': {'elements': ['Si', 'Ge']}}, 'Ge'),
        ({'explore': {'lammps': {'parameters': {'steps': -1}}}}, '`steps`.*greater than or equal to 1'),
        ({'select': {'swarm': {'parameters': {'amplitude': -1.0}}}}, '`amplitude`.*greater than 0'),
        ({'stop': {'max_cycles': 0}}, '`max_cycles`.*greater than or equal to 1'),
        ({'stop': {'max_cycles': 1}}, '`stop.max_cycles` is below `stop.quiet_rounds`'),
        ({'stop': {'max_cyles': 3}}, 'unknown setting `max_cyles`'),
        ({'max_cyles': 3}, '`max_cyles` is not an input'),
        ({'audit': {'count': -1}}, '`audit`.*`count`'),
        ({'stages': []}, '`stages` is empty'),
        ({'stages': [{'temperature': -3.0}]}, r'`stages\[0\]`.*`temperature`'),
        ({'stages': [{'temperature': 300.0, 'structures': ['none']}]}, r'`stages\[0\]\.structures` names none'),
        ({'explore': {'lammps': {'paramters': {}}}}, r'`explore\.lammps\.paramters` is not an input'),
        ({'seed': -5}, '`seed` is -5: give a number from 0'),
        ({'initial': {'count': 1}}, '`initial`: `count` is 1: give more frames than there are elements'),
        (
            {'label': {'pw': {'pw': {'parameters': {'CONTROL': {'tstress': False}}}}}},
            r'`CONTROL\.tstress` must be true',
        ),
        ({'label': {'pw': {'parameters': {}}}}, r'`label\.pw\.parameters` is now `label\.pw\.pw\.parameters`'),
        ({'label': {'kpoints_distance': 0.5}}, r'`label\.kpoints_distance` is now `label\.pw\.kpoints_distance`'),
        ({'label': {'pw': {'metadata': {'options': {}}}}}, r'is now `label\.pw\.pw\.metadata\.options`'),
        ({'label': {'pw': {'pw': {'paramters': {}}}}}, r'`label\.pw\.pw\.paramters` is not an input'),
        ({'label': {'calculator': {}}}, '`label` has `pw` and `calculator`: give exactly one'),
    ],
)
def test_refuses_bad_settings(builder_of: BuilderOf, overrides: dict[str, t.Any], message: str) -> None:
    """Before anything runs, with a sentence that names the input."""
    with pytest.raises(ValueError, match=message):
        run_get_node(builder_of(overrides))
    assert not orm.QueryBuilder().append(orm.ProcessNode).count()


def without_code(builder: ProcessBuilder) -> None:
    del builder.explore.lammps['code']


def with_unknown_element(builder: ProcessBuilder) -> None:
    builder.initial.elements = orm.List(['Xx'])


def without_walkers(builder: ProcessBuilder) -> None:
    builder.explore.structures = {}


def with_foreign_walker(builder: ProcessBuilder) -> None:
    builder.explore.structures = {'alloy': orm.StructureData(ase=bulk('AlSi', 'zincblende', a=5.5))}


def with_single_atom_walker(builder: ProcessBuilder) -> None:
    builder.explore.structures = {'primitive': orm.StructureData(ase=bulk('Si', 'sc', a=2.5))}


def with_large_walker(builder: ProcessBuilder) -> None:
    del builder.select.embed['code']
    builder.explore.structures = {'large': orm.StructureData(ase=bulk('Si', cubic=True) * (3, 3, 3))}


def without_data(builder: ProcessBuilder) -> None:
    del builder.initial['elements']


def with_unlabelled_data(builder: ProcessBuilder) -> None:
    builder.datasets = {'user': AtomsDatasetData(Frames.from_atoms([bulk('Si')]))}


def with_data_without_references(builder: ProcessBuilder) -> None:
    frames = Frames.from_atoms([bulk('Si')])
    labelled = frames.replace(energy=np.array([-1.0]), forces=np.zeros((2, 3)))
    builder.datasets = {'user': AtomsDatasetData(labelled)}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (without_code, r'explore\.lammps\.code'),
        (with_unknown_element, 'give chemical symbols'),
        (without_walkers, '`explore.structures` is empty'),
        (with_foreign_walker, '`explore.structures` contain Al'),
        (with_single_atom_walker, r'`structures\.primitive`: .* one atom only'),
        (with_large_walker, r'`explore\.structures\.large` has 216 atoms.*: give `select\.embed\.code`'),
        (without_data, 'neither `datasets` nor `initial.elements`'),
        (with_unlabelled_data, r'`datasets\.user` has no labels'),
        (with_data_without_references, 'no reference energy of Si'),
    ],
)
def test_refuses_bad_inputs(builder_of: BuilderOf, change: Callable[[ProcessBuilder], None], message: str) -> None:
    builder = builder_of()

    def change_and_run() -> None:
        change(builder)
        run_get_node(builder)

    with pytest.raises(ValueError, match=message):
        change_and_run()
    assert not orm.QueryBuilder().append(orm.ProcessNode).count()


def test_refuses_code_without_executable(builder_of: BuilderOf, aiida_localhost: orm.Computer) -> None:
    builder = builder_of()
    builder.explore.lammps.code = orm.InstalledCode(
        label='nothing', computer=aiida_localhost, filepath_executable='/no/where/lmp'
    )
    with pytest.raises(
        ValueError, match=r'`explore.lammps.code`: code `nothing@\w+` has no executable `/no/where/lmp`'
    ):
        run_get_node(builder)


def test_builder_names_missing_codes() -> None:
    with pytest.raises(ValueError, match=r"missing=\['lammps'"):
        silicon_campaign({'pw': 'pw@localhost'})


def test_builder_asks_for_the_code_of_the_labeller_alone(
    builder_of: BuilderOf, cheap_campaign: BuilderOf, pace_code: Callable[[str, str], orm.InstalledCode]
) -> None:
    assert builder_of().label.pw.pw.code.label == 'pw.x'
    label = cheap_campaign()._inputs(prune=True)['label']
    assert label['calculator']['code'].label == 'pace-label'
    assert 'pw' not in label
    pw = pace_code('quantumespresso.pw', 'pw.x')
    with pytest.raises(ValueError, match=r"missing=.*'pace_label'.*unknown=\['pw'\]"):
        silicon_campaign({'pw': pw}, label={'calculator': {'parameters': {'calculator': 'ase.calculators.emt:EMT'}}})


def test_everything_of_the_work_chain_of_dft_is_passed_on(builder_of: BuilderOf) -> None:
    """What its own protocol does not read, too."""
    pw = builder_of(
        {
            'label': {
                'pw': {
                    'max_iterations': 2,
                    'handler_overrides': {'handle_out_of_walltime': {'enabled': False}},
                    'pw': {
                        'parallelization': {'npool': 1},
                        'settings': {'gamma_only': True},
                        'metadata': {'options': {'queue_name': 'debug'}, 'label': 'a label'},
                    },
                }
            }
        }
    ).label.pw
    assert pw.max_iterations.value == 2
    assert pw.handler_overrides.get_dict() == {'handle_out_of_walltime': {'enabled': False}}
    assert pw.pw.parallelization.get_dict() == {'npool': 1}
    assert pw.pw.settings.get_dict() == {'gamma_only': True}
    assert (pw.pw.metadata.options['queue_name'], pw.pw.metadata.label) == ('debug', 'a label')
    assert pw.pw.metadata.options['withmpi'] is False
    assert pw.clean_workdir.value is True
