"""The names of a campaign: its phases, the labels of the links to its processes, the names of its data sets."""

from __future__ import annotations

import dataclasses
import re
from enum import Enum

__all__ = ('CAMPAIGN_EXTRA', 'VALIDATION_PARTS', 'Origin', 'Phase', 'Step', 'cycle_label')

#: Extra of the node of `ActiveLearningWorkChain` with the phase and the cycle that run.
CAMPAIGN_EXTRA = 'campaign'

#: Names of the parts of a validation that are data sets to train on.
VALIDATION_PARTS = ('volumes', 'responses')

GIVEN = 'given_'


class Phase(str, Enum):
    """What a campaign calls a process for; the value is a part of the link label."""

    CHECK = 'check'
    GENERATE = 'generate'
    EXPLORE = 'explore'
    DRAW = 'draw'
    SELECT = 'select'
    LABEL = 'label'
    SPLIT = 'split'
    GATHER_AUDIT = 'audit_frames'
    AUDIT = 'audit'
    AUDIT_ERRORS = 'audit_errors'
    JUDGE = 'judge'
    VALIDATE = 'validate'
    TRAIN = 'train'


def cycle_label(cycle: int) -> str:
    """Return the first part of the link labels of a cycle: ``cycle_03``; ``initial`` for what comes before the first.

    :raises ValueError: when ``cycle`` is negative.
    """
    if cycle < 0:
        raise ValueError(f'the number of a cycle is {cycle}: give 0 or more')
    return f'cycle_{cycle:02d}' if cycle else 'initial'


def _cycle_of(label: str) -> int | None:
    """Return the number of the cycle that `cycle_label` names ``label``; None when it names none so."""
    cycle = 0 if label == 'initial' else int(label.removeprefix('cycle_')) if re.fullmatch(r'cycle_\d+', label) else -1
    return cycle if cycle >= 0 and cycle_label(cycle) == label else None


@dataclasses.dataclass(frozen=True)
class Step:
    """One process that a campaign calls.

    :param cycle: number of the cycle; 0 before the first one.
    :param again: whether the same phase was run before in this cycle: after a validation, a cycle is judged again.
    """

    phase: Phase
    cycle: int = 0
    again: bool = False

    @property
    def label(self) -> str:
        """Label of the link from the campaign to the process: ``cycle_03_judge_again``; ``check`` alone has no cycle.

        :raises ValueError: when a check is in a cycle.
        """
        if self.phase is Phase.CHECK and self.cycle:
            raise ValueError('the codes are checked before the first cycle')
        prefix = '' if self.phase is Phase.CHECK else f'{cycle_label(self.cycle)}_'
        return f'{prefix}{self.phase.value}' + ('_again' if self.again else '')

    @classmethod
    def parse(cls, label: str) -> Step | None:
        """Return the step with this link label; None when it is that of no step."""
        match = re.fullmatch(r'(?:(initial|cycle_\d+)_)?([a-z_]+?)(_again)?', label)
        if match is None or match[2] not in _PHASES:
            return None
        phase, cycle = Phase(match[2]), _cycle_of(match[1] or 'initial')
        if cycle is None or (match[1] is None) != (phase is Phase.CHECK):
            return None
        return cls(phase, cycle, again=match[3] is not None)


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a data set that a campaign trains on, or audits with, comes from.

    :param given: name of the input, for a data set that was given.
    :param cycle: number of the cycle that labelled it, otherwise; 0 for the initial set.
    :param part: name of the part of the validation of this cycle; empty for the labels of the cycle itself.
    """

    given: str = ''
    cycle: int = 0
    part: str = ''

    @property
    def name(self) -> str:
        """Name of the data set: ``given_mine``, ``initial``, ``cycle_03``, ``cycle_03_volumes``."""
        if self.given:
            return f'{GIVEN}{self.given}'
        return cycle_label(self.cycle) + (f'_{self.part}' if self.part else '')

    @classmethod
    def parse(cls, name: str) -> Origin:
        """Return the origin of the data set with this name.

        :raises ValueError: when it is the name of no data set of a campaign.
        """
        if name.startswith(GIVEN) and name != GIVEN:
            return cls(given=name.removeprefix(GIVEN))
        match = re.fullmatch(rf'(.+?)(?:_({"|".join(VALIDATION_PARTS)}))?', name)
        cycle = None if match is None else _cycle_of(match[1])
        if match is not None and cycle is not None:
            return cls(cycle=cycle, part=match[2] or '')
        raise ValueError(f'`{name}` is not the name of a data set of a campaign')


_PHASES = frozenset(phase.value for phase in Phase)
