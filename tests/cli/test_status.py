"""`aiida-pace status`, on graphs built by hand; what follows a campaign is a process of its own, as for a user."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine.daemon.client import DaemonClient
from aiida.manage import get_manager
from aiida.manage.configuration import get_config
from click.testing import CliRunner, Result

from aiida_pace.cli import cmd_root
from aiida_pace.cli.console import WIDTH
from aiida_pace.data.dataset import AtomsDatasetData
from tests.fixtures.campaigns import Campaign, dataset, end

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

COMMAND = [sys.executable, '-c', 'from aiida_pace.cli import cmd_root; cmd_root()', 'status', '--interval', '0.1']


def status(*arguments: t.Any) -> Result:
    return CliRunner().invoke(cmd_root, ['status', *map(str, arguments)], catch_exceptions=False)


def row(output: str, step: str) -> list[str]:
    """Return the cells of one row of the table."""
    (line,) = (line for line in output.splitlines() if re.match(rf'{step}  ', line))
    return line.split()[1:]


def flat(output: str) -> str:
    """Return the text without line breaks, colours and control sequences."""
    return ' '.join(re.sub(r'\x1b\[[0-9;?]*[a-zA-Z]', '', output).split())


@pytest.fixture
def follower() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a factory of running `aiida-pace status --follow`; what it left behind ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def factory(*arguments: t.Any, **kwargs: t.Any) -> subprocess.Popen[str]:
        profile = get_manager().get_profile()
        assert profile is not None
        command = [*COMMAND, '-p', profile.name, '--follow', *map(str, arguments)]
        # Who is started in the background ignores Ctrl-C, and so do all below: not what is tested here.
        kwargs = {'stdout': subprocess.PIPE, 'preexec_fn': heed_interrupts} | kwargs
        started.append(subprocess.Popen(command, text=True, **kwargs))
        return started[-1]

    yield factory
    for process in started:
        process.kill()
        process.wait()


def heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def lines_until(process: subprocess.Popen[str], text: str) -> str:
    """Return what the process writes, up to the line that holds ``text``."""
    assert process.stdout is not None
    seen = ''
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f'the process ended without {text!r}: {seen}')


def test_converged(campaign: Campaign) -> None:
    campaign.converge()
    result = status(campaign.node.pk)
    assert result.exit_code == 0
    assert row(result.output, 'initial') == ['5', '2', '2', '1', '0', '20', '187', '4']
    audit = ['161', '114-270', '3']
    assert row(result.output, 'cycle_01') == ['5', '0', '5', '0', '0', '100', '1/2', '187', *audit, '92', '6']
    assert row(result.output, 'cycle_02') == ['3', '0', '3', '0', '0', '60', '0/2', '1.9', '88', '60-160', '3', '6']
    assert row(result.output, 'total') == ['25', '2', '22', '1', '0', '340', '6']
    assert row(result.output, '  gates') == ['9', '0', '9', '0', '0', '100']
    assert 'converged after 3 cycles: 2 quiet rounds at the last stage; the audit error is 84 meV/Å' in result.output
    assert result.output.count('quiet rounds at the last stage') == 1
    assert 'Properties: all are within the tolerances' in result.output
    assert 'stage 1' not in result.output
    assert 'initial_label/lane_1/frame_00004' in result.output
    assert f'aiida-pace save-potential FOLDER --campaign {campaign.node.pk}' in result.output
    assert max(map(len, result.output.splitlines())) <= WIDTH
    assert '…' not in result.output


def test_running(campaign: Campaign) -> None:
    """A look at a campaign that runs is no failure."""
    campaign.enter('label')
    _, (lane, _) = campaign.label('initial', frames=14)
    for index in range(4):
        campaign.run_dft(lane, index, cause='the [SCF] did not converge' if index % 2 else None)
    result = status()
    assert result.exit_code == 0
    assert 'labelling with DFT · 4/14 DFT runs done, 2 failed' in result.output
    assert row(result.output, 'initial') == ['14', '0', '2', '2', '-', '-', '-', '0']
    assert 'frame_00001' in result.output
    assert 'and 1 more failed: the [SCF] did not converge' in result.output
    assert 'frame_00003' not in result.output
    assert 'frame_00003' in status('--verbose').output


def test_failed(campaign: Campaign) -> None:
    """The exit code is that of a failure, and the reader learns status, message and where to look further."""
    campaign.enter('label')
    campaign.labelled('initial', 2, ['boom'] * 6)
    end(campaign.node, 410, 'labelling failed in `initial`: 6 of 8 frames could not be labelled')
    result = status(campaign.node.uuid)
    assert result.exit_code == 1
    assert 'exit status 410: labelling failed in `initial`: 6 of 8 frames' in flat(result.output)
    assert f'verdi process report {campaign.node.pk}' in result.output
    assert 'save-potential' not in result.output
    assert row(result.output, 'initial')[:5] == ['8', '0', '2', '6', '0']
    assert f'`builder.restart_from = {campaign.node.pk}`' in result.output


@pytest.mark.parametrize(
    ('state', 'words'), [('excepted', 'was excepted: boom'), ('killed', 'was killed: stopped by hand')]
)
def test_died(campaign: Campaign, state: str, words: str) -> None:
    campaign.node.set_process_state(state)
    campaign.node.set_exception('boom')
    campaign.node.set_process_status('stopped by hand')
    result = status('--follow')
    assert result.exit_code == 1
    assert words in result.output


def test_verdict(campaign: Campaign) -> None:
    """Between two cycles the reader sees what the judge said, and the stage when there are several."""
    campaign.limits |= {'stages': 3, 'quiet_target': 1}
    campaign.explored('cycle_01', [1.0, 12.0])
    campaign.labelled('cycle_01', 3, audits=3)
    sentence = campaign.judged('cycle_01', (0.1612, None, None, 1), stages=3)
    campaign.enter('train', cycle=1)
    result = status()
    assert 'stage 2 of 3' in result.output
    assert f'Verdict of cycle 1: next stage: {sentence}' in flat(result.output)
    assert row(result.output, 'cycle_01')[-4:-1] == ['161', '-', '1']
    assert max(map(len, result.output.splitlines())) <= WIDTH


def test_not_converged(campaign: Campaign) -> None:
    """The reason is told once, in the words of the campaign, with what there is to do now."""
    campaign.explored('cycle_01', [1.0, 12.0])
    sentence = campaign.judged('cycle_01', (0.1612, 0.1143, 0.2704, 3), halted=1)
    campaign.trained('cycle_01', 0.1, 0.01)
    campaign.validated('cycle_01', ['diamond: the bulk modulus is 3 % off'])
    end(
        campaign.node,
        601,
        f'not converged after the largest number of cycles: {sentence}. The best potential is attached',
    )
    output = flat(status().output)
    assert output.count(sentence) == 1
    assert 'Property beyond its tolerance: diamond: the bulk modulus is 3 % off' in output
    assert 'Save the potential: `aiida-pace save-potential' in output


def test_check_failed(campaign: Campaign) -> None:
    """Every failed check is named, with its remedy; nothing is said of how to go on from nothing."""
    campaign.checked(lammps='it prints no grade', pace_embed='there is no executable')
    result = status()
    assert result.exit_code == 1
    for line in ('check `lammps` failed: it prints no grade. Mend lammps.', 'check `pace_embed` failed'):
        assert line in result.output
    assert 'restart_from' not in result.output


@pytest.mark.parametrize(
    ('phase', 'cycle', 'words'),
    [
        ('check', 0, 'checking that every code works'),
        ('generate', 0, 'initial set: choosing the structures'),
        ('audit', 2, 'cycle 2: auditing the potential'),
        ('validate', 2, 'cycle 2: comparing properties with DFT'),
    ],
)
def test_phases(campaign: Campaign, phase: str, cycle: int, words: str) -> None:
    campaign.enter(phase, cycle=cycle)
    assert f'\n{words}' in status().output


def test_many_causes(campaign: Campaign) -> None:
    """A campaign in which everything goes wrong, each time otherwise, does not flood the terminal."""
    campaign.enter('label')
    campaign.labelled('initial', 0, [f'cause {number}' for number in range(9)])
    output = status().output
    assert output.count('failed: cause') == 5
    assert '4 more causes of failure' in output
    assert status('--verbose').output.count('failed: cause') == 9


def test_paused(campaign: Campaign) -> None:
    campaign.enter('train')
    campaign.node.pause()
    campaign.node.set_process_status('Paused by the user')
    assert f'verdi process play {campaign.node.pk}' in flat(status().output)


def test_newest(campaign: Campaign) -> None:
    campaign.hand_over()
    newest = Campaign(given=7)
    result = status()
    assert f'Campaign {newest.node.pk} · submitted' in result.output
    assert '7 labels' in result.output


def test_refusals(campaign: Campaign) -> None:
    """One sentence that names what is wrong and the remedy."""
    other, _ = campaign.label('initial', frames=2)
    for identifier, words in {999999: 'not the PK or UUID of exactly one node', other.pk: 'is not a campaign'}.items():
        result = status(identifier)
        assert result.exit_code == 1
        assert words in result.output
        assert 'verdi process list -a' in result.output


def test_no_campaign() -> None:
    result = status()
    assert result.exit_code == 1
    assert 'has no campaign' in result.output


def test_follow_to_the_end(campaign: Campaign, follower: Callable[..., subprocess.Popen[str]]) -> None:
    """In a log: one line for every change, then the table; the changes are made while the follower runs."""
    campaign.enter('label')
    node, (lane, other) = campaign.label('initial', frames=2)
    process = follower(campaign.node.pk)
    lines_until(process, '0/2 DFT runs done')
    campaign.run_dft(lane, 0)
    lines_until(process, '1/2 DFT runs done')
    campaign.run_dft(other, 1, cause='boom')
    seen = lines_until(process, 'frame_00001')
    assert '2/2 DFT runs done, 1 failed' in seen
    campaign.returns(
        node, 'output_parameters', orm.Dict({'requested': 2, 'labelled': 1, 'failed': 1, 'core_seconds': 7})
    )
    campaign.returns(node, 'dataset', AtomsDatasetData(dataset(1).frames))
    end(node)
    campaign.trained('initial', 0.05, 0.001)
    campaign.enter('converged')
    end(campaign.node)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert row(output, 'initial') == ['2', '0', '1', '1', '0', '7', '50', '1']
    assert '\x1b' not in output


def test_follow_ends_with_the_exit_code_of_the_campaign(
    campaign: Campaign, follower: Callable[..., subprocess.Popen[str]]
) -> None:
    campaign.enter('explore', cycle=1)
    process = follower()
    lines_until(process, 'exploring with MD')
    end(campaign.node, 601, 'walkers still halted after 8 cycles')
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert 'exit status 601: walkers still halted after 8 cycles' in output


def test_ctrl_c(campaign: Campaign, follower: Callable[..., subprocess.Popen[str]]) -> None:
    """Ctrl-C ends the look at the campaign, not the campaign, and says so."""
    campaign.enter('train')
    process = follower(campaign.node.pk)
    lines_until(process, 'training')
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f'Campaign {campaign.node.pk} continues. Follow it again' in output
    assert not campaign.node.is_terminated


def test_terminal(campaign: Campaign, follower: Callable[..., subprocess.Popen[str]]) -> None:
    """In a terminal the campaign is shown in place; what stays in the end is the summary, once."""
    campaign.enter('label')
    campaign.label('initial', frames=4)
    ours, theirs = pty.openpty()
    process = follower(stdout=theirs, env=os.environ | {'TERM': 'xterm', 'COLUMNS': '100', 'LINES': '40'})
    os.close(theirs)
    seen = ''
    while '0/4 DFT runs done' not in seen:
        seen += os.read(ours, 4096).decode(errors='replace')
    campaign.enter('converged')
    end(campaign.node)
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # how Linux says that the other side has closed the terminal
            break
        if not chunk:
            break
        seen += chunk.decode(errors='replace')
    os.close(ours)
    assert process.wait(timeout=60) == 0
    assert '\x1b[2K' in seen, 'nothing was erased: the view was not shown in place'
    assert seen.count('Save the potential:') == 1


@pytest.fixture
def profile_with_broker(aiida_config: t.Any, aiida_profile_factory: Callable[..., t.Any]) -> Iterator[DaemonClient]:
    """Load an empty profile with a broker, of which no daemon runs."""
    with aiida_profile_factory(aiida_config, broker_backend='core.zeromq') as profile:
        yield DaemonClient(profile)


def test_no_daemon(profile_with_broker: DaemonClient, follower: Callable[..., subprocess.Popen[str]]) -> None:
    """Without a daemon nothing moves on: the reader learns the remedy, and the look goes on."""
    campaign = Campaign()
    campaign.enter('train')
    process = follower(campaign.node.pk)
    assert 'The daemon is not running: `verdi daemon start`' in lines_until(process, 'verdi daemon start')
    end(campaign.node)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert 'daemon' not in output


def test_dead_daemon(profile_with_broker: DaemonClient) -> None:
    """A daemon that was killed leaves its PID behind; it is not taken for one that runs."""
    campaign = Campaign()
    campaign.enter('train')
    path = Path(profile_with_broker.circus_pid_file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('999999999', encoding='utf8')
    try:
        output = flat(status().output)
    finally:
        path.unlink()
    assert 'The daemon was killed' in output
    assert 'verdi daemon start' in output


def test_workers_that_get_no_tasks(profile_with_broker: DaemonClient) -> None:
    """After a power cut a worker may wait at the socket of the broker that was killed: processes stand still."""
    campaign = Campaign()
    campaign.enter('train')
    pid = Path(profile_with_broker.circus_pid_file)
    broker = Path(get_config().filepaths(profile_with_broker.profile)['broker_service']['dir'])
    status_of_broker = {'running': True, 'pending_tasks': 8, 'processing_tasks': 0, 'task_subscribers': 0, 'pid': 1}
    for folder in (pid.parent, broker):
        folder.mkdir(parents=True, exist_ok=True)
    pid.write_text('1', encoding='utf8')  # a process that runs, and not since a moment ago
    (broker / 'broker.pid').write_text('aiida-zeromq-broker 1', encoding='utf8')
    try:
        for workers, is_told in ((0, True), (1, False)):
            content = json.dumps(status_of_broker | {'task_subscribers': workers})
            (broker / 'broker.status').write_text(content, encoding='utf8')
            assert ('No worker of the daemon is connected' in flat(status().output)) is is_told
    finally:
        pid.unlink()


def test_a_campaign_with_its_links_is_found_among_other_processes(campaign: Campaign) -> None:
    """A newer work chain of another kind is not a campaign."""
    campaign.enter('train')
    other = orm.WorkChainNode(process_type='aiida.workflows:pace.train.base')
    other.base.links.add_incoming(campaign.node, LinkType.CALL_WORK, 'initial_train')
    other.store()
    assert f'Campaign {campaign.node.pk} ' in status().output
