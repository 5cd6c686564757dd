"""Which DFT runs deserve a second, more careful try."""

from __future__ import annotations

import pytest
from aiida import orm

from aiida_pace.workflows.label.quantumespresso import has_scf_failed, is_cached
from tests.fixtures.campaigns import Campaign


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
    assert is_cached([cached])
    assert not is_cached([cached, computed])
    assert not is_cached([])
