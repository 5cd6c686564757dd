"""A machine that dies in the middle of the labelling, for real."""

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
    sandbox.run(SCRIPTS / 'wait.py', campaign, '3')
    assert sandbox.kill_daemon() >= 3
    assert not sandbox.daemon()
    before = json.loads(sandbox.run(SCRIPTS / 'account.py', campaign))
    assert 3 <= before['labelled'] < 10, 'the kill came too late to be in the middle of the labelling'
    assert not before['terminated']

    sandbox.verdi('daemon', 'start')
    sandbox.run(SCRIPTS / 'wait.py', campaign)
    after = json.loads(sandbox.run(SCRIPTS / 'account.py', campaign))
    assert after['exit_status'] in (0, 601), after['exit_message']
    assert after['requested'] == after['labelled'] == len(after['runs_per_frame'])
    assert set(after['runs_per_frame'].values()) == {1}
    # A job may have a follow-up, when more bands are needed, but none is there twice.
    assert set(after['jobs_per_iteration'].values()) == {1}
    assert len(set(after['label_uuids'])) == after['requested']
