import dataclasses
import typing as t

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from aiida_pace.campaign.history import CycleRecord
from aiida_pace.campaign.judge import Action, Reason, Verdict, judge
from aiida_pace.config import GrowthConfig, StopConfig
from aiida_pace.metrics.errors import Estimate

STOP = StopConfig(target=0.1, min_audit=4, patience=3, max_cycles=20)
NO_GROWTH = GrowthConfig(frames=0, max_functions=1)
GROWTH = GrowthConfig(frames=0)

#: A history is many draws, slow on a busy machine.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def audit(value: float, frames: int = 5, width: float = 1.3) -> Estimate:
    return Estimate(value=value, lower=value / width, upper=value * width, frames=frames, confidence=0.95)


def cycle(value: float | None = 0.2, *, quiet: bool = True, frames: int = 5, **numbers: t.Any) -> CycleRecord:
    defaults: dict[str, t.Any] = {
        'stage': 0,
        'potential': 'a',
        'walkers': 8,
        'completed': 8 if quiet else 6,
        'halted': 0 if quiet else 2,
        'audit': None if value is None else audit(value, frames),
        'new_labels': 0 if quiet else 5,
        'functions': {'Si': 100},
        'atoms': {'Si': 400},
    }
    return CycleRecord(**defaults | numbers)


def outcome(verdict: Verdict) -> tuple[Action, Reason]:
    return verdict.action, verdict.reason


def judged(history: list[CycleRecord], *, growth: GrowthConfig = NO_GROWTH, **options: t.Any) -> tuple[Action, Reason]:
    stop = STOP.model_copy(update=options.pop('stop', {}))
    return outcome(judge(history, stop, growth, **options))


def test_quiet_rounds_with_a_small_audit_error_are_convergence() -> None:
    assert judged([]) == (Action.CONTINUE, Reason.NOT_STARTED)
    assert judged([cycle(0.1)]) == (Action.CONTINUE, Reason.FEW_QUIET_ROUNDS)
    assert judged([cycle(0.1), cycle(0.1)]) == (Action.CONVERGED, Reason.ALL_MET)
    verdict = judge([cycle(0.1), cycle(0.1)], STOP, NO_GROWTH)
    assert verdict.message == (
        '2 quiet rounds at the last stage; the audit error is 100 meV/Å (95 % interval 77 to 130) on 5 frames, within '
        'the target of 100'
    )


def test_a_round_is_quiet_only_when_every_walker_came_to_its_end() -> None:
    failed = cycle(0.05, quiet=False, halted=0, failed=2, new_labels=0)
    assert judged([cycle(0.05), failed]) == (Action.CONTINUE, Reason.NOT_QUIET)
    unfinished = cycle(0.05, quiet=False, halted=0, failed=0)
    assert judged([cycle(0.05), unfinished]) == (Action.CONTINUE, Reason.NOT_QUIET)
    assert judged([cycle(0.05, walkers=0, completed=0)] * 2) == (Action.CONTINUE, Reason.NOT_QUIET)
    assert judged([cycle(0.05), cycle(0.05, quiet=False), cycle(0.05)]) == (Action.CONTINUE, Reason.FEW_QUIET_ROUNDS)


def test_quiet_rounds_of_another_potential_do_not_count() -> None:
    history = [cycle(0.05), cycle(0.05, potential='b')]
    assert judged(history) == (Action.CONTINUE, Reason.FEW_QUIET_ROUNDS)
    assert judged([*history, cycle(0.05, potential='b')]) == (Action.CONVERGED, Reason.ALL_MET)


def test_stages_are_passed_one_after_another_whatever_the_audit_error() -> None:
    assert judged([cycle(0.05)] * 2, stages=2) == (Action.NEXT_STAGE, Reason.STAGE_PASSED)
    first = [cycle(0.5), cycle(0.5)]
    assert judged(first, stages=2) == (Action.NEXT_STAGE, Reason.STAGE_PASSED)
    second = [*first, cycle(0.05, stage=1)]
    assert judged(second, stages=2) == (Action.CONTINUE, Reason.FEW_QUIET_ROUNDS)
    assert judged([*second, cycle(0.05, stage=1)], stages=2) == (Action.CONVERGED, Reason.ALL_MET)


def test_too_few_audit_frames_do_not_converge() -> None:
    few = [cycle(0.05, frames=1), cycle(0.05, frames=3)]
    assert judged(few) == (Action.CONTINUE, Reason.FEW_AUDIT_FRAMES)
    assert judged([*few, cycle(0.05, frames=4)]) == (Action.CONVERGED, Reason.ALL_MET)
    assert judged([cycle(None), cycle(None)]) == (Action.CONTINUE, Reason.FEW_AUDIT_FRAMES)


def test_frames_of_an_audit_may_gather_without_losing_patience() -> None:
    history = [cycle(0.2, frames=count) for count in range(1, 9)]
    assert judged(history, stop={'min_audit': 9}) == (Action.CONTINUE, Reason.FEW_AUDIT_FRAMES)
    stuck = [cycle(0.2, frames=2)] * 4
    assert judged(stuck, stop={'min_audit': 9}) == (Action.STOP, Reason.NO_IMPROVEMENT)


def test_the_upper_limit_may_be_what_is_judged() -> None:
    history = [cycle(0.09), cycle(0.09)]
    assert judged(history, stop={'judged_by': 'upper'}) == (Action.CONTINUE, Reason.AUDIT_UNCERTAIN)
    surer = [*history, cycle(0.09, audit=audit(0.09, 30, 1.1))]
    assert judged(surer, stop={'judged_by': 'upper'}) == (Action.CONVERGED, Reason.ALL_MET)
    single = dataclasses.replace(audit(0.01, 1), lower=None, upper=None)
    options = {'judged_by': 'upper', 'min_audit': 1}
    assert judged([cycle(audit=single)] * 2, stop=options) == (Action.CONTINUE, Reason.AUDIT_UNCERTAIN)


def test_gates_are_looked_at_when_all_else_is_met() -> None:
    assert judged([cycle(0.2), cycle(0.2)], gated=True) == (Action.CONTINUE, Reason.AUDIT_ABOVE_TARGET)
    due = [cycle(0.05), cycle(0.05)]
    assert judged(due, gated=True) == (Action.VALIDATE, Reason.GATES_DUE)
    assert judged([due[0], cycle(0.05, gates=True)], gated=True) == (Action.CONVERGED, Reason.ALL_MET)
    assert judged([due[0], cycle(0.05, gates=False)], gated=True) == (Action.CONTINUE, Reason.GATES_NOT_MET)
    unknown = cycle(0.05)
    assert judged([cycle(0.05, gates=False), unknown], gated=True) == (Action.CONTINUE, Reason.GATES_NOT_MET)
    other = cycle(0.05, potential='b')
    assert judged([cycle(0.05, gates=False), other, other], gated=True) == (Action.VALIDATE, Reason.GATES_DUE)
    assert judged([cycle(0.05, gates=False)] * 4, gated=True) == (Action.STOP, Reason.NO_IMPROVEMENT)
    grown = judge([due[0], cycle(0.05, gates=False)], STOP, GROWTH, gated=True)
    assert outcome(grown) == (Action.GROW_BASIS, Reason.GATES_NOT_MET)
    assert 'gates are not met' in grown.message


def test_the_basis_grows_when_quiet_walkers_leave_the_error_above_the_target() -> None:
    assert judged([cycle(0.2)], growth=GROWTH) == (Action.CONTINUE, Reason.FEW_QUIET_ROUNDS)
    assert judged([cycle(0.2)] * 2 + [cycle(0.2, quiet=False)], growth=GROWTH)[0] is Action.CONTINUE
    verdict = judge([cycle(0.2)] * 2, STOP, GROWTH)
    assert outcome(verdict) == (Action.GROW_BASIS, Reason.AUDIT_ABOVE_TARGET)
    assert verdict.functions == {'Si': 150}
    assert verdict.message.endswith('the basis grows to 150 functions of Si')
    no_room = [cycle(0.2, atoms={'Si': 105})] * 2
    assert judged(no_room, growth=GROWTH) == (Action.CONTINUE, Reason.AUDIT_ABOVE_TARGET)


def test_more_data_come_before_more_basis_as_long_as_they_help() -> None:
    growth = GrowthConfig()
    assert judged([cycle(0.2, frames=3)], growth=growth) == (Action.CONTINUE, Reason.FEW_QUIET_ROUNDS)
    asked = [cycle(0.2)]
    verdict = judge(asked, STOP, growth)
    assert outcome(verdict) == (Action.LEARN, Reason.AUDIT_ABOVE_TARGET)
    assert 'more frames are added to the training set' in verdict.message
    # The cycle that labels the frames has its potential still before it.
    taught = [*asked, cycle(0.2, new_labels=10)]
    assert judged(taught, growth=growth) == (Action.CONTINUE, Reason.AUDIT_ABOVE_TARGET)
    helped = cycle(0.15, potential='b')
    assert judged([*taught, helped], growth=growth) == (Action.LEARN, Reason.AUDIT_ABOVE_TARGET)
    useless = cycle(0.195, potential='b')
    assert judged([*taught, useless], growth=growth) == (Action.CONTINUE, Reason.FEW_QUIET_ROUNDS)
    assert judged([*taught, useless, useless], growth=growth) == (Action.GROW_BASIS, Reason.AUDIT_ABOVE_TARGET)
    larger = cycle(0.19, potential='c', functions={'Si': 150})
    assert judged([*taught, useless, larger], growth=growth) == (Action.LEARN, Reason.AUDIT_ABOVE_TARGET)
    assert judged([*taught, cycle(0.15, potential='b', quiet=False)], growth=growth)[0] is Action.CONTINUE
    # At a stage that another follows, the next stage teaches more.
    assert judged([cycle(0.2, frames=3), cycle(0.2)], growth=growth, stages=2)[0] is Action.NEXT_STAGE


def test_gates_that_are_not_met_call_for_data_first() -> None:
    failed = [cycle(0.05), cycle(0.05, gates=False)]
    assert judged(failed, growth=GrowthConfig(), gated=True) == (Action.LEARN, Reason.GATES_NOT_MET)
    no_better = [*failed, cycle(0.05, potential='b'), cycle(0.05, potential='b', gates=False)]
    assert judged(no_better, growth=GrowthConfig(), gated=True) == (Action.GROW_BASIS, Reason.GATES_NOT_MET)


def test_patience_is_lost_without_improvement() -> None:
    flat = [cycle(0.2, quiet=False, potential=str(index)) for index in range(4)]
    assert judged(flat[:3]) == (Action.CONTINUE, Reason.NOT_QUIET)
    verdict = judge(flat, STOP, NO_GROWTH)
    assert outcome(verdict) == (Action.STOP, Reason.NO_IMPROVEMENT)
    assert verdict.message.startswith('no improvement in 3 cycles; 6 of 8 walkers finished, 2 halted, 0 failed')
    better = [cycle(value, quiet=False) for value in (0.4, 0.37, 0.36, 0.34, 0.33, 0.31)]
    assert judged(better) == (Action.CONTINUE, Reason.NOT_QUIET)
    slow = [cycle(value, quiet=False) for value in (0.4, 0.395, 0.39, 0.385)]
    assert judged(slow) == (Action.STOP, Reason.NO_IMPROVEMENT)


def test_patience_begins_anew_with_a_stage() -> None:
    history = [cycle(0.1)] * 5 + [cycle(0.3, stage=1, quiet=False)] * 3
    assert judged(history, stages=2) == (Action.CONTINUE, Reason.NOT_QUIET)
    assert judged([*history, history[-1]], stages=2) == (Action.STOP, Reason.NO_IMPROVEMENT)


def test_walkers_may_halt_as_long_as_the_target_is_met() -> None:
    halts = [cycle(0.08, quiet=False, potential=str(index), frames=2) for index in range(10)]
    assert judged(halts) == (Action.CONTINUE, Reason.NOT_QUIET)
    assert judged(halts, stop={'max_cycles': 10}) == (Action.STOP, Reason.MAX_CYCLES)


def test_cycles_without_an_audit_but_new_labels_are_progress() -> None:
    blind = [cycle(None, quiet=False)] * 8
    assert judged(blind) == (Action.CONTINUE, Reason.NOT_QUIET)
    dead = [cycle(None, quiet=False, halted=0, failed=8, completed=0, new_labels=0)] * 3
    assert judged(dead) == (Action.STOP, Reason.NO_IMPROVEMENT)


def test_impatience_waits_for_the_first_growth_only() -> None:
    halts = [cycle(0.2, quiet=False)] * 2
    history = [*halts, cycle(0.2), cycle(0.2)]
    assert judged(history, growth=GROWTH)[0] is Action.GROW_BASIS
    larger = cycle(0.2, potential='b', functions={'Si': 150})
    assert judged([*history, larger, larger], growth=GROWTH) == (Action.STOP, Reason.NO_IMPROVEMENT)
    better = cycle(0.15, potential='b', functions={'Si': 150})
    assert judged([*history, better, better], growth=GROWTH)[0] is Action.GROW_BASIS


def test_limits_come_after_convergence_and_before_all_else() -> None:
    spent = [cycle(0.2, core_seconds=7200.0)]
    verdict = judge(spent, STOP.model_copy(update={'max_core_hours': 2.0}), NO_GROWTH)
    assert outcome(verdict) == (Action.STOP, Reason.BUDGET_SPENT)
    assert '2 core-hours of DFT are spent, the limit is 2' in verdict.message
    assert judged(spent, stop={'max_core_hours': 2.1})[0] is Action.CONTINUE
    good = [cycle(0.1, core_seconds=7200.0)] * 2
    options = {'max_core_hours': 1.0, 'max_cycles': 2}
    assert judged(good, stop=options) == (Action.CONVERGED, Reason.ALL_MET)
    assert judged([cycle(0.2)] * 2, stop={'max_cycles': 2}) == (Action.STOP, Reason.MAX_CYCLES)
    assert judged([cycle(0.2)] * 2, stop={'max_cycles': 2}, stages=2) == (Action.STOP, Reason.MAX_CYCLES)
    assert judged([cycle(0.05)] * 2, stop={'max_cycles': 2}, gated=True) == (Action.VALIDATE, Reason.GATES_DUE)
    assert judged([cycle(0.05, core_seconds=7200.0)] * 2, stop={'max_core_hours': 1.0}, gated=True)[0] is Action.STOP


def estimates() -> st.SearchStrategy[Estimate | None]:
    single = st.builds(lambda value: Estimate(value, None, None, 1, 0.95), st.floats(0.01, 1))
    several = st.builds(audit, st.floats(0.01, 1), st.integers(2, 30), st.floats(1, 3))
    return st.one_of(several, several, several, single, st.none())


@st.composite
def records(draw: st.DrawFn) -> CycleRecord:
    walkers = draw(st.integers(1, 4))
    # Mostly quiet and audited: otherwise hardly a history gets beyond the first rules.
    completed = draw(st.sampled_from([walkers, walkers, walkers, walkers // 2, 0]))
    halted = draw(st.integers(0, walkers - completed))
    return CycleRecord(
        stage=draw(st.sampled_from([0, 1, 2, 2, 2])),
        potential=draw(st.sampled_from('aaaab')),
        walkers=walkers,
        completed=completed,
        halted=halted,
        failed=walkers - completed - halted,
        audit=draw(estimates()),
        new_labels=draw(st.integers(0, 3)),
        core_seconds=draw(st.floats(0, 2e4)),
        functions={'Si': draw(st.integers(10, 300))},
        atoms={'Si': draw(st.integers(50, 600))},
        gates=draw(st.none() | st.booleans()),
    )


def stops() -> st.SearchStrategy[StopConfig]:
    return st.builds(
        StopConfig,
        quiet_rounds=st.integers(1, 3),
        target=st.floats(0.02, 0.9),
        min_audit=st.integers(1, 10),
        judged_by=st.sampled_from(['estimate', 'upper']),
        patience=st.integers(1, 5),
        min_improvement=st.floats(0.01, 0.5),
        max_cycles=st.sampled_from([1, 6, 12, 12, 12]),
        max_core_hours=st.none() | st.floats(2, 30),
    )


HISTORIES = st.lists(records(), min_size=1, max_size=8).map(
    lambda history: sorted(history, key=lambda record: record.stage)
)


@PATIENT
@given(HISTORIES, stops(), st.integers(1, 3), st.booleans())
def test_any_history_has_a_verdict_that_keeps_the_promises(
    history: list[CycleRecord], stop: StopConfig, stages: int, gated: bool
) -> None:
    verdict = judge(history, stop, GrowthConfig(), stages=stages, gated=gated)
    assert verdict.message
    if len(history) >= stop.max_cycles:
        assert verdict.action in (Action.CONVERGED, Action.STOP, Action.VALIDATE)
    if verdict.action is Action.CONVERGED:
        last = history[-1]
        assert last.audit is not None
        assert last.audit.value <= stop.target
        assert last.audit.frames >= stop.min_audit
        assert last.stage >= stages - 1
        answers = [one.gates for one in history if one.potential == last.potential and one.gates is not None]
        assert not gated or answers[-1]
        assert len(history) >= stop.quiet_rounds
        assert all(record.completed == record.walkers for record in history[-stop.quiet_rounds :])
    if verdict.action is Action.NEXT_STAGE:
        assert history[-1].stage < stages - 1
    assert (verdict.functions is not None) == (verdict.action is Action.GROW_BASIS)
    for element, count in (verdict.functions or {}).items():
        assert history[-1].functions[element] < count < history[-1].atoms[element]


@PATIENT
@given(HISTORIES, stops(), st.integers(1, 3), st.booleans(), st.floats(0.01, 0.99))
def test_a_lower_audit_error_never_makes_the_verdict_worse(
    history: list[CycleRecord], stop: StopConfig, stages: int, gated: bool, factor: float
) -> None:
    assume(history[-1].audit is not None)
    old = history[-1].audit
    lower = dataclasses.replace(
        old,
        value=factor * old.value,
        lower=None if old.lower is None else factor * old.lower,
        upper=None if old.upper is None else factor * old.upper,
    )
    better = [*history[:-1], dataclasses.replace(history[-1], audit=lower)]
    before = judge(history, stop, GrowthConfig(), stages=stages, gated=gated)
    after = judge(better, stop, GrowthConfig(), stages=stages, gated=gated)
    if before.action is Action.CONVERGED:
        assert after.action is Action.CONVERGED
    if after.action is Action.STOP:
        assert before.action is Action.STOP


@PATIENT
@given(HISTORIES, stops(), st.integers(1, 3))
def test_quiet_walkers_never_undo_convergence(history: list[CycleRecord], stop: StopConfig, stages: int) -> None:
    quiet = [
        dataclasses.replace(record, completed=record.walkers, halted=0, failed=0, potential='a') for record in history
    ]
    before = judge(history, stop, GrowthConfig(), stages=stages)
    after = judge(quiet, stop, GrowthConfig(), stages=stages)
    if before.action is Action.CONVERGED:
        assert after.action is Action.CONVERGED


@PATIENT
@given(st.data(), stops(), st.integers(1, 3), st.booleans())
def test_a_campaign_that_obeys_always_ends(data: st.DataObject, stop: StopConfig, stages: int, gated: bool) -> None:
    history: list[CycleRecord] = []
    stage, functions = 0, {'Si': 20}
    verdict = judge(history, stop, GrowthConfig(), stages=stages, gated=gated)
    while verdict.action not in (Action.STOP, Action.CONVERGED):
        if verdict.action is Action.VALIDATE:
            history[-1] = dataclasses.replace(history[-1], gates=data.draw(st.booleans()))
        else:
            stage += verdict.action is Action.NEXT_STAGE
            functions = dict(verdict.functions or functions)
            record = data.draw(records())
            history.append(dataclasses.replace(record, stage=stage, functions=functions, gates=None))
        assert stage < stages
        was_validated = verdict.action is Action.VALIDATE
        verdict = judge(history, stop, GrowthConfig(), stages=stages, gated=gated)
        assert not (was_validated and verdict.action is Action.VALIDATE)
    assert len(history) <= stop.max_cycles
