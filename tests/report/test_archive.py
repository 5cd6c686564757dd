"""A campaign made by version 0.1 and imported: its keys are in no order, and its names are those of that version.

Silicon, labelled by pw.x: two halts in cycle 1, nothing new in cycles 2 to 4, random frames learnt in cycle 3.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import WorkflowFactory
from aiida.tools.archive import import_archive
from ase.build import bulk

from aiida_pace.campaign.judge import Action
from aiida_pace.cli.campaigns import find_campaign
from aiida_pace.report.campaign import CampaignSummary, summarise_campaign
from aiida_pace.workflows.graph import children
from aiida_pace.workflows.learned import learned_atoms, training_cost
from tests.fixtures.loop import BuilderOf

ActiveLearningWorkChain = WorkflowFactory('pace.active_learning')

ARCHIVE = Path(__file__).parent / 'four_cycles_of_silicon.aiida'
UUID = '91639150-e83e-44be-87a3-c4479774c75b'
#: The potentials trained in cycles 1 and 3.
FIRST, SECOND = 'cac4c937-7f32-40da-b34b-15ea36662b28', 'e4c17e5c-fb93-4d3c-b8ab-9b42688109d5'

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


@pytest.fixture
def archived(aiida_profile_clean: object) -> orm.WorkChainNode:
    import_archive(ARCHIVE)
    for code in orm.QueryBuilder().append(orm.InstalledCode).all(flat=True):
        code.label = f'{code.label}-elsewhere'
    node = orm.load_node(UUID)
    assert isinstance(node, orm.WorkChainNode)
    return node


def test_status_is_told_in_the_order_of_time(archived: orm.WorkChainNode) -> None:
    """The numbers are those that the status told where the campaign was run."""
    called = sorted(children(archived).values(), key=lambda node: node.ctime)
    assert [node.pk for node in called] != sorted(node.pk for node in called), 'this import proves nothing'
    summary: CampaignSummary = summarise_campaign(archived)
    assert [step.name for step in summary.steps] == ['initial', 'cycle_01', 'cycle_02', 'cycle_03', 'cycle_04']
    assert [step.labels for step in summary.steps] == [10, 16, 16, 19, 19]
    assert [step.requested for step in summary.steps] == [10, 6, 2, 5, 2]
    assert [step.halted for step in summary.steps] == [None, 2, 0, 0, 0]
    assert [step.audit and step.audit.frames for step in summary.steps] == [None, None, 2, 4, 2]
    assert summary.core_seconds == pytest.approx(17.79121518135074)
    assert (summary.cycle, summary.quiet_rounds, summary.labels) == (4, 1, 19)
    assert summary.verdict is not None
    assert (summary.verdict.cycle, summary.verdict.action) == (4, Action.STOP)
    state = summary.campaign
    assert (state.requested, state.failed, state.core_seconds) == (25, 0, pytest.approx(17.79121518135074))
    assert {name: audit.potential for name, audit in state.audits.items()} == {
        'cycle_02': FIRST,
        'cycle_03': FIRST,
        'cycle_04': SECOND,
    }
    assert {name: dataset.uuid for name, dataset in state.training.items()} == {
        name: node.uuid for name, node in archived.outputs.datasets.items()
    }
    assert state.potential == SECOND
    last = state.history[-1]
    assert training_cost(state.training.values()) == pytest.approx(last.training_core_seconds)
    assert learned_atoms(state.training.values(), cutoff=4.5) == last.atoms == {'Si': 110}


def test_the_newest_campaign_is_the_one_that_was_made_last(archived: orm.WorkChainNode) -> None:
    """What is imported later may be older."""
    newest = orm.WorkChainNode(process_type=archived.process_type).store()
    older = orm.WorkChainNode(process_type=archived.process_type, ctime=archived.ctime).store()
    assert older.pk > newest.pk
    assert find_campaign(None).uuid == newest.uuid


@pytest.mark.engines
def test_a_campaign_goes_on_from_it(
    archived: orm.WorkChainNode, builder_of: BuilderOf, aiida_code_installed: Callable[..., orm.InstalledCode]
) -> None:
    """It begins in cycle 5 with the last potential, all labels and audits; as its walkers cannot run, there it ends.

    Also a campaign that fails hands over the best potential: only that of cycle 3 has more than two audit frames.
    """
    builder = builder_of({'stop': {'max_cycles': 6, 'min_audit': 3}})
    builder.restart_from = archived.uuid
    builder.explore.structures = {'cubic': orm.StructureData(ase=bulk('Si', a=5.43, cubic=True))}
    builder.explore.lammps.code = aiida_code_installed(
        label='broken', default_calc_job_plugin='pace.lammps', filepath_executable='/bin/false'
    )
    results, node = run_get_node(builder)
    assert node.exit_status == ActiveLearningWorkChain.exit_codes.ERROR_EXPLORATION_FAILED.status
    assert set(children(node)) == {'cycle_05_explore'}
    assert children(node)['cycle_05_explore'].inputs.lammps.potential.uuid == SECOND
    assert results['potential'].uuid == FIRST
    assert results['active_set'].matches(results['potential'])
    assert {name: dataset.uuid for name, dataset in results['datasets'].items()} == {
        name: dataset.uuid for name, dataset in archived.outputs.datasets.items()
    }
    assert set(results['audits']) == {'cycle_02', 'cycle_03', 'cycle_04'}
    assert results['history'].uuid == archived.outputs.history.uuid
