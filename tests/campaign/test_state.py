"""The state of a campaign, folded from records made by hand."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pace.campaign.history import CycleRecord
from aiida_pace.campaign.judge import Action, Reason
from aiida_pace.campaign.records import (
    Account,
    DataSet,
    ExplorationRecord,
    GivenRecord,
    LabelsRecord,
    Record,
    TrainingRecord,
    ValidationRecord,
    VerdictRecord,
)
from aiida_pace.campaign.state import Audit, CampaignState, fold, states
from tests.campaign.test_judge import audit, cycle

MIN_AUDIT = 4


def labels(number: int, training: int = 0, audit_frames: int = 0, failed: int = 0) -> LabelsRecord:
    """Return a labelling of 10 core-seconds per label."""
    good = training + audit_frames
    return LabelsRecord(
        number,
        Account(requested=good + failed, labelled=good, failed=failed, core_seconds=10.0 * good),
        training=DataSet(f'training {number}', training, f'labels {number}') if training else None,
        audit=DataSet(f'audit {number}', audit_frames, f'labels {number}') if audit_frames else None,
    )


def training(number: int) -> TrainingRecord:
    return TrainingRecord(number, f'potential {number}', f'active set {number}', f'errors {number}', 0.1, 0.01)


def verdict(
    history: t.Sequence[CycleRecord],
    action: Action = Action.CONTINUE,
    reason: Reason = Reason.NOT_QUIET,
    functions: dict[str, int] | None = None,
) -> VerdictRecord:
    number = len(history)
    return VerdictRecord(number, f'verdict {number}', action, reason, 'why', tuple(history), functions)


def validation(number: int, potential: str, passed: bool | None = False, seconds: float = 100.0) -> ValidationRecord:
    parts = {
        'volumes': DataSet(f'volumes {number}', 7, f'volumes {number}'),
        'responses': DataSet('responses', 2, None),
    }
    account = Account(requested=9, labelled=9, core_seconds=seconds)
    return ValidationRecord(number, potential, account, passed=passed, failed=('too soft',), datasets=parts)


INITIAL: list[Record] = [labels(0, training=10, failed=1), training(0)]


def test_labels_are_new_until_they_are_learnt() -> None:
    before, labelled, trained = states(INITIAL, CampaignState())
    assert before.needs_training
    assert (labelled.labels, labelled.new_labels, labelled.needs_training) == (10, 10, True)
    assert (labelled.requested, labelled.failed, labelled.core_seconds) == (11, 1, 100.0)
    assert (trained.labels, trained.new_labels, trained.needs_training) == (10, 0, False)
    assert (trained.potential, trained.active_set) == ('potential 0', 'active set 0')


def test_audit_frames_are_those_of_the_potential_and_the_stage_that_made_the_md() -> None:
    history = [cycle(potential='potential 0')]
    state = fold(
        [
            *INITIAL,
            labels(1, training=3, audit_frames=2),
            verdict(history, Action.NEXT_STAGE, Reason.STAGE_PASSED),
            training(1),
            labels(2, audit_frames=4),
        ]
    )
    assert state.audits == {
        'cycle_01': Audit('audit 1', 2, 'potential 0', 0),
        'cycle_02': Audit('audit 2', 4, 'potential 1', 1),
    }
    assert (state.labels, state.new_labels, state.stage, state.cycle) == (13, 0, 1, 1)


def test_frames_of_a_validation_are_learnt_once_where_gates_are_not_met() -> None:
    first = [cycle(potential='potential 0', gates=False)]
    learn = (Action.LEARN, Reason.GATES_NOT_MET)
    records = [*INITIAL, validation(1, 'potential 0'), verdict(first, *learn)]
    state = fold(records)
    assert list(state.training) == ['initial', 'cycle_01_volumes', 'cycle_01_responses']
    assert (state.labels, state.new_labels, state.core_seconds) == (19, 9, 200.0)
    second = [*first, cycle(potential='potential 1', gates=False)]
    again = fold([training(1), validation(2, 'potential 1'), verdict(second, *learn)], state)
    assert (again.labels, again.new_labels) == (19, 0)
    # The audit error says nothing about the properties.
    assert fold([*records[:-1], verdict(first, Action.LEARN, Reason.AUDIT_ABOVE_TARGET)]).labels == 10


def test_a_data_set_with_the_name_of_a_validation_is_none() -> None:
    start = CampaignState().with_given(GivenRecord({'my_volumes': DataSet('mine', 5)}))
    learn = verdict([cycle(potential='potential 0')], Action.LEARN, Reason.GATES_NOT_MET)
    state = fold([training(0), validation(1, 'potential 0'), learn], start)
    assert list(state.training) == ['given_my_volumes', 'cycle_01_volumes', 'cycle_01_responses']


def test_the_basis_is_to_grow_until_it_has() -> None:
    grow = verdict([cycle(potential='potential 0')], Action.GROW_BASIS, Reason.AUDIT_ABOVE_TARGET, {'Si': 150})
    state = fold([*INITIAL, grow])
    assert (state.needs_training, state.functions) == (True, {'Si': 150})
    # Also by a campaign that goes on from one that ended before its training.
    resumed = CampaignState().resumed([*INITIAL, grow])
    assert (resumed.needs_training, resumed.functions) == (True, {'Si': 150})
    grown = fold([training(1)], resumed)
    assert (grown.needs_training, grown.functions) == (False, {'Si': 150})


def test_random_frames_are_wanted_until_something_was_learnt() -> None:
    learn = verdict([cycle(potential='potential 0')], Action.LEARN, Reason.AUDIT_ABOVE_TARGET)
    state = fold([*INITIAL, learn])
    assert state.wants_random_frames
    assert not state.with_training(training(1)).wants_random_frames


def test_the_potential_handed_over_is_the_best_one() -> None:
    history = [cycle(0.1, potential='potential 0'), cycle(0.9, potential='potential 1')]
    records = [*INITIAL, verdict(history[:1]), training(1), verdict(history), training(2)]
    assert fold(INITIAL).best_potential(MIN_AUDIT) == 'potential 0'
    assert fold(records[:4]).best_potential(MIN_AUDIT) == 'potential 1'
    assert fold(records).best_potential(MIN_AUDIT) == 'potential 0'
    # A campaign that has converged hands over what it was judged by.
    converged = [*records[:-2], verdict(history, Action.CONVERGED, Reason.ALL_MET)]
    assert fold(converged).best_potential(MIN_AUDIT) == 'potential 1'
    # A potential that nobody has is not handed over.
    unknown = [cycle(0.1, potential='another'), *history[1:]]
    assert fold([*records[:4], verdict(unknown)]).best_potential(MIN_AUDIT) == 'potential 1'


def test_a_restart_takes_whole_cycles_and_what_all_cost() -> None:
    whole = [*INITIAL, labels(1, 3, 2), verdict([cycle(potential='potential 0')]), training(1)]
    late = validation(1, 'potential 0', passed=True)
    broken_off: list[Record] = [ExplorationRecord(2, 2, 1, 30.0), labels(2, training=5)]
    state = CampaignState().resumed([*whole, late, *broken_off])
    assert (state.cycle, state.labels, state.new_labels, state.requested) == (1, 13, 0, 16)
    assert state.potential == 'potential 1'
    assert state.core_seconds == 100.0 + 50.0 + 100.0 + 50.0
    # Its tolerances may be others.
    assert fold([*whole, late]).is_validated('potential 0')
    assert not state.is_validated('potential 0')


def test_a_restart_before_the_first_verdict_keeps_what_it_began_with() -> None:
    state = CampaignState().resumed([*INITIAL, labels(1, training=5)])
    assert (state.cycle, state.labels, state.potential) == (0, 10, 'potential 0')
    begun = fold([*INITIAL, verdict([cycle(potential='potential 0')])])
    # It trained before its first cycle what the earlier one had left open.
    state = begun.resumed([training(1), labels(2, training=5)])
    assert (state.cycle, state.potential, state.labels) == (1, 'potential 1', 10)


def test_data_sets_given_to_a_restart_are_new_and_those_given_with_a_potential_are_not() -> None:
    mine = GivenRecord({'mine': DataSet('mine', 5)})
    fresh = CampaignState().with_given(mine)
    assert (fresh.labels, fresh.needs_training) == (5, True)
    restarted = fold(INITIAL).with_given(mine)
    assert (restarted.labels, restarted.new_labels) == (15, 5)
    assert restarted.with_given(mine) == restarted
    known = CampaignState().with_given(GivenRecord(mine.datasets, 'potential', 'active set'))
    assert (known.potential, known.new_labels, known.needs_training) == ('potential', 0, False)
    assert CampaignState().with_given(GivenRecord(mine.datasets, 'potential')).needs_training


def test_a_validation_of_which_nobody_knows_the_outcome_counts_for_its_cost_only() -> None:
    state = fold([*INITIAL, validation(1, 'potential 0', passed=None)])
    assert (state.core_seconds, state.is_validated('potential 0'), state.is_validated(None)) == (200.0, False, False)


@st.composite
def campaigns(draw: st.DrawFn) -> list[Record]:
    """Return the records of a campaign in an order that a work chain can make them in."""
    records: list[Record] = list(INITIAL)
    history: list[CycleRecord] = []
    potential = 'potential 0'
    for number in range(1, draw(st.integers(1, 6)) + 1):
        records.append(ExplorationRecord(number, 2, draw(st.integers(0, 2)), 3.0))
        if draw(st.booleans()):
            records.append(labels(number, draw(st.integers(0, 5)), draw(st.integers(0, 5)), draw(st.integers(0, 2))))
        action = draw(st.sampled_from([Action.CONTINUE, Action.LEARN, Action.GROW_BASIS, Action.VALIDATE]))
        history = [*history, cycle(audit=audit(draw(st.floats(0.01, 1.0))), potential=potential)]
        records.append(verdict(history, action, functions={'Si': 10} if action is Action.GROW_BASIS else None))
        if action is Action.VALIDATE:
            records += [validation(number, potential), verdict(history, Action.LEARN, Reason.GATES_NOT_MET)]
        if draw(st.booleans()):
            records.append(training(number))
            potential = f'potential {number}'
    return records


@settings(deadline=None)
@given(campaigns(), st.data())
def test_a_fold_may_be_cut_anywhere(records: list[Record], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(records)))
    assert fold(records[place:], fold(records[:place])) == fold(records)
    *_, last = states(records, CampaignState())
    assert last == fold(records)


@settings(deadline=None)
@given(campaigns(), st.data())
def test_a_restart_loses_nothing_of_whole_cycles(records: list[Record], data: st.DataObject) -> None:
    """Whoever restarts in the middle of a cycle and does again what was lost, comes to the same state."""
    place = data.draw(st.integers(0, len(records)))
    resumed = CampaignState().resumed(records[:place])
    lost = [record for record in records[:place] if record not in records[: _whole(records[:place])]]
    again = fold([*lost, *records[place:]], resumed)
    whole = fold(records)
    assert (again.training, again.audits, again.potentials, again.new_labels) == (
        whole.training,
        whole.audits,
        whole.potentials,
        whole.new_labels,
    )
    assert (again.requested, again.failed, again.history) == (whole.requested, whole.failed, whole.history)


def _whole(records: list[Record]) -> int:
    """Return how many of the records belong to whole cycles."""
    judged = max([0, *(record.cycle for record in records if isinstance(record, VerdictRecord))])
    return sum(record.cycle <= judged for record in records)


@pytest.mark.parametrize('passed', [True, False])
def test_a_potential_is_validated_once_it_is_known_whether_it_passed(passed: bool) -> None:
    assert fold([*INITIAL, validation(1, 'potential 0', passed=passed)]).is_validated('potential 0')
