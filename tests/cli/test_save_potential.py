"""`aiida-pace save-potential`, with recorded potentials."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiida import orm
from aiida.common import LinkType
from click.testing import CliRunner, Result

from aiida_pace.cli import cmd_root
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.potential import AcePotentialData
from tests.fixtures.campaigns import Campaign, end
from tests.fixtures.nodes import BBASIS, recorded_active_set, recorded_posterior, recorded_potential

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

YACE = (BBASIS / 'silicon.yace').read_bytes()


def save(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cmd_root, ['save-potential', str(folder), *arguments], catch_exceptions=False)


@pytest.fixture
def potential() -> AcePotentialData:
    return recorded_potential(yace=YACE, reference_energies={'Si': -103.25}).store()


@pytest.fixture
def active_set(potential: AcePotentialData) -> AceActiveSetData:
    return recorded_active_set(potential).store()


def test_files(campaign: Campaign, potential: AcePotentialData, active_set: AceActiveSetData, tmp_path: Path) -> None:
    """The files are those of the nodes, byte by byte, and the reader gets the lines for LAMMPS."""
    campaign.converge(potential=potential, active_set=active_set)
    folder = tmp_path / 'a' / 'potential'
    result = save(folder)
    assert result.exit_code == 0
    assert (folder / 'potential.yaml').read_bytes() == potential.get_yaml()
    assert (folder / 'potential.yace').read_bytes() == YACE
    assert (folder / 'active_set.asi').read_bytes() == active_set.get_asi()
    for text in (result.output, (folder / 'README.md').read_text()):
        assert 'pair_style pace\n' in text
        assert 'pair_coeff * * potential.yace Si' in text
    readme = (folder / 'README.md').read_text()
    assert 'pair_coeff * * potential.yaml active_set.asi Si' in readme
    assert 'Si -103.250000 eV' in readme
    assert 'never trained on: 84 meV/Å (95 % interval 64-120, 6 frames)' in readme
    assert 'on 6 labelled frames; RMSE on these frames: forces 92 meV/Å, energies 4.2 meV/atom' in readme
    assert potential.uuid in readme
    assert str(folder) in result.output


def test_posterior(campaign: Campaign, potential: AcePotentialData, tmp_path: Path) -> None:
    """That of the fit that made the potential; another potential has none, and must not stand beside it."""
    linear = recorded_potential('silicon_carbide')
    posterior = recorded_posterior(linear)
    fit = orm.CalcJobNode(process_type='aiida.calculations:pace.train').store()
    for label, node in (('potential', linear), ('posterior', posterior)):
        node.base.links.add_incoming(fit, link_type=LinkType.CREATE, link_label=label)
        node.store()
    campaign.hand_over(potential=linear)
    assert save(tmp_path).exit_code == 0
    assert (tmp_path / 'posterior.npz').read_bytes() == posterior.get_content()
    line = 'pace-evaluate frames.npz potential.yaml --posterior posterior.npz'
    assert line in (tmp_path / 'README.md').read_text()
    Campaign().hand_over(potential=potential)
    assert 'posterior.npz belongs to another potential' in save(tmp_path).output
    assert save(tmp_path / 'other').exit_code == 0
    assert line not in (tmp_path / 'other' / 'README.md').read_text()


def test_again(campaign: Campaign, potential: AcePotentialData, tmp_path: Path) -> None:
    """A second call, after another campaign, replaces the files."""
    campaign.hand_over(potential=potential)
    assert save(tmp_path).exit_code == 0
    newer = recorded_potential('silicon', reference_energies={'Si': -1.0}, yace=YACE).store()
    Campaign().hand_over(potential=newer)
    assert save(tmp_path).exit_code == 0
    assert newer.uuid in (tmp_path / 'README.md').read_text()
    assert save(tmp_path, '--campaign', str(campaign.node.pk)).exit_code == 0
    assert potential.uuid in (tmp_path / 'README.md').read_text()


def test_never_beside_files_of_another_potential(
    campaign: Campaign, potential: AcePotentialData, tmp_path: Path
) -> None:
    """An old yace beside a new yaml would be taken for its twin."""
    campaign.hand_over(potential=potential)
    assert save(tmp_path).exit_code == 0
    Campaign().hand_over(potential=recorded_potential('silicon_carbide').store())
    result = save(tmp_path)
    assert result.exit_code == 1
    assert 'potential.yace belongs to another potential' in result.output
    assert (tmp_path / 'potential.yaml').read_bytes() == potential.get_yaml()


def test_without_yace(campaign: Campaign, tmp_path: Path) -> None:
    """LAMMPS then reads the yaml, with the active set; elements in the order of the potential."""
    potential = recorded_potential('silicon_carbide').store()
    campaign.hand_over(potential=potential, active_set=recorded_active_set(potential).store())
    result = save(tmp_path)
    assert 'pair_coeff * * potential.yaml active_set.asi C Si' in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ['README.md', 'active_set.asi', 'potential.yaml']


def test_of_a_campaign_that_died(
    campaign: Campaign, potential: AcePotentialData, active_set: AceActiveSetData, tmp_path: Path
) -> None:
    """What it trained last is saved, though the campaign never handed it over; of a failed training nothing is."""
    campaign.labelled('initial', 3)
    campaign.trained('initial', 0.2, 0.02, potential=recorded_potential().store())
    campaign.trained('cycle_01', 0.1, 0.01, potential=potential, active_set=active_set)
    end(campaign.trained('cycle_02', 0.1, 0.01, potential=recorded_potential().store()), 410, 'no active set')
    campaign.node.set_process_state('excepted')
    result = save(tmp_path)
    assert result.exit_code == 0
    assert 'has not converged' in result.output
    assert potential.uuid in (tmp_path / 'README.md').read_text()
    assert (tmp_path / 'active_set.asi').exists()


def test_what_is_said_is_of_the_potential_handed_over(
    campaign: Campaign, potential: AcePotentialData, tmp_path: Path
) -> None:
    """When an earlier potential is the best one, the errors of the last fit are not its errors."""
    campaign.trained('initial', 0.2, 0.02, frames=5, potential=potential)
    campaign.judged('cycle_01', (0.15, 0.1, 0.2, 4), potential=potential.uuid)
    campaign.trained('cycle_01', 0.1, 0.01, frames=7, potential=recorded_potential().store())
    campaign.judged('cycle_02', (0.3, 0.2, 0.4, 4), potential='worse')
    gates = orm.Dict({'passed': False, 'failed': ['bulk modulus 3 % off']})
    campaign.hand_over(potential=potential, gates=gates)
    assert save(tmp_path).exit_code == 0
    readme = (tmp_path / 'README.md').read_text()
    assert 'Trained in `initial`, on 5 labelled frames; RMSE on these frames: forces 200 meV/Å' in readme
    assert 'never trained on: 150 meV/Å (95 % interval 100-200, 4 frames)' in readme
    assert 'Properties against DFT: bulk modulus 3 % off' in readme


def test_of_a_campaign_that_goes_on_from_another(
    campaign: Campaign, potential: AcePotentialData, tmp_path: Path
) -> None:
    """Until it has trained itself, its potential is that of the other."""
    campaign.judged('cycle_01', (0.15, 0.1, 0.2, 4))
    campaign.trained('cycle_01', 0.1, 0.01, potential=potential)
    campaign.node.set_process_state('killed')
    Campaign(restart_from=campaign.node)
    assert save(tmp_path).exit_code == 0
    assert potential.uuid in (tmp_path / 'README.md').read_text()


def test_nothing_to_save(campaign: Campaign, tmp_path: Path) -> None:
    campaign.enter('label')
    result = save(tmp_path / 'folder')
    assert result.exit_code == 1
    assert 'has no potential: wait for the first training' in result.output
    assert not (tmp_path / 'folder').exists()


def test_folder_that_cannot_be_made(campaign: Campaign, potential: AcePotentialData, tmp_path: Path) -> None:
    campaign.hand_over(potential=potential)
    (tmp_path / 'file').write_text('in the way')
    result = save(tmp_path / 'file' / 'folder')
    assert result.exit_code == 1
    assert 'give another folder' in result.output
    assert (tmp_path / 'file').read_text() == 'in the way'
