"""What the steps of a campaign leave behind, one record each: UUIDs and plain values."""

from __future__ import annotations

import dataclasses
import operator
import typing as t
from collections.abc import Mapping

from pydantic.dataclasses import dataclass

from aiida_pace.campaign.history import CycleRecord
from aiida_pace.campaign.judge import Action, Reason

__all__ = (
    'Account',
    'DataSet',
    'ExplorationRecord',
    'GivenRecord',
    'LabelsRecord',
    'Record',
    'TrainingRecord',
    'ValidationRecord',
    'VerdictRecord',
)

# Dataclasses of pydantic: AiiDA takes nested dataclasses apart when it stores the context of a work chain, and calls
# the outermost one with dictionaries; pydantic makes dataclasses of them again.


@dataclass(frozen=True)
class DataSet:
    """A labelled data set.

    :param count: number of frames.
    :param labels: UUID of the data set that says what these labels cost; None where nobody knows.
    """

    uuid: str
    count: int
    labels: str | None = None


@dataclass(frozen=True)
class Account:
    """What one or more labellings account for: requested = reused + cached + labelled + failed + rejected.

    :param core_seconds: spent now; ``core_seconds_saved`` are those of the labels that were reused or cached.
    """

    requested: int = 0
    reused: int = 0
    cached: int = 0
    labelled: int = 0
    failed: int = 0
    rejected: int = 0
    core_seconds: float = 0.0
    core_seconds_saved: float = 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, t.Any]) -> Account:
        """Return the account in the ``output_parameters`` of a labelling; what is not there is 0."""
        names = {field.name for field in dataclasses.fields(cls)}
        saved = values.get('core_seconds_cached', 0.0) + values.get('core_seconds_reused', 0.0)
        return cls(**{name: values[name] for name in names & values.keys()}, core_seconds_saved=saved)

    def __add__(self, other: Account) -> Account:
        """Return the account of both."""
        return Account(*map(operator.add, dataclasses.astuple(self), dataclasses.astuple(other)))


@dataclass(frozen=True)
class GivenRecord:
    """What a campaign was given to start from.

    :param datasets: labelled data sets by the names of the inputs.
    :param potential: UUID; ``active_set`` likewise.
    """

    datasets: dict[str, DataSet]
    potential: str | None = None
    active_set: str | None = None


@dataclass(frozen=True)
class ExplorationRecord:
    """How the walkers of a cycle fared.

    :param walkers: number of walkers; ``halted`` is that of those that met what the potential does not know.
    :param max_grade: highest extrapolation grade that a walker met.
    """

    cycle: int
    walkers: int
    halted: int
    max_grade: float | None = None


@dataclass(frozen=True)
class LabelsRecord:
    """The labels of a cycle.

    :param training: what may be trained on; None when there is nothing, as for ``audit``, the audit frames.
    """

    cycle: int
    account: Account
    training: DataSet | None = None
    audit: DataSet | None = None


@dataclass(frozen=True)
class TrainingRecord:
    """A fit that went well, with its active set.

    :param potential: UUID; ``active_set`` and ``errors``, the errors of the fit, likewise.
    :param force_rmse: of a force component on the training set, in eV/Å.
    :param energy_rmse: of the energies on the training set, in eV/atom.
    """

    cycle: int
    potential: str
    active_set: str | None
    errors: str | None
    force_rmse: float | None = None
    energy_rmse: float | None = None


@dataclass(frozen=True)
class VerdictRecord:
    """What the judge said at the end of a cycle.

    :param uuid: of the verdict.
    :param reason: why; None in a campaign made before reasons were written down.
    :param message: why, in a sentence with numbers.
    :param history: of the campaign up to this cycle, those that it goes on from included.
    :param functions: number of basis functions of each element that the basis is to grow to; None: it does not grow.
    """

    cycle: int
    uuid: str
    action: Action
    reason: Reason | None
    message: str
    history: tuple[CycleRecord, ...]
    functions: dict[str, int] | None = None


@dataclass(frozen=True)
class ValidationRecord:
    """A comparison of properties with DFT.

    :param potential: UUID of the potential that was validated; ``properties`` and ``gates`` are those of the outputs.
    :param passed: whether every property is within its tolerance; False also when the validation failed, None when
        nobody knows.
    :param failed: a sentence on each property beyond its tolerance; None when there are no gates.
    :param datasets: its labelled data sets, by part: ``volumes``, ``responses``.
    """

    cycle: int
    potential: str
    account: Account
    passed: bool | None
    failed: tuple[str, ...] | None = None
    properties: str | None = None
    gates: str | None = None
    datasets: dict[str, DataSet] | None = None


Record = ExplorationRecord | LabelsRecord | TrainingRecord | VerdictRecord | ValidationRecord
