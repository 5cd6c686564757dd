"""Labels that the profile has already: which are found, and how fast."""

from __future__ import annotations

import time

import numpy as np
import pytest
from aiida import orm
from ase import Atoms
from ase.build import bulk

from aiida_pace.calculations.functions.labels import frame_key, reuse_labels
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames
from aiida_pace.structures.fingerprint import exact_fingerprints
from aiida_pace.workflows.label.reuse import Settings, index_labels, reference_energies, stored_labels

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

SILICON = Settings('a', {'Si': 'one'})
BOTH = Settings('a', {'Si': 'one', 'C': 'two'})


def store(
    images: list[Atoms], settings: Settings, energy: float = -100.0, quarantined: bool = False
) -> AtomsDatasetData:
    """Return a stored data set of labelled frames; the force on every atom is that of its energy's sign along x."""
    frames = Frames.from_atoms(images)
    forces = np.zeros((len(frames.numbers), 3))
    forces[:, 0] = energy
    frames = frames.replace(
        energy=energy * frames.sizes, forces=forces, label_uuid=np.array([f'run-{energy}'] * len(frames))
    )
    node = AtomsDatasetData(frames).store()
    costs = {digest.hex(): 2.0 for digest in exact_fingerprints(frames)}
    index_labels(node, settings, costs, quarantined)
    return node


def cells(count: int, first: float = 5.0) -> list[Atoms]:
    return [bulk('Si', a=first + 0.01 * index) for index in range(count)]


def test_the_oldest_label_is_found() -> None:
    """Same frame, same settings: the first label is the origin, whatever repeated it since."""
    first = store(cells(3), SILICON, energy=-100.0)
    store(cells(3), SILICON, energy=-101.0)
    wanted = Frames.from_atoms([*cells(1, first=6.0), *cells(3)[::-1]])
    found = stored_labels(SILICON, wanted, [0, 1, 2])
    assert {index: (origin.dataset.pk, origin.row) for index, origin in found.items()} == {
        1: (first.pk, 2),
        2: (first.pk, 1),
    }
    assert found[1].core_seconds == 2.0


def test_other_settings_are_not_found() -> None:
    store(cells(3), SILICON)
    frames = Frames.from_atoms(cells(3))
    assert not stored_labels(Settings('b', SILICON.by_element), frames, range(3))
    assert not stored_labels(Settings('a', {'Si': 'other'}), frames, range(3))
    assert len(stored_labels(BOTH, frames, range(3))) == 3  # another element of the settings is not in these frames


def test_only_the_elements_of_a_frame_count() -> None:
    """Of a mixed data set the frames whose own pseudopotentials are the same are found."""
    images = [bulk('Si'), bulk('SiC', 'zincblende', a=4.4)]
    store(images, BOTH)
    found = stored_labels(Settings('a', {'Si': 'one', 'C': 'three'}), Frames.from_atoms(images), range(2))
    assert list(found) == [0]


def test_labels_from_elsewhere_are_not_found() -> None:
    """Nothing is known of the settings of an imported data set."""
    frames = Frames.from_atoms(cells(2)).replace(energy=np.zeros(2), forces=np.zeros((4, 3)))
    AtomsDatasetData(frames).store()
    assert not stored_labels(SILICON, frames, range(2))


def test_reuse_labels() -> None:
    """The labels of two data sets, in the order of the request; a wrong pick is refused."""
    one, other = store(cells(2), SILICON, -100.0), store(cells(2, first=5.5), SILICON, -200.0)
    dataset = AtomsDatasetData(Frames.from_atoms([cells(2)[1], bulk('Si', a=7), cells(1, 5.5)[0]], origin='new'))
    picks = {frame_key(2): ['other', 0], frame_key(0): ['one', 1]}
    labels = reuse_labels(dataset, orm.Dict(picks), one=one, other=other)
    frames = labels.frames
    assert frames.energy is not None
    assert frames.forces is not None
    assert frames.energy.tolist() == [-200.0, -400.0]
    assert frames.forces[:, 0].tolist() == [-100.0, -100.0, -200.0, -200.0]
    assert frames.label_uuid.tolist() == ['run--100.0', 'run--200.0']
    assert set(frames.origin) == {'new'}
    assert {link.link_label for link in labels.creator.base.links.get_incoming()} == {
        'dataset',
        'origins',
        'one',
        'other',
    }
    with pytest.raises(ValueError, match='not the same'):
        reuse_labels(dataset, orm.Dict({frame_key(0): ['one', 0]}), one=one)


def test_reference_energies() -> None:
    """The labels in the profile tell which of a few new labels is implausible; those in quarantine do not count."""
    store(cells(9), SILICON, energy=-105.0)
    store(cells(12, first=6.0), Settings('b', SILICON.by_element), energy=-500.0)
    store(cells(12, first=7.0), SILICON, energy=-900.0, quarantined=True)
    new = Frames.from_atoms(cells(2, first=4.0)).replace(energy=np.array([400.0, 400.0]), forces=np.zeros((4, 3)))
    references = reference_energies(SILICON, new)
    assert references is not None
    assert references[14] == pytest.approx(-105.0, abs=0.01)
    assert reference_energies(Settings('c', SILICON.by_element), new) is None


def test_thousands_of_labels_are_searched_in_no_time() -> None:
    """Well below the second of work that the event loop of the daemon may be held up for."""
    for number in range(40):
        store(cells(100, first=5.0 + number), SILICON)
    wanted = Frames.from_atoms([image for number in range(40) for image in cells(100, first=5.0 + number)[::20]])
    start = time.process_time()
    found = stored_labels(SILICON, wanted, range(len(wanted)))
    references = reference_energies(SILICON, wanted.replace(energy=np.zeros(200), forces=np.zeros((400, 3))))
    elapsed = time.process_time() - start
    assert len(found) == 200
    assert references is not None
    assert elapsed < 1.0
