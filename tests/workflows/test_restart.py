"""A campaign that ended too early goes on from where it stood, and one that is run again labels nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from aiida import orm
from aiida.engine import ProcessBuilder, run_get_node
from aiida.plugins import CalculationFactory, WorkflowFactory
from ase.build import bulk

from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames
from aiida_pace.structures.fingerprint import exact_fingerprints
from aiida_pace.workflows.graph import children
from tests.fixtures.campaigns import Campaign
from tests.fixtures.loop import BuilderOf

ActiveLearningWorkChain = WorkflowFactory('pace.active_learning')

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

#: Thresholds that the walkers of the first cycle exceed.
HALTING = {'explore': {'lammps': {'parameters': {'collect_grade': 1.2, 'halt_grade': 2.0}}}}


def label_jobs() -> int:
    """Return the number of jobs in the profile that made labels."""
    return orm.QueryBuilder().append(CalculationFactory('pace.label_calculator')).count()


@pytest.mark.engines
def test_goes_on_and_never_labels_twice(
    cheap_campaign: BuilderOf, aiida_code_installed: Callable[..., orm.InstalledCode]
) -> None:
    """A campaign whose MD cannot run, one that goes on from it, one more cycle, and all of it again from nothing."""
    failing = cheap_campaign(HALTING)
    # No real LAMMPS can be made to fail at its first step.
    failing.explore.lammps.code = aiida_code_installed(
        label='broken', default_calc_job_plugin='pace.lammps', filepath_executable='/bin/false'
    )
    _, failed = run_get_node(failing)
    assert failed.exit_status == ActiveLearningWorkChain.exit_codes.ERROR_EXPLORATION_FAILED.status
    spent = label_jobs()
    assert spent == 1

    builder = cheap_campaign({**HALTING, 'stop': {'max_cycles': 1, 'quiet_rounds': 1}})
    builder.restart_from = failed
    _, second = run_get_node(builder)
    steps = children(second)
    assert 'cycle_01_explore' in steps
    assert not {'initial_generate', 'initial_label', 'initial_train'} & set(steps)
    assert steps['cycle_01_explore'].inputs.lammps.potential == failed.outputs.potential

    builder = cheap_campaign(HALTING)
    builder.restart_from = second.uuid
    _, third = run_get_node(builder)
    steps = children(third)
    assert 'cycle_01_explore' not in steps
    assert steps['cycle_02_explore'].inputs.lammps.potential == children(second)['cycle_01_train'].outputs.potential
    assert len(third.outputs.history['history']) == 2
    spent = label_jobs()

    # From nothing, with the same seeds: the same frames, all of them labelled before.
    results, again = run_get_node(cheap_campaign(HALTING))
    assert label_jobs() == spent
    accounts = [node.outputs.output_parameters for label, node in children(again).items() if label.endswith('_label')]
    assert all(account['reused'] == account['requested'] > 0 for account in accounts)
    assert set(results['datasets']) == set(third.outputs.datasets)
    for name, dataset in results['datasets'].items():
        assert exact_fingerprints(dataset.frames) == exact_fingerprints(third.outputs.datasets[name].frames)
    assert results['history']['history'][1]['audit'] == third.outputs.history['history'][1]['audit']


@pytest.mark.parametrize(
    ('kind', 'message'),
    [('nothing', 'there is no node `nothing`'), ('number', 'is not an `ActiveLearningWorkChain`')],
)
def test_refuses_what_is_no_campaign(builder_of: BuilderOf, kind: str, message: str) -> None:
    builder = builder_of()
    what = orm.Int(1).store().uuid if kind == 'number' else kind

    def restart() -> None:
        builder.restart_from = what
        run_get_node(builder)

    with pytest.raises(ValueError, match=message):
        restart()


def restart_of(builder: ProcessBuilder, campaign: Campaign) -> Callable[[], None]:
    """Return a function that restarts from a campaign that was killed."""
    campaign.node.set_process_state('killed')

    def restart() -> None:
        builder.restart_from = campaign.node
        run_get_node(builder)

    return restart


def test_refuses_another_data_set_of_the_same_name(builder_of: BuilderOf) -> None:
    """The campaign has one of that name: neither may be lost."""
    builder = builder_of()
    frames = Frames.from_atoms([bulk('Si')])
    builder.datasets = {'mine': AtomsDatasetData(frames.replace(energy=np.array([-1.0]), forces=np.zeros((2, 3))))}
    with pytest.raises(
        ValueError, match=r'`datasets.mine`: campaign \d+ has another data set of that name: give a new'
    ):
        restart_of(builder, Campaign(given=2))()


def test_refuses_a_campaign_with_nothing_to_go_on_with(builder_of: BuilderOf) -> None:
    builder = builder_of()
    del builder.initial['elements']
    with pytest.raises(ValueError, match=r'`restart_from`: campaign \d+ has no labels: give'):
        restart_of(builder, Campaign())()


def test_refuses_a_campaign_whose_beginning_is_elsewhere(builder_of: BuilderOf) -> None:
    missing = orm.WorkChainNode()
    with pytest.raises(ValueError, match=f'continues campaign {missing.uuid}: import that one'):
        restart_of(builder_of(), Campaign(restart_from=missing))()


def test_refuses_a_campaign_that_still_runs(builder_of: BuilderOf) -> None:
    node = orm.WorkChainNode(process_type='aiida.workflows:pace.active_learning').store()
    node.set_process_state('waiting')
    builder = builder_of()

    def restart() -> None:
        builder.restart_from = node
        run_get_node(builder)

    with pytest.raises(ValueError, match='has not ended: wait, or `verdi process kill'):
        restart()
