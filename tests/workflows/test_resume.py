"""A machine that dies in the middle of the labelling, and campaigns that are killed, for real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fixtures.sandbox import Sandbox

SCRIPTS = Path(__file__).parent / 'campaign'


@pytest.mark.engines
@pytest.mark.slow
def test_kill_and_resume(sandbox: Sandbox) -> None:
    """Daemon, worker and broker are killed during the labelling: after a restart every frame is labelled, and once."""
    sandbox.verdi('daemon', 'start')
    campaign = sandbox.run(SCRIPTS / 'submit.py').split()[-1]
    sandbox.run(SCRIPTS / 'wait.py', campaign, '0', 'label', '3')
    assert sandbox.kill_daemon() >= 3
    assert not sandbox.daemon()
    before = json.loads(sandbox.run(SCRIPTS / 'account.py', campaign))
    assert 3 <= before['labelled'] < 10, 'the kill came too late to be in the middle of the labelling'
    assert not before['terminated']

    sandbox.restart_daemon()
    sandbox.run(SCRIPTS / 'wait.py', campaign)
    after = json.loads(sandbox.run(SCRIPTS / 'account.py', campaign))
    assert after['exit_status'] in (0, 601), after['exit_message']
    assert after['requested'] == after['labelled'] == len(after['runs_per_frame'])
    assert set(after['runs_per_frame'].values()) == {1}
    # A job may have a follow-up, when more bands are needed, but none is there twice.
    assert set(after['jobs_per_iteration'].values()) == {1}
    assert len(set(after['label_uuids'])) == after['requested']


@pytest.mark.engines
@pytest.mark.slow
def test_kill_and_restart_from(sandbox: Sandbox) -> None:
    """Killed while it labels, explores, labels again, and gone on from each time: no more DFT than undisturbed."""
    sandbox.verdi('daemon', 'start')
    campaign = sandbox.run(SCRIPTS / 'submit.py').split()[-1]
    for place in (('0', 'label', '3'), ('1', 'explore'), ('2', 'label')):
        sandbox.run(SCRIPTS / 'wait.py', campaign, *place)
        sandbox.verdi('process', 'kill', '--timeout', '60', campaign)
        sandbox.run(SCRIPTS / 'wait.py', campaign)
        killed = json.loads(sandbox.run(SCRIPTS / 'account.py', campaign))
        assert killed['terminated']
        assert killed['exit_status'] is None, f'{place}: the kill came too late: {killed["exit_message"]}'
        campaign = sandbox.run(SCRIPTS / 'submit.py', campaign).split()[-1]
    sandbox.run(SCRIPTS / 'wait.py', campaign)
    disturbed = json.loads(sandbox.run(SCRIPTS / 'account.py', campaign))
    assert disturbed['exit_status'] in (0, 601), disturbed['exit_message']

    # Undisturbed, in the same profile: had it needed another frame, pw.x would have run again.
    campaign = sandbox.run(SCRIPTS / 'submit.py').split()[-1]
    sandbox.run(SCRIPTS / 'wait.py', campaign)
    undisturbed = json.loads(sandbox.run(SCRIPTS / 'account.py', campaign))
    assert undisturbed['label_uuids'] == disturbed['label_uuids']
    frames = len(set(undisturbed['label_uuids']))
    assert undisturbed['labelled'] == disturbed['labelled'] == frames >= 12
