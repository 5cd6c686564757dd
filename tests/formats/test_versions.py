"""Versions of engines, from recorded output."""

from __future__ import annotations

import pytest

from aiida_pace.formats.versions import REQUIREMENTS, judge_version, version_key

#: First lines that the engines wrote, some of them years ago.
PW = '     Program PWSCF v.{} starts on 21Nov2026 at  7:11:26 \n'
LAMMPS = 'LAMMPS ({})\n  using 1 OpenMP thread(s) per MPI task\n'
PACEMAKER = """\
2026-11-21 07:15:12,670 I - Start pacemaker
2026-11-21 07:15:12,670 I - pacemaker/pyace version: {}
2026-11-21 07:15:12,670 I - ace_evaluator   version: 2024.7.4
2026-11-21 07:15:18,974 I - tensorpot_version: 0.6.2.1
"""


@pytest.mark.parametrize(
    ('engine', 'text', 'status', 'version'),
    [
        ('pw.x', PW.format('6.7MaX'), 'ok', '6.7MaX'),
        ('pw.x', PW.format('7.3.1'), 'ok', '7.3.1'),
        ('pw.x', PW.format('7.10'), 'ok', '7.10'),
        ('pw.x', PW.format('6.5'), 'failed', '6.5'),
        ('pw.x', PW.format('5.4.0'), 'failed', '5.4.0'),
        ('LAMMPS', LAMMPS.format('22 Jul 2025 - Update 4'), 'ok', '22 Jul 2025 - Update 4'),
        ('LAMMPS', LAMMPS.format('21 Nov 2023'), 'ok', '21 Nov 2023'),
        ('LAMMPS', LAMMPS.format('2 Aug 2023 - Update 3'), 'failed', '2 Aug 2023 - Update 3'),
        ('LAMMPS', LAMMPS.format('29 Sep 2021'), 'failed', '29 Sep 2021'),
        ('python-ace', PACEMAKER.format('0.4.0rc1'), 'ok', '0.4.0rc1'),
        ('python-ace', PACEMAKER.format('0.2.7+77.g9d7b0e4'), 'warning', '0.2.7+77.g9d7b0e4'),
        ('python-ace', PACEMAKER.format('unknown'), 'warning', 'unknown'),
        ('tensorpotential', PACEMAKER.format('0.4.0rc1'), 'ok', '0.6.2.1'),
        ('pace-fit-linear', '2026-11-21 07:15:12,670 I - Start pace-fit-linear 0.1.0\n', 'ok', '0.1.0'),
        ('pace-lmp', LAMMPS.format('22 Jul 2025') + 'pace-lmp 0.1.0: pace/extrapolation by pyace\n', 'ok', '0.1.0'),
        ('pace-evaluate', 'pace-evaluate 0.1.0\n', 'ok', '0.1.0'),
        ('pace-select', 'pace-select 0.1.0\n', 'ok', '0.1.0'),
    ],
)
def test_judged(engine: str, text: str, status: str, version: str) -> None:
    verdict = judge_version(engine, text)
    assert (verdict.status, verdict.version) == (status, version)
    assert bool(verdict.remark) == (status != 'ok')


@pytest.mark.parametrize('engine', REQUIREMENTS)
def test_a_version_that_is_not_told_is_a_warning(engine: str) -> None:
    verdict = judge_version(engine, 'bash: line 1: something: command not found\n')
    assert verdict.status == 'warning'
    assert engine in verdict.remark


@pytest.mark.parametrize('engine', REQUIREMENTS)
def test_the_table_can_be_compared(engine: str) -> None:
    assert version_key(REQUIREMENTS[engine].minimum) is not None


def test_order() -> None:
    """Releases as they came out."""
    dates = ['29 Sep 2021', '2 Aug 2023 - Update 3', '21 Nov 2023', '29 Aug 2024', '22 Jul 2025 - Update 4']
    numbers = ['5.4.0', '6.6', '6.7MaX', '7.0', '7.3.1', '7.10']
    for versions in (dates, numbers):
        keys = [version_key(version) for version in versions]
        assert keys == sorted(keys)
    assert version_key('0.4') == version_key('0.4.0rc1') == version_key('v0.4.0')
