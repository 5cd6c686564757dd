"""One account of a campaign: the work chain, a restart and the status see the same, at every step of real campaigns."""

from __future__ import annotations

import typing as t

import pytest
from aiida import orm
from aiida.engine import ProcessBuilder, run_get_node
from aiida.orm.utils.serialize import deserialize_unsafe, serialize
from aiida.plugins import WorkflowFactory
from ase.build import bulk

from aiida_pace.campaign.state import CampaignState
from aiida_pace.report.campaign import summarise_campaign
from aiida_pace.workflows.graph import children
from aiida_pace.workflows.learned import learned_atoms, training_cost
from aiida_pace.workflows.records import campaign_state, start_state
from tests.fixtures.loop import BuilderOf

ActiveLearningWorkChain = WorkflowFactory('pace.active_learning')

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

#: The walkers of the first stage halt where the potential knows nothing, those of the second never do.
STAGES = [{'temperature': 50.0, 'collect_grade': 1.2, 'halt_grade': 2.0}, {'temperature': 60.0}]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, CampaignState]]:
    """Return the phases that campaigns enter and the state in each; there it is compared with all other accounts."""
    found: list[tuple[str, CampaignState]] = []
    enter = ActiveLearningWorkChain._enter

    def compare_and_enter(chain: t.Any, phase: t.Any, **numbers: int) -> None:
        live = chain.ctx.state
        assert campaign_state(chain.node.pk) == live
        summary = summarise_campaign(chain.node)
        assert summary.campaign == live
        if summary.steps:
            assert summary.steps[-1].labels == live.labels
        spent = sum(step.core_seconds or 0.0 for step in summary.steps)
        assert spent == pytest.approx(live.core_seconds - start_state(chain.node.pk).core_seconds)
        assert deserialize_unsafe(serialize(live)) == live
        found.append((str(getattr(phase, 'value', phase)), live))
        enter(chain, phase, **numbers)

    monkeypatch.setattr(ActiveLearningWorkChain, '_enter', compare_and_enter)
    return found


@pytest.fixture
def builder(builder_of: BuilderOf) -> ProcessBuilder:
    """Return a campaign of cold silicon in two stages."""
    builder = builder_of({'audit': {'count': 2}, 'growth': {'frames': 2}})
    builder.stages = orm.List(STAGES)
    builder.explore.lammps.parameters = orm.Dict(
        {'temperature_start': 50.0, 'steps': 80, 'samples': 8, 'collect_grade': 1e3, 'halt_grade': 1e4}
    )
    builder.explore.structures = {'dense': orm.StructureData(ase=bulk('Si', a=4.8, cubic=True))}
    return builder


def actions(node: orm.WorkChainNode) -> list[str]:
    """Return the verdicts by the label of their link, as ``cycle_01_judge: continue``."""
    found = {label: step.outputs.result['action'] for label, step in children(node).items() if '_judge' in label}
    return [f'{label}: {action}' for label, action in found.items()]


def accounts(node: orm.ProcessNode) -> list[orm.Dict]:
    """Return the accounts of all labellings below a process."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': node.pk}, tag='root')
    query.append(WorkflowFactory('pace.label'), with_ancestors='root', tag='label')
    query.append(orm.Dict, with_incoming='label', edge_filters={'label': 'output_parameters'})
    return query.all(flat=True)


def check_against_the_nodes(node: orm.WorkChainNode, start: CampaignState) -> CampaignState:
    """Compare the state with the nodes themselves, counted here in another way."""
    assert node.pk is not None
    state = campaign_state(node.pk)
    assert {name: dataset.uuid for name, dataset in state.training.items()} == {
        name: dataset.uuid for name, dataset in node.outputs.datasets.items()
    }
    assert state.labels == sum(dataset.count for dataset in node.outputs.datasets.values())
    assert sum(audit.count for audit in state.audits.values()) == sum(
        dataset.count for dataset in node.outputs.audits.values()
    )
    spent = sum(account['core_seconds'] for account in accounts(node))
    assert state.core_seconds == pytest.approx(start.core_seconds + spent)
    last = state.history[-1]
    assert [record.potential for record in state.history][-1] in state.potentials
    assert last.core_seconds <= state.core_seconds
    assert learned_atoms(state.training.values(), 4.5)['Si'] >= last.atoms['Si']
    assert training_cost(state.training.values()) >= last.training_core_seconds > 0
    trained = [step for label, step in children(node).items() if label.endswith('_train')]
    assert state.potential == max(trained, key=lambda step: step.ctime).outputs.potential.uuid
    return state


@pytest.mark.engines
@pytest.mark.slow
def test_chain_restart_and_status_see_the_same(
    builder: ProcessBuilder, seen: list[tuple[str, CampaignState]], builder_of: BuilderOf
) -> None:
    """Two campaigns with every verdict: halts, next stage, learn and grow; then validate, learn from it, the end."""
    builder.stop = orm.Dict(
        {'max_cycles': 6, 'quiet_rounds': 1, 'target': 1e-5, 'min_audit': 2, 'min_improvement': 0.9, 'patience': 20}
    )
    _, first = run_get_node(builder)
    print(actions(first), first.exit_message)
    state = check_against_the_nodes(first, CampaignState())

    builder.restart_from = first
    builder.stop = orm.Dict({'max_cycles': 8, 'quiet_rounds': 2, 'target': 100.0, 'min_audit': 2, 'patience': 20})
    builder.validate.structures = {'diamond': orm.StructureData(ase=bulk('Si', a=5.4))}
    builder.validate.parameters = orm.Dict({'volume_count': 5, 'elastic_constants': False, 'phonons': False})
    builder.validate.tolerances = orm.Dict({'lattice_constant': 1e-9})
    _, second = run_get_node(builder)
    print(actions(second), second.exit_message, list(children(second)))
    check_against_the_nodes(second, state)
