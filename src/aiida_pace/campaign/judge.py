"""The judge of a campaign: from its history to what comes next; it never looks at anything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from enum import Enum

from aiida_pace.campaign.history import CycleRecord, basis_errors, quiet_rounds, stale_cycles
from aiida_pace.config import GrowthConfig, StopConfig
from aiida_pace.formats.text import counted
from aiida_pace.training.growth import grown_functions

__all__ = ('Action', 'Reason', 'Verdict', 'judge')


class Action(str, Enum):
    """What comes next."""

    CONTINUE = 'continue'
    NEXT_STAGE = 'next_stage'
    LEARN = 'learn'
    GROW_BASIS = 'grow_basis'
    VALIDATE = 'validate'
    CONVERGED = 'converged'
    STOP = 'stop'


class Reason(str, Enum):
    """Why."""

    NOT_STARTED = 'not_started'
    NOT_QUIET = 'not_quiet'
    FEW_QUIET_ROUNDS = 'few_quiet_rounds'
    FEW_AUDIT_FRAMES = 'few_audit_frames'
    AUDIT_UNCERTAIN = 'audit_uncertain'
    AUDIT_ABOVE_TARGET = 'audit_above_target'
    GATES_NOT_MET = 'gates_not_met'
    GATES_DUE = 'gates_due'
    STAGE_PASSED = 'stage_passed'
    ALL_MET = 'all_met'
    NO_IMPROVEMENT = 'no_improvement'
    MAX_CYCLES = 'max_cycles'
    BUDGET_SPENT = 'budget_spent'


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What comes next, why, and a sentence with the numbers; with `Action.GROW_BASIS` the functions of each element."""

    action: Action
    reason: Reason
    message: str
    functions: Mapping[str, int] | None = None


def judge(
    history: Sequence[CycleRecord], stop: StopConfig, growth: GrowthConfig, *, stages: int = 1, gated: bool = False
) -> Verdict:
    """Return what comes after the last cycle of ``history``; the first rule that holds decides.

    1. The last stage is passed, the audit error is at or below the target on enough frames, and the gates are met:
       converged. Passed is a stage after `StopConfig.quiet_rounds` cycles in a row in which every walker came to its
       end, all at this stage and with the last potential.
    2. The budget of DFT is spent: stop.
    3. As 1, but nobody has looked at the gates of this potential: validate, put the answer into the last record, and
       judge again.
    4. As many cycles as allowed: stop.
    5. A stage is passed, and another follows: next stage.
    6. The walkers are quiet, the audit error is above the target (or the gates are not met), and more data helped the
       last time, or were not tried with this basis: learn from frames of the MD that no halt brings up. The grade knows
       what is new, not what is wrong.
    7. The last stage is passed, the audit error is above the target (or the gates are not met), more data did not
       help, and the basis can grow: it does. When patience has run out, only if the basis has not grown since the best
       cycle.
    8. Patience has run out while the audit error is above the target, or unknown, or the gates are not met: stop.
       What counts is in `stale_cycles`. Noise of a small audit can hide an improvement for a cycle or two, or feign
       one, which is what patience is for.
    9. Continue. A cycle that found nothing to label is as good as any other.

    :param stages: number of stages.
    :param gated: whether there are property gates; the last answer for a potential holds as long as it is the last.
    """
    if not history:
        return Verdict(Action.CONTINUE, Reason.NOT_STARTED, 'no cycle has been run yet')
    last = history[-1]
    best, stale = stale_cycles(history, stop)
    answers = [record.gates for record in history if record.potential == last.potential and record.gates is not None]
    gates = (answers[-1] if answers else None) if gated else True
    case = _Case(
        history=history,
        last=last,
        stop=stop,
        growth=growth,
        stages=stages,
        gates=gates,
        wanting=_wanting(last, stop, gates),
        quiet=quiet_rounds(history),
        stale=stale,
        has_grown=any(record.functions != last.functions for record in history[best:]),
    )
    for rule in (_converged, _spend, _validate, _expire, _next_stage, _learn, _grow, _lose_patience):
        if (verdict := rule(case)) is not None:
            return verdict
    return _continue(case)


@dataclasses.dataclass(frozen=True)
class _Case:
    """What the rules look at.

    :param gates: whether the last potential meets them; None when nobody has looked.
    :param wanting: what keeps the last potential from being good, whether walkers are quiet or not; None: nothing.
    :param quiet: number of quiet rounds in a row.
    :param stale: number of cycles without improvement.
    :param has_grown: whether the basis has grown since the best cycle.
    """

    history: Sequence[CycleRecord]
    last: CycleRecord
    stop: StopConfig
    growth: GrowthConfig
    stages: int
    gates: bool | None
    wanting: Reason | None
    quiet: int
    stale: int
    has_grown: bool

    @property
    def is_passed(self) -> bool:
        """Whether the stage is passed."""
        return self.quiet >= self.stop.quiet_rounds

    @property
    def is_last_stage(self) -> bool:
        return self.last.stage >= self.stages - 1

    @property
    def fault(self) -> Reason | None:
        """What is wrong with the potential where nothing is new to it, when the cycle has brought nothing to learn."""
        is_wrong = self.wanting in (Reason.AUDIT_ABOVE_TARGET, Reason.GATES_NOT_MET)
        return self.wanting if is_wrong and self.last.is_quiet and not self.last.new_labels else None

    @property
    def is_impatient(self) -> bool:
        audit = self.last.audit
        is_short = audit is None or audit.value > self.stop.target or self.gates is False
        return is_short and self.stale >= self.stop.patience

    @property
    def audit(self) -> str:
        """The audit error in words, and what it lacks."""
        audit, target = self.last.audit, 1000 * self.stop.target
        if audit is None:
            return 'there is no audit error yet'
        limits = ''
        if audit.lower is not None:
            upper = 'any' if audit.upper is None else f'{1000 * audit.upper:.0f}'
            limits = f' ({100 * audit.confidence:g} % interval {1000 * audit.lower:.0f} to {upper})'
        error = f'the audit error is {1000 * audit.value:.0f} meV/Å{limits} on {counted(audit.frames, "frame")}'
        relation = 'above' if audit.value > self.stop.target else 'within'
        gates = '; the property gates are not met' if self.gates is False else ''
        return f'{error}, {relation} the target of {target:.0f}{gates}'


def _wanting(last: CycleRecord, stop: StopConfig, gates: bool | None) -> Reason | None:
    """Return what keeps the potential from being good, whether walkers are quiet or not; None when nothing does."""
    audit, reason = last.audit, None
    if audit is None or audit.frames < stop.min_audit:
        reason = Reason.FEW_AUDIT_FRAMES
    elif audit.value > stop.target:
        reason = Reason.AUDIT_ABOVE_TARGET
    elif stop.judged_by == 'upper' and (audit.upper is None or audit.upper > stop.target):
        reason = Reason.AUDIT_UNCERTAIN
    elif not gates:
        reason = Reason.GATES_DUE if gates is None else Reason.GATES_NOT_MET
    return reason


def _converged(case: _Case) -> Verdict | None:
    if not (case.is_passed and case.is_last_stage and case.wanting is None):
        return None
    return Verdict(
        Action.CONVERGED, Reason.ALL_MET, f'{counted(case.quiet, "quiet round")} at the last stage; {case.audit}'
    )


def _spend(case: _Case) -> Verdict | None:
    hours, spent = case.stop.max_core_hours, case.last.core_seconds / 3600
    if hours is None or spent < hours:
        return None
    message = f'{spent:.3g} core-hours of DFT are spent, the limit is {hours:g}; {case.audit}'
    return Verdict(Action.STOP, Reason.BUDGET_SPENT, message)


def _validate(case: _Case) -> Verdict | None:
    if not (case.is_passed and case.is_last_stage and case.wanting is Reason.GATES_DUE):
        return None
    return Verdict(Action.VALIDATE, Reason.GATES_DUE, f'all criteria but the property gates are met; {case.audit}')


def _expire(case: _Case) -> Verdict | None:
    cycles = len(case.history)
    if cycles < case.stop.max_cycles:
        return None
    message = (
        f'{counted(cycles, "cycle")} of at most {case.stop.max_cycles} are done; {_walkers(case.last)}; {case.audit}'
    )
    return Verdict(Action.STOP, Reason.MAX_CYCLES, message)


def _next_stage(case: _Case) -> Verdict | None:
    if not case.is_passed or case.is_last_stage:
        return None
    stage, rounds = case.last.stage + 1, counted(case.quiet, 'quiet round')
    message = f'stage {stage} of {case.stages} is passed after {rounds}; {case.audit}'
    return Verdict(Action.NEXT_STAGE, Reason.STAGE_PASSED, message)


def _learn(case: _Case) -> Verdict | None:
    if not case.growth.frames or case.fault is None or case.is_impatient:
        return None
    errors = basis_errors(case.history)
    if len(errors) > 1 and errors[-1] > (1 - case.stop.min_improvement) * errors[-2]:
        return None
    message = f'{counted(case.quiet, "quiet round")}, but {case.audit}: more frames are added to the training set'
    return Verdict(Action.LEARN, case.fault, message)


def _grow(case: _Case) -> Verdict | None:
    if not case.is_passed or case.fault is None:
        return None
    grown = grown_functions(case.last.functions, case.last.atoms, case.growth)
    if grown is None or (case.is_impatient and case.has_grown):
        return None
    listed = ', '.join(f'{counted(count, "function")} of {element}' for element, count in grown.items())
    message = f'{counted(case.quiet, "quiet round")}, but {case.audit}: the basis grows to {listed}'
    return Verdict(Action.GROW_BASIS, case.fault, message, grown)


def _lose_patience(case: _Case) -> Verdict | None:
    if not case.is_impatient:
        return None
    message = f'no improvement in {counted(case.stale, "cycle")}; {_walkers(case.last)}; {case.audit}'
    return Verdict(Action.STOP, Reason.NO_IMPROVEMENT, message)


def _continue(case: _Case) -> Verdict:
    if not case.last.is_quiet:
        return Verdict(Action.CONTINUE, Reason.NOT_QUIET, f'{_walkers(case.last)}; {case.audit}')
    reason = case.wanting if case.is_passed and case.wanting is not None else Reason.FEW_QUIET_ROUNDS
    message = f'{case.quiet} of {case.stop.quiet_rounds} quiet rounds with this potential; {case.audit}'
    if reason is Reason.FEW_AUDIT_FRAMES:
        message += f'; {case.stop.min_audit} frames are needed'
    return Verdict(Action.CONTINUE, reason, message)


def _walkers(last: CycleRecord) -> str:
    """Return how the last walkers fared in words."""
    return f'{last.completed} of {counted(last.walkers, "walker")} finished, {last.halted} halted, {last.failed} failed'
