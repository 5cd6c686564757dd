import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from aiida import orm
from aiida.common.exceptions import ModificationNotAllowed, ValidationError
from aiida.plugins import DataFactory

from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames, FramesError
from tests.fixtures.frames import assert_identical, random_frames

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


def stored(frames: Frames) -> AtomsDatasetData:
    return AtomsDatasetData(frames).store()


def test_entry_point() -> None:
    assert DataFactory('pace.dataset') is AtomsDatasetData


def test_stored_frames_are_bit_identical() -> None:
    frames = random_frames((2, 1, 3), labelled=True, graded=True)
    loaded = orm.load_node(stored(frames).pk)
    assert loaded.frames.offsets.tobytes() == frames.offsets.tobytes()
    assert loaded.frames.columns().keys() == frames.columns().keys()
    for name, column in frames.columns().items():
        assert loaded.frames.columns()[name].tobytes() == column.tobytes(), name


def test_frames_are_read_when_first_asked_for_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    node = orm.load_node(stored(random_frames()).pk)
    reads = []
    load = Frames.load
    monkeypatch.setattr(Frames, 'load', lambda source: reads.append(source) or load(source))
    assert node.count == 3
    assert reads == []
    assert node.frames is node.frames
    assert len(reads) == 1


def test_attributes_describe_the_set_and_can_be_queried() -> None:
    frames = random_frames((2, 1), labelled=True).replace(numbers=[14, 6, 14])
    pk = stored(frames).pk
    stored(random_frames((1,)))
    filters = (AtomsDatasetData.fields.count > 1) & AtomsDatasetData.fields.elements.contains(['C'])
    node = orm.QueryBuilder().append(AtomsDatasetData, filters=filters).one()[0]
    assert node.pk == pk
    assert node.count == 2
    assert node.atoms_count == 3
    assert node.elements == ['C', 'Si']
    assert node.element_counts == {'C': 1, 'Si': 2}
    assert node.is_labelled
    assert node.schema_version == 1
    assert 'C, Si' in repr(node)


def test_unlabelled_set_says_so() -> None:
    assert not stored(random_frames()).is_labelled


def test_same_frames_have_the_same_hash_other_frames_another() -> None:
    frames = random_frames((2, 1), labelled=True)
    hashes = [
        stored(given).base.caching.get_hash()
        for given in (
            frames,
            Frames.from_atoms(list(frames)),
            Frames.concatenate([frames, random_frames((4,), labelled=True, seed=2)]).take([0, 1]),
            frames.replace(energy=np.nextafter(frames.energy, 1)),
        )
    ]
    assert hashes[0] == hashes[1] == hashes[2] != hashes[3]


def test_refuses_an_empty_set() -> None:
    with pytest.raises(FramesError, match='at least one'):
        AtomsDatasetData(random_frames(()))


def test_refuses_a_frame_that_is_there_twice() -> None:
    with pytest.raises(FramesError, match=r'1 frames repeat.*frame 2'):
        AtomsDatasetData(random_frames((2, 1)).take([0, 1, 0]))


def test_stored_node_is_immutable() -> None:
    node = stored(random_frames())
    with pytest.raises(ModificationNotAllowed):
        node.base.attributes.set('count', 4)
    with pytest.raises(ModificationNotAllowed):
        node.base.repository.put_object_from_bytes(b'', AtomsDatasetData.FILENAME)
    with pytest.raises(ValueError, match='read-only'):
        node.frames.positions[0, 0] = 0


def replaced(node: AtomsDatasetData, content: bytes) -> AtomsDatasetData:
    node.base.repository.delete_object(node.FILENAME)
    node.base.repository.put_object_from_bytes(content, node.FILENAME)
    return node


def test_store_refuses_a_file_that_was_exchanged() -> None:
    stream = io.BytesIO()
    random_frames((2, 2)).save(stream)
    with pytest.raises(ValidationError, match='does not describe'):
        replaced(AtomsDatasetData(random_frames((2, 1))), stream.getvalue()).store()


def test_store_refuses_a_damaged_file() -> None:
    with pytest.raises(ValidationError, match='archive of frames'):
        replaced(AtomsDatasetData(random_frames()), b'not an archive').store()


def test_store_refuses_duplicates_put_in_behind_the_constructor() -> None:
    stream = io.BytesIO()
    random_frames((1,)).take([0, 0]).save(stream)
    with pytest.raises(ValidationError, match='repeat an earlier one'):
        replaced(AtomsDatasetData(random_frames((1, 1))), stream.getvalue()).store()


def test_store_refuses_further_files() -> None:
    node = AtomsDatasetData(random_frames())
    node.base.repository.put_object_from_bytes(b'', 'other')
    with pytest.raises(ValidationError, match='alone'):
        node.store()


def test_clone_is_an_equal_unstored_node() -> None:
    node = stored(random_frames())
    clone = node.clone()
    assert not clone.is_stored
    assert clone.store().base.caching.get_hash() == node.base.caching.get_hash()


@pytest.mark.parametrize('suffix', ['.xyz', '.extxyz', '.db'])
def test_exported_file_makes_an_equal_node(tmp_path: Path, suffix: str) -> None:
    node = stored(random_frames((2, 1, 3), labelled=True, graded=True))
    path = tmp_path / f'frames{suffix}'
    assert orm.load_node(node.pk).export(str(path)) == [str(path)]
    back = AtomsDatasetData.from_file(path, guards=False)
    assert not back.is_stored
    assert_identical(back.frames, node.frames)
    assert back.store().base.caching.get_hash() == node.base.caching.get_hash()


def test_export_for_pacemaker(tmp_path: Path) -> None:
    node = stored(random_frames((2, 1), labelled=True))
    node.export(str(tmp_path / 'frames.pckl.gzip'))
    dataframe = pd.read_pickle(tmp_path / 'frames.pckl.gzip', compression='gzip')
    assert dataframe['energy'].tolist() == node.frames.energy.tolist()
    with pytest.raises(OSError, match='already'):
        node.export(str(tmp_path / 'frames.pckl.gzip'))


def test_from_file_takes_all_frames_or_none(tmp_path: Path) -> None:
    path = tmp_path / 'frames.xyz'
    stored(random_frames((2, 1))).export(str(path))
    path.write_text(path.read_text() + '1\n\nQq 0 0 0\n')
    with pytest.raises(
        FramesError, match=r'frames refused: 1, such as frame 2 \(unknown element `Qq`, line 10: `Qq 0 0 0`\)'
    ):
        AtomsDatasetData.from_file(path)
    stored(random_frames((3,))).export(str(path), overwrite=True)
    with pytest.raises(FramesError, match='no energy and forces'):
        AtomsDatasetData.from_file(path, labelled=True)
    assert AtomsDatasetData.from_file(path).count == 1
