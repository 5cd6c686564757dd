"""What can be told of computers without a job: whether they answer, their schedulers, disks and executables."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.common.escaping import escape_for_bash
from aiida.schedulers.plugins.direct import DirectScheduler
from aiida.transports import Transport

from aiida_pace.workflows.check.trial import Check

__all__ = ('check_computer', 'free_bytes', 'judge_disk')

#: Free bytes on the disk of the jobs: a run of pw.x on some 30 atoms leaves up to some 100 MB until it is cleaned.
DISK_FAILED, DISK_WARNING = 1e9, 1e10


def check_computer(computer: orm.Computer, codes: Mapping[str, orm.AbstractCode]) -> tuple[list[Check], dict[str, str]]:
    """Look at a computer over one connection.

    :param codes: the codes on it, by name.
    :returns: the checks, and what is wrong with each code that cannot run.
    """
    label = computer.label
    try:
        with computer.get_transport() as transport:
            checks = [
                Check(f'computer {label}', 'ok', f'connected as {transport.whoami()}'),
                _check_scheduler(computer, transport),
                _check_disk(computer, transport),
            ]
            faults = {name: fault for name, code in codes.items() if (fault := _missing(code, transport))}
    except Exception as exception:  # transports of other plugins raise what they like
        remedy = f'Try `verdi computer test {label}`, and correct `verdi computer configure`.'
        unreached = f'the computer `{label}` cannot be reached'
        return [
            Check(f'computer {label}', 'failed', f'{unreached}: {_one_line(exception)}', remedy=remedy)
        ], dict.fromkeys(codes, unreached)
    if checks[1].status == 'failed':
        faults = dict.fromkeys(codes, f'the scheduler of `{label}` does not answer') | faults
    return checks, faults


def _check_scheduler(computer: orm.Computer, transport: Transport) -> Check:
    """Ask the scheduler for our jobs, as the engine does while it waits for one."""
    name = f'scheduler {computer.label}'
    try:
        scheduler = computer.get_scheduler()
        scheduler.set_transport(transport)
        user = '$USER' if scheduler.get_feature('can_query_by_user') else None
        jobs = scheduler.get_jobs(user=user, as_dict=True)
    except Exception as exception:  # schedulers of other plugins raise what they like
        remedy = f'Try `verdi computer test {computer.label}`; is `{computer.scheduler_type}` its scheduler?'
        return Check(
            name, 'failed', f'`{computer.scheduler_type}` does not answer: {_one_line(exception)}', remedy=remedy
        )
    found = f'`{computer.scheduler_type}` answers'
    if not isinstance(scheduler, DirectScheduler):  # which lists processes, whosoever they are
        found = f'{found}, jobs of yours: {len(jobs)}'
    return Check(name, 'ok', found)


def _check_disk(computer: orm.Computer, transport: Transport) -> Check:
    """Ask how much is free where the jobs run."""
    workdir = computer.get_workdir().format(username=transport.whoami())
    try:
        transport.makedirs(workdir, ignore_existing=True)
    except OSError as exception:
        remedy = f'Correct the work directory: `verdi computer show {computer.label}`.'
        return Check(
            f'disk {computer.label}', 'failed', f'`{workdir}` cannot be made: {_one_line(exception)}', remedy=remedy
        )
    _, output, _ = transport.exec_command_wait(f'df -Pk {escape_for_bash(workdir)}')
    return judge_disk(computer.label, workdir, free_bytes(output))


def judge_disk(label: str, workdir: str, free: float | None) -> Check:
    """Return whether ``free`` bytes are enough; unknown is a warning."""
    name = f'disk {label}'
    if free is None:
        return Check(name, 'warning', f'`df` does not report the free space of `{workdir}`', remedy='Look yourself.')
    found = f'{free / 1e9:.1f} GB free in `{workdir}`'
    if free >= DISK_WARNING:
        return Check(name, 'ok', found)
    remedy = 'Remove old work directories with `verdi calcjob cleanworkdir`, or set another one for the computer.'
    return Check(name, 'failed' if free < DISK_FAILED else 'warning', found, remedy=remedy)


def free_bytes(output: str) -> float | None:
    """Return what ``df -Pk`` tells: free bytes of the last file system it names, None when it names none.

    The columns from the right are: mount point, share in use, free kilobytes; the first may hold blanks.
    """
    for line in reversed(output.strip().splitlines()[1:]):
        words = line.split()
        shares = [index for index, word in enumerate(words) if word.endswith('%')]
        if shares and shares[0] and words[shares[0] - 1].isdigit():
            return 1024.0 * int(words[shares[0] - 1])
    return None


def _missing(code: orm.AbstractCode, transport: Transport) -> str | None:
    """Return that the executable is not there; only an absolute path outside containers can be looked for."""
    if not isinstance(code, orm.InstalledCode) or isinstance(code, orm.ContainerizedCode):
        return None
    path = code.filepath_executable
    if not path.is_absolute() or transport.isfile(str(path)):
        return None
    return f'code `{code.full_label}` has no executable `{path}` on `{code.computer.label}`'


def _one_line(exception: Exception) -> str:
    """Return what an exception says without line breaks."""
    return ' '.join(str(exception).split()) or type(exception).__name__
