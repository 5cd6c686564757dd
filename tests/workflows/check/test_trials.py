"""Trials: one for each code of a campaign, with the campaign's own options."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Iterator

import pytest
from aiida import orm
from plumpy import PortNamespace

from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.workflows.active_learning import ActiveLearningWorkChain
from aiida_pace.workflows.check.base import CheckWorkChain
from aiida_pace.workflows.check.trial import JobTrial, LabelTrial
from aiida_pace.workflows.check.trials import CODES, TRIALS
from aiida_pace.workflows.label.quantumespresso import PwTrial
from tests.fixtures.frames import random_frames
from tests.fixtures.jobs import finished_job

JOB_TRIALS = [trial for trial in TRIALS if isinstance(trial, JobTrial)]


def code_ports(ports: PortNamespace, path: str = '') -> Iterator[str]:
    """Yield the paths of the ports that take a code."""
    for name, port in ports.items():
        if isinstance(port, PortNamespace):
            yield from code_ports(port, f'{path}{name}.')
        else:
            kinds = port.valid_type if isinstance(port.valid_type, tuple) else (port.valid_type,)
            if any(isinstance(kind, type) and issubclass(kind, orm.AbstractCode) for kind in kinds):
                yield f'{path}{name}'


def test_every_code_of_a_campaign_has_a_trial_and_every_trial_a_code() -> None:
    ports = [port for ports in CODES.values() for port in ports]
    assert sorted(ports) == sorted(code_ports(ActiveLearningWorkChain.spec().inputs))


def test_trials_have_names_of_their_own() -> None:
    assert list(CODES) == [trial.name for trial in TRIALS]
    assert {trial.host for trial in TRIALS} - {''} <= {trial.name for trial in JOB_TRIALS}


@pytest.mark.parametrize('output', ['potential', 'active_set'])
def test_what_a_trial_waits_for_is_made_before(output: str) -> None:
    (maker,) = [trial for trial in JOB_TRIALS if trial.makes == output]
    waiting = [trial for trial in JOB_TRIALS if trial.awaits == output]
    assert waiting
    assert all(TRIALS.index(maker) < TRIALS.index(trial) for trial in waiting)


@pytest.mark.parametrize('trial', JOB_TRIALS, ids=lambda trial: trial.name)
def test_the_check_fills_what_it_does_not_ask_for(trial: JobTrial) -> None:
    """Each required port of the job is one of the campaign's, or filled by the check itself."""
    ports: t.Any = CheckWorkChain.spec().inputs
    for name in trial.namespace.split('.'):
        ports = ports[name]
    assert set(trial.own).isdisjoint(ports)
    assert {*ports, *trial.own} >= {name for name, port in trial.process.spec().inputs.items() if port.required}


def test_only_labels_and_boxes_can_be_left_out() -> None:
    assert {trial.name for trial in JOB_TRIALS if trial.is_optional} == {
        'pace_embed',
        *(trial.name for trial in TRIALS if isinstance(trial, LabelTrial)),
    }


#: What Open MPI and bash wrote.
ROOT = """
--------------------------------------------------------------------------
mpirun has detected an attempt to run as root.

Running as root is *strongly* discouraged as any mistake (e.g., in
defining TMPDIR) or bug can result in catastrophic damage to the OS
--------------------------------------------------------------------------
"""
SHELL = '_aiidasubmit.sh: line 9: mpirun: command not found\n'
KILLED = 'step 3\n_aiidasubmit.sh: line 9: 4711 Killed  /opt/pw.x\n'
OTHER = 'tar: unknown option\n-----\n'


@pytest.mark.usefixtures('aiida_profile_clean')
@pytest.mark.parametrize(
    ('stderr', 'words', 'remedy'),
    [
        (ROOT, 'mpirun has detected an attempt to run as root.', 'without MPI'),
        (SHELL, SHELL.strip(), 'without MPI'),
        (KILLED, '_aiidasubmit.sh: line 9: 4711 Killed  /opt/pw.x', 'Give the job more memory'),
        (OTHER, 'tar: unknown option', 'Make sure that the code `pw@localhost` runs `pw.x` of Quantum ESPRESSO'),
    ],
)
def test_remedies_follow_from_what_was_printed(
    stderr: str, words: str, remedy: str, aiida_localhost: orm.Computer
) -> None:
    code = orm.InstalledCode(label='pw', computer=aiida_localhost, filepath_executable='/opt/pw.x').store()
    files = {'_scheduler-stderr.txt': stderr.encode()}
    node = finished_job('quantumespresso.pw', aiida_localhost, inputs={'code': code}, retrieved=files)
    check = PwTrial().judge(node)
    assert check.status == 'failed'
    assert check.found.endswith(f'; the executable is `/opt/pw.x`, it printed "{words}"')
    assert remedy in check.remedy
    assert f'`verdi calcjob outputcat {node.pk} _scheduler-stderr.txt`' in check.remedy


@pytest.mark.usefixtures('aiida_profile_clean')
def test_options_are_those_of_the_campaign(pace_code: Callable[[str, str], orm.InstalledCode]) -> None:
    """What a queue refuses in the campaign it must refuse in the check."""
    (trial,) = [trial for trial in JOB_TRIALS if trial.name == 'pace_evaluate']
    options = {'max_wallclock_seconds': 43200, 'queue_name': 'long', 'resources': {'num_machines': 2}}
    given = {'code': pace_code('pace.evaluate', 'pace-evaluate'), 'metadata': {'options': options}}
    made = dict.fromkeys(('potential', 'active_set')) | {'pool': AtomsDatasetData(random_frames())}
    metadata = trial.job_inputs(given, made)['metadata']
    assert metadata['options'].items() >= options.items()
    assert metadata['disable_cache']
    assert given['metadata'] == {'options': options}
