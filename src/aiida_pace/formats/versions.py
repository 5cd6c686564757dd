"""Versions of engines, and the requirements for them."""

from __future__ import annotations

import dataclasses
import re
import typing as t

__all__ = ('REQUIREMENTS', 'Requirement', 'VersionVerdict', 'judge_version', 'version_key')

MONTHS = ('jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec')

#: LAMMPS names its releases by day: `21 Nov 2023`, `2 Aug 2023 - Update 3`, `29Sep2021`.
_DATE = re.compile(r'(\d{1,2}) ?([A-Za-z]{3}) ?(\d{4})')
_NUMBERS = re.compile(r'v?(\d+(?:\.\d+)*)')


@dataclasses.dataclass(frozen=True)
class Requirement:
    """The requirement for the version of an engine.

    :param pattern: finds the version, its first group, in what the engine prints.
    :param minimum: the oldest supported version.
    :param reason: fault of older versions, and the remedy.
    :param is_known_bad: whether older versions are known to fail; otherwise they are untested.
    """

    pattern: re.Pattern[str]
    minimum: str
    reason: str
    is_known_bad: bool = False


@dataclasses.dataclass(frozen=True)
class VersionVerdict:
    """The verdict on a version.

    :param version: as the engine prints it; empty when it is not known.
    :param remark: one clause on the cause when the status is not `ok`.
    """

    status: t.Literal['ok', 'warning', 'failed']
    version: str
    remark: str = ''


REQUIREMENTS = {
    'pw.x': Requirement(
        re.compile(r'Program PWSCF v\.?(\S+)'),
        '6.6',
        'aiida-quantumespresso 5 reads the output of 6.6 and later: install a newer Quantum ESPRESSO',
        is_known_bad=True,
    ),
    'LAMMPS': Requirement(
        re.compile(r'^LAMMPS \(([^)]+)\)', re.MULTILINE),
        '21 Nov 2023',
        '`pace/extrapolation` of older releases always gives the grade 0: build a newer LAMMPS, or use `pace-lmp`',
        is_known_bad=True,
    ),
    'python-ace': Requirement(
        re.compile(r'pacemaker/pyace version: (\S+)'),
        '0.4.0',
        'older versions are untested: install python-ace 0.4.0rc1 if problems occur',
    ),
    'tensorpotential': Requirement(
        re.compile(r'tensorpot_version: (\S+)'),
        '0.6.2',
        'older versions are untested: install tensorpotential 0.6.2.1 if problems occur',
    ),
    'pace-fit-linear': Requirement(
        re.compile(r'Start pace-fit-linear (\S+)'), '0.1.0', 'install the release of aiida-pace that runs here'
    ),
    'pace-evaluate': Requirement(
        re.compile(r'^pace-evaluate (\S+)', re.MULTILINE), '0.1.0', 'install the release of aiida-pace that runs here'
    ),
    'pace-swarm': Requirement(
        re.compile(r'^pace-swarm (\S+)', re.MULTILINE), '0.1.0', 'install the release of aiida-pace that runs here'
    ),
    'pace-embed': Requirement(
        re.compile(r'^pace-embed (\S+)', re.MULTILINE), '0.1.0', 'install the release of aiida-pace that runs here'
    ),
    'pace-select': Requirement(
        re.compile(r'^pace-select (\S+)', re.MULTILINE), '0.1.0', 'install the release of aiida-pace that runs here'
    ),
    'pace-label': Requirement(
        re.compile(r'^pace-label (\S+)', re.MULTILINE), '0.1.0', 'install the release of aiida-pace that runs here'
    ),
    'pace-lmp': Requirement(
        re.compile(r'^pace-lmp (\S+):', re.MULTILINE), '0.1.0', 'install the release of aiida-pace that runs here'
    ),
}


def judge_version(engine: str, text: str) -> VersionVerdict:
    """Return the verdict on the version of ``engine``, a key of `REQUIREMENTS`, in its output ``text``.

    A version that is missing, or cannot be compared, gives a warning only, because the engine did run.
    """
    requirement = REQUIREMENTS[engine]
    match = requirement.pattern.search(text)
    if match is None:
        return VersionVerdict('warning', '', f'{engine} did not print its version')
    version = match.group(1).strip()
    found, minimum = version_key(version), version_key(requirement.minimum)
    if found is None or minimum is None:
        return VersionVerdict('warning', version, f'the version `{version}` of {engine} cannot be compared')
    if found >= minimum:
        return VersionVerdict('ok', version)
    status: t.Literal['warning', 'failed'] = 'failed' if requirement.is_known_bad else 'warning'
    return VersionVerdict(
        status, version, f'{engine} {version} is older than {requirement.minimum}; {requirement.reason}'
    )


def version_key(version: str) -> tuple[int, ...] | None:
    """Return numbers that sort like the version: year, month, day of a date, else the parts; None without numbers.

    Text after the numbers (`rc1`, `MaX`, `+77.g9d7b0e4`) and zeros at the end do not count.
    """
    if (date := _DATE.match(version)) and date.group(2).lower() in MONTHS:
        return int(date.group(3)), MONTHS.index(date.group(2).lower()) + 1, int(date.group(1))
    numbers = _NUMBERS.match(version)
    if numbers is None:
        return None
    parts = [int(part) for part in numbers.group(1).split('.')]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)
