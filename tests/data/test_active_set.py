import numpy as np
import pytest
from aiida import orm
from aiida.common.exceptions import ModificationNotAllowed, ValidationError
from aiida.plugins import DataFactory

from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.potential import AcePotentialData
from tests.fixtures.nodes import asi_bytes, recorded_active_set, recorded_potential

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


def test_entry_point() -> None:
    assert DataFactory('pace.active_set') is AceActiveSetData


def test_stored_set_says_what_it_is_for() -> None:
    potential = recorded_potential('silicon_carbide')
    content = asi_bytes(Si=2 * np.eye(6), C=np.eye(6))
    node = orm.load_node(AceActiveSetData(content, potential=potential).store().pk)
    assert node.elements == ['C', 'Si']
    assert node.ranks == {'C': 6, 'Si': 6}
    assert node.potential_digest == potential.digest
    assert node.get_asi() == content


def test_matches_only_the_potential_it_was_made_for() -> None:
    potential = recorded_potential()
    same_basis = AcePotentialData(potential.get_yaml().replace(b'c: [0', b'c: [1'))
    shifted = recorded_potential(reference_energies={'Si': -1.0})
    node = recorded_active_set(potential)
    assert node.matches(potential)
    assert node.matches(shifted)  # grades do not depend on the energy of the atom
    assert not node.matches(same_basis)


@pytest.mark.parametrize(
    ('asi', 'message'),
    [
        (b'', 'not an active set'),
        (b'text', 'not an active set'),
        (asi_bytes(), 'empty'),
        (asi_bytes(Si=np.eye(7)), r"ranks \{'Si': 7\}"),
        (asi_bytes(Ge=np.eye(8)), 'ranks'),
        (asi_bytes(Si=np.eye(8), C=np.eye(8)), 'ranks'),
        (asi_bytes(Si=np.ones((8, 9))), 'square'),
        (asi_bytes(Si=np.ones(8)), 'square'),
        (asi_bytes(Si=np.full((8, 8), np.nan)), 'not finite'),
        (asi_bytes(Si=np.array([object()])), 'not an active set'),  # would have to be unpickled
    ],
)
def test_refuses_what_is_no_active_set_of_the_potential(asi: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AceActiveSetData(asi, potential=recorded_potential())


def test_same_content_has_the_same_hash() -> None:
    hashes = {recorded_active_set(recorded_potential()).store().base.caching.get_hash() for _ in range(2)}
    assert len(hashes) == 1


def test_stored_set_is_immutable() -> None:
    node = recorded_active_set(recorded_potential()).store()
    with pytest.raises(ModificationNotAllowed):
        node.base.attributes.set('potential_digest', 'x')


def test_store_refuses_a_file_that_was_exchanged() -> None:
    node = recorded_active_set(recorded_potential())
    node.base.repository.delete_object(node.FILENAME)
    node.base.repository.put_object_from_bytes(asi_bytes(Si=np.eye(7)), node.FILENAME)
    with pytest.raises(ValidationError, match='does not describe'):
        node.store()
