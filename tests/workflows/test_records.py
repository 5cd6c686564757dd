"""One account of a campaign: the work chain, a restart and the status see the same, at every step of real campaigns."""

from __future__ import annotations

import typing as t

import pytest
from aiida import orm
from aiida.engine import ProcessBuilder, run_get_node
from aiida.orm.utils.serialize import deserialize_unsafe, serialize
from aiida.plugins import WorkflowFactory
from ase.build import bulk
from hypothesis import given, settings

from aiida_pace.campaign.records import Record
from aiida_pace.campaign.state import CampaignState, fold
from aiida_pace.report.campaign import summarise_campaign
from aiida_pace.workflows.graph import children
from aiida_pace.workflows.learned import learned_atoms, training_cost
from aiida_pace.workflows.records import campaign_state, start_state
from tests.campaign.test_state import campaigns
from tests.fixtures.campaigns import Campaign
from tests.fixtures.loop import BuilderOf

ActiveLearningWorkChain = WorkflowFactory('pace.active_learning')

#: The walkers of the first stage halt where the potential knows nothing, those of the second never do.
STAGES = [{'temperature': 50.0, 'collect_grade': 1.2, 'halt_grade': 2.0}, {'temperature': 60.0}]


@settings(deadline=None)
@given(campaigns())
def test_a_state_survives_a_checkpoint(records: list[Record]) -> None:
    """AiiDA takes nested dataclasses apart; they are whole again when the work chain is loaded."""
    state = fold(records)
    assert deserialize_unsafe(serialize({'state': state})) == {'state': state}


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
def builder(cheap_campaign: BuilderOf) -> ProcessBuilder:
    """Return a campaign of cold silicon in two stages."""
    builder = cheap_campaign({'audit': {'count': 2}, 'growth': {'frames': 2}})
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


def accounts(node: orm.WorkChainNode) -> list[orm.Dict]:
    """Return the accounts of all labellings below a process."""
    labellings = [child for child in node.called_descendants if child.process_label == 'LabelWorkChain']
    return [labelling.outputs.output_parameters for labelling in labellings]


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
    assert last.core_seconds < state.core_seconds + 1e-9  # AiiDA stores 14 digits
    assert learned_atoms(state.training.values(), 4.5)['Si'] >= last.atoms['Si']
    assert training_cost(state.training.values()) + 1e-9 > last.training_core_seconds > 0
    trained = [step for label, step in children(node).items() if label.endswith('_train')]
    assert state.potential == max(trained, key=lambda step: step.ctime).outputs.potential.uuid
    return state


@pytest.mark.engines
@pytest.mark.slow
@pytest.mark.usefixtures('aiida_profile_clean')
def test_chain_restart_and_status_see_the_same(builder: ProcessBuilder, seen: list[tuple[str, CampaignState]]) -> None:
    """Two campaigns with every verdict: halts, next stage, learn, grow, then a restart: validate, learn from it, stop.

    What they see is compared in `seen`, at every step; here with the nodes.
    """
    builder.stop = orm.Dict(
        {'max_cycles': 6, 'quiet_rounds': 1, 'target': 1e-5, 'min_audit': 2, 'min_improvement': 0.9, 'patience': 20}
    )
    _, first = run_get_node(builder)
    assert actions(first) == [
        'cycle_01_judge: continue',
        'cycle_02_judge: next_stage',
        'cycle_03_judge: learn',
        'cycle_04_judge: continue',
        'cycle_05_judge: grow_basis',
        'cycle_06_judge: stop',
    ]
    state = check_against_the_nodes(first, CampaignState())
    assert (state.stage, state.functions) == (1, {'Si': 45})

    builder.restart_from = first
    builder.stop = orm.Dict({'max_cycles': 8, 'quiet_rounds': 2, 'target': 100.0, 'min_audit': 2, 'patience': 20})
    builder.validate.structures = {'diamond': orm.StructureData(ase=bulk('Si', a=5.4))}
    builder.validate.parameters = orm.Dict({'volume_count': 5, 'elastic_constants': False, 'phonons': False})
    builder.validate.tolerances = orm.Dict({'lattice_constant': 1e-9})
    results, second = run_get_node(builder)
    assert actions(second) == ['cycle_07_judge: validate', 'cycle_07_judge_again: learn', 'cycle_08_judge: stop']
    last = check_against_the_nodes(second, state)
    assert last.labels == state.labels + 5
    assert last.training['cycle_07_volumes'].uuid == children(second)['cycle_07_validate'].outputs.datasets.volumes.uuid
    # The potential that was trained on them is handed over, and was not validated before.
    validation = children(second)['cycle_08_validate_again']
    assert results['potential'] == validation.inputs.potential
    assert results['gates'] == validation.outputs.gates

    assert [state.cycle for phase, state in seen if phase == 'explore'] == list(range(8))
    assert {state.cycle for _, state in seen} == set(range(9))
    # Whoever goes on from the second campaign begins with all that it had, and has spent all that both spent.
    third = start_state(Campaign(restart_from=second).node.pk)
    for name in ('cycle', 'stage', 'training', 'audits', 'potentials', 'potential', 'functions', 'verdict'):
        assert getattr(third, name) == getattr(last, name)
    spent = [account['core_seconds'] for node in (first, second) for account in accounts(node)]
    assert third.core_seconds == last.core_seconds == pytest.approx(sum(spent))
