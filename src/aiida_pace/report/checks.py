"""What the check before the first DFT run found wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from aiida_pace.campaign.phases import Phase
from aiida_pace.workflows import rows
from aiida_pace.workflows.records import Call

__all__ = ('Check', 'checks')


@dataclasses.dataclass(frozen=True)
class Check:
    """A check that was not passed before the first DFT run; ``status`` is ``failed`` or ``warning``."""

    name: str
    status: str
    found: str
    remedy: str


def checks(calls: Iterable[Call]) -> tuple[Check, ...]:
    """Return the checks that failed or warn, by the pre-flight check."""
    found = []
    for call in calls:
        if call.step.phase is Phase.CHECK:
            for *_, result in rows.outputs_of_called(call.pk, 0, ['output_parameters'], ['attributes']):
                found += result['checks']
    return tuple(
        Check(check['name'], check['status'], check['found'].rstrip('.'), check['remedy'])
        for check in found
        if check['status'] in ('failed', 'warning')
    )
