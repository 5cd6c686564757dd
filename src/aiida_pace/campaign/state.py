"""The state of a campaign: where it stands after each of its records. The chain, a restart and the status fold it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

from pydantic.dataclasses import dataclass

from aiida_pace.campaign.history import CycleRecord, best_cycle
from aiida_pace.campaign.judge import Action, Reason
from aiida_pace.campaign.phases import Origin, cycle_label
from aiida_pace.campaign.records import (
    DataSet,
    GivenRecord,
    LabelsRecord,
    Record,
    TrainingRecord,
    ValidationRecord,
    VerdictRecord,
)

__all__ = ('Audit', 'CampaignState', 'Potential', 'fold', 'states')


@dataclass(frozen=True)
class Potential:
    """A potential: UUIDs of its active set and of the errors of its fit; None where there is none."""

    uuid: str
    active_set: str | None = None
    errors: str | None = None


@dataclass(frozen=True)
class Audit:
    """Labelled audit frames: UUID and number, and the potential and the stage whose MD they were drawn from."""

    uuid: str
    count: int
    potential: str
    stage: int


@dataclass(frozen=True)
class CampaignState:
    """What a campaign knows after a record. It holds UUIDs and plain values, never nodes.

    :param cycle: number of the last cycle that was judged; 0 before.
    :param stage: number of the stage of temperature and pressure, from 0.
    :param training: what is trained on, by the names of `Origin`.
    :param audits: the audit frames, by the label of their cycle.
    :param potentials: all potentials by UUID; ``potential`` is the UUID of the last one.
    :param functions: number of basis functions of each element that the next fit is to have; None: as in the settings.
    :param new_labels: number of frames to train on that the potential was not trained on.
    :param verdict: the last one; its ``history`` has one record per cycle.
    :param validations: the last one of each potential, by UUID.
    :param requested: number of frames that were to be labelled, validations aside; ``failed`` could not be.
    :param core_seconds: spent on DFT, validations included.
    """

    cycle: int = 0
    stage: int = 0
    training: dict[str, DataSet] = dataclasses.field(default_factory=dict)
    audits: dict[str, Audit] = dataclasses.field(default_factory=dict)
    potentials: dict[str, Potential] = dataclasses.field(default_factory=dict)
    potential: str | None = None
    functions: dict[str, int] | None = None
    new_labels: int = 0
    verdict: VerdictRecord | None = None
    validations: dict[str, ValidationRecord] = dataclasses.field(default_factory=dict)
    requested: int = 0
    failed: int = 0
    core_seconds: float = 0.0

    @property
    def history(self) -> tuple[CycleRecord, ...]:
        """The cycles that were judged."""
        return () if self.verdict is None else self.verdict.history

    @property
    def labels(self) -> int:
        """Number of labelled frames to train on."""
        return sum(dataset.count for dataset in self.training.values())

    @property
    def active_set(self) -> str | None:
        """UUID of the active set of the last potential."""
        return None if self.potential is None else self.potentials[self.potential].active_set

    @property
    def needs_training(self) -> bool:
        """Whether there is something new to learn, or a larger basis to learn it with, or no active set yet."""
        return self.active_set is None or self.new_labels > 0 or self._awaits(Action.GROW_BASIS)

    @property
    def wants_random_frames(self) -> bool:
        """Whether the last verdict was to learn more, and nothing has been learnt since."""
        return self._awaits(Action.LEARN)

    def _awaits(self, action: Action) -> bool:
        """Return whether the last verdict asked for ``action`` and no potential was trained since."""
        if self.verdict is None or self.verdict.action is not action:
            return False
        return self.history[-1].potential == self.potential

    def best_potential(self, min_audit: int) -> str | None:
        """Return the UUID of the potential to hand over: the last one, unless one before has a better audit error.

        :param min_audit: number of audit frames that an audit error may be judged by, see `StopConfig`.
        """
        best = best_cycle(self.history, min_audit)
        is_converged = self.verdict is not None and self.verdict.action is Action.CONVERGED
        if best is None or best == len(self.history) - 1 or is_converged:
            return self.potential
        uuid = self.history[best].potential
        return uuid if uuid in self.potentials else self.potential

    def is_validated(self, potential: str | None) -> bool:
        """Return whether it is known if the properties of ``potential`` are within their tolerances."""
        validation = self.validations.get(potential or '')
        return validation is not None and validation.passed is not None

    def with_given(self, record: GivenRecord) -> CampaignState:
        """Return the state with what the campaign was given; a potential counts only where there is none yet.

        Data sets given to a campaign that goes on from another are new to its potential; those given with a potential
        are what it was trained on.
        """
        known = {dataset.uuid for dataset in self.training.values()}
        added = {Origin(given=name).name: one for name, one in record.datasets.items() if one.uuid not in known}
        state = dataclasses.replace(self, training={**self.training, **added})
        if self.potential is not None:
            return dataclasses.replace(state, new_labels=self.new_labels + sum(one.count for one in added.values()))
        if record.potential is None:
            return state
        given = Potential(record.potential, record.active_set)
        return dataclasses.replace(state, potentials={given.uuid: given}, potential=given.uuid)

    def with_labels(self, record: LabelsRecord) -> CampaignState:
        """Return the state after a labelling: what may be trained on is new, the audit frames are set apart."""
        state = dataclasses.replace(
            self,
            requested=self.requested + record.account.requested,
            failed=self.failed + record.account.failed,
            core_seconds=self.core_seconds + record.account.core_seconds,
        )
        if record.audit is not None and self.potential is not None:
            audit = Audit(record.audit.uuid, record.audit.count, self.potential, self.stage)
            state = dataclasses.replace(state, audits={**self.audits, cycle_label(record.cycle): audit})
        return state if record.training is None else state._with_new(Origin(cycle=record.cycle), record.training)

    def with_training(self, record: TrainingRecord) -> CampaignState:
        """Return the state after a training: the potential has learnt all labels."""
        trained = Potential(record.potential, record.active_set, record.errors)
        potentials = {**self.potentials, trained.uuid: trained}
        return dataclasses.replace(self, potentials=potentials, potential=trained.uuid, new_labels=0)

    def with_verdict(self, record: VerdictRecord) -> CampaignState:
        """Return the state after a cycle was judged; where gates are not met, the validation is learnt from."""
        last = record.history[-1]
        state = dataclasses.replace(
            self,
            cycle=record.cycle,
            stage=last.stage + (record.action is Action.NEXT_STAGE),
            functions=record.functions if record.action is Action.GROW_BASIS else self.functions,
            verdict=record,
        )
        validation = self.validations.get(last.potential)
        if validation is None or (record.action, record.reason) != (Action.LEARN, Reason.GATES_NOT_MET):
            return state
        # Each validation of a campaign has the same frames: they do not depend on the potential.
        known = {Origin.parse(name).part for name in self.training}
        for part, dataset in (validation.datasets or {}).items():
            if part not in known:
                state = state._with_new(Origin(cycle=validation.cycle, part=part), dataset)
        return state

    def with_validation(self, record: ValidationRecord) -> CampaignState:
        """Return the state after a comparison with DFT."""
        validations = {**self.validations, record.potential: record}
        spent = self.core_seconds + record.account.core_seconds
        return dataclasses.replace(self, validations=validations, core_seconds=spent)

    def with_record(self, record: Record) -> CampaignState:
        """Return the state after ``record``, of whatever kind."""
        if isinstance(record, LabelsRecord):
            return self.with_labels(record)
        if isinstance(record, TrainingRecord):
            return self.with_training(record)
        if isinstance(record, VerdictRecord):
            return self.with_verdict(record)
        if isinstance(record, ValidationRecord):
            return self.with_validation(record)
        return self

    def resumed(self, records: Sequence[Record]) -> CampaignState:
        """Return where a campaign goes on that restarts from one with these records, which began in this state.

        That is the end of the last cycle that was judged. What was done after it, was done with seeds that depend on
        the number of the cycle only: the same is done again, and finds the labels that were made. What they cost is
        spent. Tolerances may be others now: no potential counts as validated.
        """
        cycle = max([self.cycle, *(record.cycle for record in records if isinstance(record, VerdictRecord))])
        state = fold([record for record in records if record.cycle <= cycle], self)
        validations = {
            uuid: dataclasses.replace(validation, passed=None) for uuid, validation in state.validations.items()
        }
        spent = fold(records, self).core_seconds
        return dataclasses.replace(state, core_seconds=spent, validations=validations)

    def _with_new(self, origin: Origin, dataset: DataSet) -> CampaignState:
        """Return the state with a data set that the potential was not trained on."""
        training = {**self.training, origin.name: dataset}
        return dataclasses.replace(self, training=training, new_labels=self.new_labels + dataset.count)


def states(records: Iterable[Record], start: CampaignState) -> Iterable[CampaignState]:
    """Iterate over the states of a campaign: ``start``, and that after each record."""
    return itertools.accumulate(records, CampaignState.with_record, initial=start)


def fold(records: Iterable[Record], start: CampaignState | None = None) -> CampaignState:
    """Return the state of a campaign after ``records``, in the order in which they were made.

    :param start: the state before them; None: nothing was given.
    """
    state = start or CampaignState()
    for record in records:
        state = state.with_record(record)
    return state
