"""What a campaign says of itself: the verdicts of its judge, the audit errors, the properties, the check."""

from __future__ import annotations

import dataclasses
import typing as t

from aiida_pace.campaign.phases import cycle_label
from aiida_pace.report import graph
from aiida_pace.report.phases import Phase

__all__ = ('Audit', 'Check', 'Verdict', 'checks', 'failed_gates', 'judged_cycles', 'last_verdict')


@dataclasses.dataclass(frozen=True)
class Audit:
    """Root-mean-square error of a force component on audit frames, with the limits of its interval, in meV/Å.

    :param potential: UUID of the potential.
    """

    potential: str
    force_rmse: float
    lower: float | None
    upper: float | None
    confidence: float
    frames: int


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the judge said at the end of the last cycle that was judged.

    :param cycle: its number; the campaign that this one goes on from has had the first ones.
    :param action: what comes next.
    :param message: why, in a sentence with numbers.
    :param audits: by cycle, ``cycle_01`` and so on, those of earlier campaigns included.
    """

    cycle: int
    action: str
    message: str
    audits: dict[str, Audit]


@dataclasses.dataclass(frozen=True)
class Check:
    """A check that was not passed before the first DFT run; ``status`` is ``failed`` or ``warning``."""

    name: str
    status: str
    found: str
    remedy: str


def last_verdict(children: list[Phase]) -> Verdict | None:
    """Return the last verdict; None before the first."""
    judged = [child for child in children if child.phase == 'judge' and child.status == 0]
    rows = graph.outputs_of_called(judged[-1].pk, 0, ['result'], 'attributes') if judged else []
    if not rows:
        return None
    *_, result = rows[0]
    audits = {
        cycle_label(cycle): _audit(record)
        for cycle, record in enumerate(result['history'], start=1)
        if record.get('audit') is not None
    }
    return Verdict(len(result['history']), result['action'], result['message'], audits)


def _audit(record: dict[str, t.Any]) -> Audit:
    """Return the audit of a record of the history, from eV to meV."""
    audit = record['audit']
    lower, upper = (None if audit[name] is None else 1000 * audit[name] for name in ('lower', 'upper'))
    return Audit(record['potential'], 1000 * audit['value'], lower, upper, audit['confidence'], audit['frames'])


def judged_cycles(children: list[Phase]) -> list[str]:
    """Return the cycles that were judged."""
    return [child.step for child in children if child.phase == 'judge' and child.status == 0]


def failed_gates(pk: int, children: list[Phase]) -> tuple[str, ...] | None:
    """Return a sentence on every property, of the last validation, beyond its tolerance; None when it told nothing."""
    validations = [child.pk for child in children if child.phase == 'validate']
    if not validations:
        return None
    gates = {key: found for key, _, found in graph.outputs_of_called(pk, 1, ['gates'], 'attributes')}
    return tuple(gates[validations[-1]]['failed']) if validations[-1] in gates else None


def checks(children: list[Phase]) -> tuple[Check, ...]:
    """Return the checks that failed or warn, by the pre-flight check."""
    found = [check for child in children if child.phase == 'check' for check in child.result.get('checks', ())]
    return tuple(
        Check(check['name'], check['status'], check['found'].rstrip('.'), check['remedy'])
        for check in found
        if check['status'] in ('failed', 'warning')
    )
