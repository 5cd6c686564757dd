"""Numbers of a campaign, from graphs built by hand."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.plugins import WorkflowFactory
from ase.build import bulk

from aiida_pace.campaign.history import CycleRecord
from aiida_pace.campaign.records import DataSet
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.metrics.errors import Estimate
from aiida_pace.report.campaign import PROCESS_TYPE, Pause, summarise_campaign
from aiida_pace.report.checks import Check
from aiida_pace.report.progress import Progress
from aiida_pace.report.steps import StepSummary
from aiida_pace.workflows import rows
from tests.fixtures.campaigns import Campaign, dataset, end

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


def test_just_submitted() -> None:
    """A campaign that no daemon has touched has no numbers, and says what it waits for."""
    summary = summarise_campaign(Campaign(given=4).node)
    assert (summary.state, summary.phase, summary.cycle) == ('created', 'waiting for the daemon', 0)
    assert (summary.max_cycles, summary.quiet_target, summary.labels) == (None, None, 4)
    assert (summary.steps, summary.progress, summary.faults) == ((), None, ())
    assert (summary.verdict, summary.failed_gates, summary.checks) == (None, None, ())
    assert not summary.is_ended


def test_not_stored() -> None:
    with pytest.raises(ValueError, match='not stored'):
        summarise_campaign(orm.WorkChainNode())


def test_converged(campaign: Campaign) -> None:
    """Every column of every step, in the units of the table."""
    summary = summarise_campaign(campaign.converge())
    assert summary.is_ok
    assert (summary.phase, summary.cycle, summary.quiet_rounds, summary.labels) == ('converged', 3, 2, 6)
    assert (summary.cached, summary.core_seconds) == (2, pytest.approx(340.0))
    assert (summary.core_seconds_saved, summary.progress) == (20.0, None)
    initial, halted, *quiet, gates = summary.steps
    assert initial == StepSummary(
        name='initial',
        requested=5,
        reused=0,
        cached=2,
        labelled=2,
        failed=1,
        rejected=0,
        force_rmse=0.1874,
        energy_rmse=0.0123,
        core_seconds=20.0,
        core_seconds_saved=20.0,
        labels=4,
    )
    assert halted == StepSummary(
        name='cycle_01',
        requested=5,
        reused=0,
        labelled=5,
        failed=0,
        rejected=0,
        walkers=2,
        halted=1,
        max_grade=187.4,
        force_rmse=0.0915,
        energy_rmse=0.0042,
        audit=Estimate(0.1612, 0.1143, 0.2704, 3, 0.95),
        core_seconds=100.0,
        labels=6,
    )
    assert [(step.name, step.walkers, step.halted, step.max_grade) for step in quiet] == [
        ('cycle_02', 2, 0, 1.9),
        ('cycle_03', 2, 0, 1.4),
    ]
    # Audit frames are paid for and never trained on.
    assert [(step.requested, step.force_rmse, step.labels) for step in quiet] == [(3, None, 6)] * 2
    assert [step.audit.frames for step in quiet if step.audit] == [3, 6]
    assert (gates.name, gates.requested, gates.labelled, gates.labels) == ('cycle_03_gates', 9, 9, 6)
    assert summary.verdict is not None
    assert (summary.verdict.cycle, summary.verdict.action, summary.failed_gates) == (3, 'converged', ())


def test_the_numbers_are_those_of_one_campaign(campaign: Campaign) -> None:
    """Two campaigns in one profile do not mix."""
    first = summarise_campaign(campaign.converge())
    other = Campaign(given=3)
    other.labelled('initial', 2, cached=2)
    assert summarise_campaign(campaign.node) == first
    summary = summarise_campaign(other.node)
    assert (summary.labels, summary.cached, summary.faults) == (5, 2, ())


def test_labelling_runs(campaign: Campaign) -> None:
    """While the lanes run, the runs that ended are counted; a failed one is named with its cause."""
    campaign.enter('label')
    _, (lane, other) = campaign.label('initial', frames=6)
    campaign.run_dft(lane, 0)
    campaign.run_dft(other, 1, cause='the SCF did not converge')
    run = campaign.call(lane, 'frame_00002')
    summary = summarise_campaign(campaign.node)
    assert summary.progress == Progress('initial', 'label', done=2, failed=1, active=1, total=6)
    (row,) = summary.steps
    assert (row.requested, row.labelled, row.failed, row.core_seconds, row.labels) == (6, 1, 1, None, 0)
    (fault,) = summary.faults
    assert (fault.path, fault.message) == ('initial_label/lane_2/frame_00001', 'the SCF did not converge')

    end(run)
    assert summarise_campaign(campaign.node).progress == Progress('initial', 'label', done=3, failed=1, total=6)


def test_of_two_tries_the_second_counts(campaign: Campaign) -> None:
    """A frame whose SCF failed is not done twice and, when the second try mends it, no fault."""
    campaign.enter('label')
    node, (lane, _) = campaign.label('initial', frames=9)
    structures = {f'structures__frame_{index:05d}': orm.StructureData(ase=bulk('Si')).store() for index in range(3)}
    second = campaign.call(node, 'robust_lane_1', **structures)
    for index, (first_cause, second_cause) in enumerate([('first', None), ('first', 'second')]):
        campaign.run_dft(lane, index, cause=first_cause)
        campaign.run_dft(second, index, cause=second_cause)
    campaign.run_dft(lane, 2)
    summary = summarise_campaign(campaign.node)
    # The other six frames are not given to DFT.
    assert summary.progress == Progress('initial', 'label', done=3, failed=1, total=3)
    assert [(fault.path, fault.message) for fault in summary.faults] == [
        ('initial_label/robust_lane_1/frame_00001', 'second')
    ]


def test_reused_and_rejected(campaign: Campaign) -> None:
    node, _ = campaign.label('initial', frames=9)
    campaign.returns(node, 'dataset', AtomsDatasetData(dataset(6).frames))
    account = {'reused': 4, 'cached': 1, 'labelled': 1, 'failed': 1, 'rejected': 2, 'core_seconds': 5.0}
    account |= {'core_seconds_reused': 20.0, 'core_seconds_cached': 7.0}
    campaign.returns(node, 'output_parameters', orm.Dict({'requested': 9, **account}))
    end(node)
    summary = summarise_campaign(campaign.node)
    (row,) = summary.steps
    assert (row.reused, row.cached, row.labelled, row.failed, row.rejected, row.labels) == (4, 1, 1, 1, 2, 6)
    assert (summary.reused, summary.core_seconds, summary.core_seconds_saved) == (4, 5.0, 27.0)


def test_exploration_runs(campaign: Campaign) -> None:
    """Halts and the highest grade show while other walkers still run."""
    campaign.labelled('initial', 3)
    campaign.trained('initial', 0.1, 0.01)
    campaign.enter('explore', cycle=1)
    _, (lane, other) = campaign.explore('cycle_01', walkers=4)
    campaign.run_walker(lane, 0, halted=True, grade=55.0)
    campaign.run_walker(other, 1, halted=False, grade=4.0)
    campaign.call(lane, 'walker_2', orm.CalcJobNode)
    summary = summarise_campaign(campaign.node)
    assert summary.progress == Progress('cycle_01', 'explore', done=2, active=1, total=4)
    assert (summary.steps[-1].walkers, summary.steps[-1].halted, summary.steps[-1].max_grade) == (4, 1, 55.0)
    assert summary.labels == 3


def test_training_runs(campaign: Campaign) -> None:
    """Of a training the running calculation is named; a fit that was cut short counts as a fault until it is mended."""
    campaign.enter('train')
    node = campaign.call(campaign.node, 'initial_train')
    end(campaign.call(node, 'iteration_01', orm.CalcJobNode), 400, 'out of walltime')
    second = campaign.call(node, 'iteration_02', orm.CalcJobNode)
    summary = summarise_campaign(campaign.node)
    assert summary.progress == Progress('initial', 'train', active=1, task='iteration_02')
    assert [fault.message for fault in summary.faults] == ['out of walltime']

    end(second)
    end(node)
    assert summarise_campaign(campaign.node).faults == ()


def test_failed(campaign: Campaign) -> None:
    """A process that excepted or was killed is a fault too, and the message of the campaign is kept."""
    campaign.enter('label')
    node, (lane, other) = campaign.label('initial', frames=2)
    campaign.call(lane, 'frame_00000').set_process_state('killed')
    lane.set_process_state('excepted')
    lane.set_exception('KeyError: structures\n')
    end(node, 410, '2 of 2 frames could not be labelled')
    end(campaign.node, 410, 'labelling failed in `initial`')
    summary = summarise_campaign(campaign.node)
    assert summary.is_ended
    assert not summary.is_ok
    assert (summary.exit_status, summary.exit_message) == (410, 'labelling failed in `initial`')
    assert [(fault.pk, fault.message) for fault in summary.faults] == [
        (node.pk, '2 of 2 frames could not be labelled'),
        (lane.pk, 'KeyError: structures'),
        (lane.called[0].pk, 'killed'),
    ]
    assert other.pk not in [fault.pk for fault in summary.faults]


def test_excepted(campaign: Campaign) -> None:
    """Nothing runs in a campaign that died, though its children were left open."""
    campaign.enter('label')
    campaign.label('initial', frames=2)
    campaign.node.set_process_state('excepted')
    campaign.node.set_exception('RuntimeError: boom')
    summary = summarise_campaign(campaign.node)
    assert (summary.state, summary.exit_message, summary.progress) == ('excepted', 'RuntimeError: boom', None)


def test_paused(campaign: Campaign) -> None:
    """A calculation that AiiDA paused, four calls below the campaign, is found; one that ended since is not."""
    campaign.enter('label')
    _, (lane, _) = campaign.label('initial', frames=2)
    run = campaign.call(lane, 'frame_00000')
    job = campaign.call(run, 'iteration_01', orm.CalcJobNode)
    job.pause()
    job.set_process_status('Pausing after calculation job: transport task upload failed 5 times consecutively')
    killed = campaign.call(run, 'iteration_02', orm.CalcJobNode)
    killed.pause()
    killed.set_process_state('killed')
    assert summarise_campaign(campaign.node).pauses == (
        Pause(
            job.pk, 'CalcJobNode', 'Pausing after calculation job: transport task upload failed 5 times consecutively'
        ),
    )


def test_a_frame_restarted_by_its_work_chain_counts_once(campaign: Campaign) -> None:
    """Two cached calculations of one DFT run are one run."""
    campaign.enter('label')
    _, (lane, _) = campaign.label('initial', frames=2)
    run = campaign.run_dft(lane, 0, cached=True)
    campaign.call(run, 'iteration_02', orm.CalcJobNode).base.extras.set('_aiida_cached_from', 'x')
    assert summarise_campaign(campaign.node).cached == 1


def test_the_same_structure_may_start_two_walkers(campaign: Campaign) -> None:
    campaign.enter('explore', cycle=1)
    campaign.explore('cycle_01', walkers=3)
    progress = summarise_campaign(campaign.node).progress
    assert progress is not None
    assert progress.total == 3


def test_dataset_of_another_step_does_not_count(campaign: Campaign) -> None:
    """Frames requested are those of the labelling, whatever else has a data set as input."""
    campaign.enter('select', cycle=1)
    campaign.call(campaign.node, 'cycle_01_select', dataset=dataset(7))
    (row,) = summarise_campaign(campaign.node).steps
    assert (row.name, row.requested, row.labels) == ('cycle_01', None, 0)


def test_process_type_is_that_of_the_work_chain() -> None:
    """The name written out in the report, so that it starts fast, is that of the work chain."""
    chain = WorkflowFactory('pace.active_learning')
    assert chain.build_process_type() == PROCESS_TYPE


def test_questions_do_not_grow_with_the_campaign(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever follows a campaign of many cycles asks no more often than at its start."""
    asked = []
    answer = rows._rows
    monkeypatch.setattr(rows, '_rows', lambda *arguments: asked.append(1) or answer(*arguments))
    counts = []
    for cycle in (1, 2, 3, 4):
        campaign.explored(f'cycle_{cycle:02d}', [1.0, 11.0])
        campaign.labelled(f'cycle_{cycle:02d}', 3, ['boom'], audits=1)
        campaign.judged(f'cycle_{cycle:02d}', (0.2, 0.1, 0.3, 4))
        campaign.validated(f'cycle_{cycle:02d}')
        asked.clear()
        assert summarise_campaign(campaign.node).labels == 2 * cycle
        counts.append(len(asked))
    assert len(set(counts)) == 1
    assert counts[0] <= 30


def test_check_failed(campaign: Campaign) -> None:
    """The checks speak for themselves, their jobs are no faults beside them."""
    summary = summarise_campaign(campaign.checked(lammps='it prints no grade', pw='it is missing'))
    assert summary.checks == (
        Check('lammps', 'failed', 'it prints no grade', 'Mend lammps.'),
        Check('pw', 'failed', 'it is missing', 'Mend pw.'),
    )
    assert [fault.path for fault in summary.faults] == ['check']
    assert summary.steps == ()


def test_check_runs(campaign: Campaign) -> None:
    campaign.enter('check')
    node = campaign.call(campaign.node, 'check')
    campaign.call(node, 'pw', orm.CalcJobNode)
    campaign.call(node, 'pace_swarm', orm.CalcJobNode)
    assert summarise_campaign(campaign.node).progress == Progress('', 'check', active=2, task='pw, pace_swarm')


def test_validation_runs(campaign: Campaign) -> None:
    """The DFT runs of the labelling that is open are counted; a failed one, five calls deep, is named."""
    campaign.enter('validate', cycle=2)
    node = campaign.call(campaign.node, 'cycle_02_validate')
    campaign.call(node, 'evaluate_volumes', orm.CalcJobNode)
    labelling = campaign.call(node, 'label_volumes', dataset=dataset(7))
    lane, second = (campaign.call(labelling, name) for name in ('lane_1', 'robust_lane_1'))
    for index, cause in enumerate([None, 'first', 'first']):
        campaign.run_dft(lane, index, cause=cause)
    campaign.run_dft(second, 1)
    campaign.run_dft(second, 2, cause='second')
    summary = summarise_campaign(campaign.node)
    assert summary.progress == Progress('cycle_02', 'validate', done=3, failed=1, total=7)
    assert [(fault.path, fault.message) for fault in summary.faults] == [
        ('cycle_02_validate/label_volumes/robust_lane_1/frame_00002', 'second')
    ]


def test_gates_are_those_of_the_last_validation(campaign: Campaign) -> None:
    campaign.validated('cycle_02', ['diamond: bulk modulus 3 % off'])
    assert summarise_campaign(campaign.node).failed_gates == ('diamond: bulk modulus 3 % off',)
    campaign.validated('cycle_03')
    assert summarise_campaign(campaign.node).failed_gates == ()
    campaign.call(campaign.node, 'cycle_04_validate')
    assert summarise_campaign(campaign.node).failed_gates is None


def test_restart(campaign: Campaign) -> None:
    """Labels of whole cycles of the earlier campaign count; what it labelled after its last verdict is made anew."""
    first = Campaign(given=3)
    first.labelled('cycle_01', 5, audits=1)
    first.judged('cycle_01', (0.2, 0.1, 0.3, 1), halted=1)
    first.labelled('cycle_02', 2)
    first.node.set_process_state('killed')
    second = Campaign(restart_from=first.node)
    second.history = first.history
    second.explored('cycle_02', [1.0, 1.0])
    second.labelled('cycle_02', 2, cached=2)
    second.judged('cycle_02', (0.1, 0.05, 0.2, 1))
    summary = summarise_campaign(second.node)
    assert (summary.restarted_from, summary.labels) == (first.node.pk, 3 + 4 + 2)
    assert summary.verdict is not None
    assert (summary.verdict.cycle, len(summary.campaign.history)) == (2, 2)
    (row,) = summary.steps
    assert (row.name, row.audit) == ('cycle_02', summary.campaign.history[1].audit)
    third = summarise_campaign(Campaign(restart_from=second.node).node)
    assert (third.restarted_from, third.labels) == (second.node.pk, 9)


def test_frames_of_a_validation_that_are_learnt_count(campaign: Campaign) -> None:
    """Where gates are not met, its volumes and responses are trained on: 4 labels become 13."""
    campaign.labelled('initial', 4)
    potential = campaign.trained('initial', 0.1, 0.01).outputs.potential
    campaign.explored('cycle_01', [1.0, 1.0])
    campaign.labelled('cycle_01', 6, audits=6)
    audit = (0.08, 0.06, 0.12, 6)
    campaign.judged('cycle_01', audit, gated=True, potential=potential.uuid)
    campaign.validated('cycle_01', ['diamond: 3 % off'], potential=potential)
    assert summarise_campaign(campaign.node).labels == 4
    campaign.judged('cycle_01', audit, gated=True, gates=False, potential=potential.uuid)
    summary = summarise_campaign(campaign.node)
    assert [(step.name, step.labels) for step in summary.steps] == [
        ('initial', 4),
        ('cycle_01', 13),
        ('cycle_01_gates', 13),
    ]
    assert summary.labels == 13
    assert list(summary.campaign.training) == ['initial', 'cycle_01_volumes', 'cycle_01_responses']


def test_two_validations_of_a_cycle_are_both_paid_for(campaign: Campaign) -> None:
    """That of the potential that is handed over comes after that of the last one; a restart has spent both, too."""
    campaign.judged('cycle_01', (0.08, 0.06, 0.12, 6), gated=True)
    campaign.validated('cycle_01')
    campaign.validated('cycle_01')
    summary = summarise_campaign(end(campaign.node, 601, 'not converged'))
    assert [(step.name, step.requested, step.core_seconds) for step in summary.steps] == [
        ('cycle_01', None, None),
        ('cycle_01_gates', 18, pytest.approx(200.0)),
    ]
    assert summary.core_seconds == pytest.approx(200.0)
    restarted = summarise_campaign(Campaign(restart_from=campaign.node).node)
    assert restarted.campaign.core_seconds == pytest.approx(200.0)


def test_a_basis_that_is_to_grow_does_so_after_a_restart(campaign: Campaign) -> None:
    """A campaign that ended between the verdict and the training leaves that training to the next."""
    potential = campaign.trained('initial', 0.1, 0.01).outputs.potential
    result = {'action': 'grow_basis', 'reason': 'audit_above_target', 'message': 'too few', 'functions': {'Si': 45}}
    record = CycleRecord(stage=0, potential=potential.uuid, walkers=2, completed=2)
    node = campaign.call(campaign.node, 'cycle_01_judge', orm.CalcFunctionNode, status=0)
    campaign.returns(node, 'result', orm.Dict({**result, 'history': [record.to_dict()]}))
    campaign.node.set_process_state('killed')
    state = summarise_campaign(Campaign(restart_from=campaign.node).node).campaign
    assert (state.needs_training, state.functions, state.potential) == (True, {'Si': 45}, potential.uuid)


def test_a_labelling_may_set_the_audit_frames_apart_itself(campaign: Campaign) -> None:
    campaign.trained('initial', 0.1, 0.01)
    node, _ = campaign.label('cycle_01', frames=5)
    campaign.returns(node, 'output_parameters', campaign.account(5))
    training, audit = (AtomsDatasetData(dataset(count).frames) for count in (3, 2))
    campaign.returns(node, 'dataset', training)
    campaign.returns(node, 'audit', audit)
    end(node)
    state = summarise_campaign(campaign.node).campaign
    assert state.training == {'cycle_01': DataSet(training.uuid, 3, training.uuid)}
    assert state.audits['cycle_01'].uuid == audit.uuid


def test_a_step_that_was_run_again_counts_once(campaign: Campaign) -> None:
    """A process that was stored and never ran does not hide the one that finished."""
    campaign.labelled('initial', 4)
    campaign.call(campaign.node, 'initial_label')
    summary = summarise_campaign(campaign.node)
    assert (summary.labels, summary.campaign.requested) == (4, 4)


def test_a_restart_from_a_campaign_that_is_not_here(campaign: Campaign) -> None:
    """The link to it is a UUID only: an archive of the second campaign does not hold the first."""
    missing = orm.WorkChainNode()
    second = Campaign(restart_from=missing)
    summary = summarise_campaign(Campaign(restart_from=second.node).node)
    assert (summary.restarted_from, summary.lost_campaign) == (second.node.pk, missing.uuid)
    assert summarise_campaign(campaign.node).lost_campaign is None


def test_maxvol_that_gave_way_is_no_fault(campaign: Campaign) -> None:
    """A selection in which no candidate entered the active set takes those of highest grade; others are faults."""
    node = campaign.call(campaign.node, 'cycle_01_select')
    campaign.call(node, 'select', orm.CalcJobNode, status=320, message='no frame would enter the active set')
    campaign.call(node, 'swarm', orm.CalcJobNode, status=310, message='boom')
    end(node)
    assert [fault.path for fault in summarise_campaign(campaign.node).faults] == ['cycle_01_select/swarm']
