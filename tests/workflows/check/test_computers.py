"""What is told of a computer without a job."""

from __future__ import annotations

import pytest
from aiida import orm

from aiida_pace.workflows.check.computers import check_computer, free_bytes, judge_disk

GNU = """\
Filesystem     1024-blocks      Used Available Capacity Mounted on
/dev/sda1        103081248  30000000  73064864      30% /
"""
#: A file system on a server and a mount point, both with blanks.
BLANKS = """\
Filesystem 1024-blocks Used Available Capacity Mounted on
//server/my files 2000 1500 500 75% /mnt/my work
"""


@pytest.mark.parametrize(
    ('output', 'expected'),
    [(GNU, 73064864 * 1024.0), (BLANKS, 500 * 1024.0), ('', None), ('df: /x: No such file or directory\n', None)],
)
def test_free_bytes(output: str, expected: float | None) -> None:
    assert free_bytes(output) == expected


@pytest.mark.parametrize(('free', 'status'), [(5e8, 'failed'), (5e9, 'warning'), (5e10, 'ok'), (None, 'warning')])
def test_judge_disk(free: float | None, status: str) -> None:
    check = judge_disk('cluster', '/scratch', free)
    assert check.status == status
    assert bool(check.remedy) == (status != 'ok')
    assert '/scratch' in check.found


@pytest.mark.usefixtures('aiida_profile_clean')
def test_processes_are_no_jobs(aiida_localhost: orm.Computer) -> None:
    """Without a queue, AiiDA lists all processes of the machine: their number says nothing."""
    checks, _ = check_computer(aiida_localhost, {})
    scheduler = next(check for check in checks if check.name == 'scheduler localhost')
    assert (scheduler.status, scheduler.found) == ('ok', '`core.direct` answers')


@pytest.mark.usefixtures('aiida_profile_clean')
def test_computer_that_cannot_be_reached() -> None:
    """One that was never configured: all its codes are out, and there is one sentence of what to do."""
    computer = orm.Computer(
        label='far', hostname='far.example', transport_type='core.ssh', scheduler_type='core.slurm', workdir='/scratch'
    ).store()
    code = orm.InstalledCode(label='lmp', computer=computer, filepath_executable='/opt/lmp').store()
    (check,), faults = check_computer(computer, {'lammps': code})
    assert check.status == 'failed'
    assert 'verdi computer' in check.remedy
    assert set(faults) == {'lammps'}
