"""Labels from Quantum ESPRESSO: their settings, their cost, and which runs deserve a second, more careful try."""

from __future__ import annotations

import typing as t

import numpy as np
import pytest
from aiida import orm
from aiida.plugins import DataFactory
from ase.build import bulk

from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames
from aiida_pace.workflows.label.quantumespresso import PwLabeller, collect_trajectories, has_scf_failed, is_cached
from tests.fixtures.campaigns import Campaign
from tests.fixtures.dft import PSEUDOS


@pytest.mark.parametrize(
    ('statuses', 'expected'),
    [
        ([410], True),  # the SCF did not converge
        ([410, 410], True),
        ([462, 463], True),  # the diagonalisation failed
        ([400, 410], True),
        ([400], False),  # out of walltime
        ([410, 340], False),  # the last word is that of the clock
        ([305], False),  # no output: killed, or never started
        ([120], False),  # the scheduler refused it
        ([], False),
    ],
)
def test_which_failures_are_those_of_the_scf(campaign: Campaign, statuses: list[int], expected: bool) -> None:
    run = campaign.call(campaign.node, 'frame_00000', status=401)
    for number, status in enumerate(statuses):
        campaign.call(run, f'iteration_{number:02d}', orm.CalcJobNode, status=status)
    assert has_scf_failed(run) is expected


def test_what_did_not_finish_is_not_tried_again(campaign: Campaign) -> None:
    assert not has_scf_failed(None)
    run = campaign.call(campaign.node, 'frame_00000')
    campaign.call(run, 'iteration_01', orm.CalcJobNode, status=410)
    run.set_process_state('killed')
    assert not has_scf_failed(run)


def test_cached_means_that_nothing_ran(campaign: Campaign) -> None:
    lane = campaign.call(campaign.node, 'lane_1')
    cached, computed = campaign.run_dft(lane, 0, cached=True), campaign.run_dft(lane, 1)
    assert is_cached(cached)
    assert not is_cached(computed)
    assert not is_cached(lane)


@pytest.mark.usefixtures('aiida_profile_clean')
def test_collect_labels_keeps_the_last_step() -> None:
    """A trajectory may hold several steps: the last one is the frame's."""
    dataset = AtomsDatasetData(Frames.from_atoms([bulk('Si'), bulk('Si', a=5.9)]))
    trajectory = orm.ArrayData()
    trajectory.set_array('energy', np.array([-1.0, -2.0]))
    trajectory.set_array('forces', np.stack([np.zeros((2, 3)), np.ones((2, 3))]))
    trajectory.set_array('stress', np.stack([np.zeros((3, 3)), np.eye(3)]))
    picks = orm.Dict({'frame_00001': ['frame_00001', 0]})
    labelled = collect_trajectories(dataset, picks, frame_00001=trajectory)['dataset'].frames
    assert len(labelled) == 1
    assert labelled.energy is not None
    assert labelled.energy[0] == -2.0
    np.testing.assert_array_equal(labelled.positions, dataset.frames.take([1]).positions)
    assert labelled.label_uuid[0] == trajectory.uuid


@pytest.mark.usefixtures('aiida_profile_clean')
def test_settings_by_content(label_inputs: t.Callable[..., dict[str, t.Any]]) -> None:
    """Other nodes of the same content are the same settings; another pseudopotential, or how it is run, is told."""
    inputs, again = label_inputs()['pw'], label_inputs()['pw']
    assert inputs['pw']['pseudos']['Si'].uuid != again['pw']['pseudos']['Si'].uuid
    before = PwLabeller(inputs).settings
    again['pw']['settings'] = orm.Dict({'CMDLINE': ['-ndiag', '1']})
    again['max_iterations'] = orm.Int(2)
    again['kpoints_force_parity'] = orm.Bool(False)
    assert PwLabeller(again).settings == before
    upf = DataFactory('pseudo.upf')
    again['pw']['pseudos'] = {'Si': upf(PSEUDOS / 'Si.pbe-rrkj.UPF', filename='Si.upf')}
    assert PwLabeller(again).settings.digest == before.digest
    assert PwLabeller(again).settings.by_element != before.by_element
    for port, value in (('kpoints_distance', orm.Float(0.5)), ('kpoints_force_parity', orm.Bool(True))):
        assert PwLabeller({**inputs, port: value}).settings.digest != before.digest
    assert PwLabeller({**inputs, 'pw': {**inputs['pw'], 'settings': orm.Dict({'gamma_only': True})}}).settings != before
