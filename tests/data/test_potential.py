import hashlib
import math
import sys

import pytest
from aiida import orm
from aiida.common.exceptions import ModificationNotAllowed, ValidationError
from aiida.plugins import DataFactory

from aiida_pace.data.potential import AcePotentialData
from tests.fixtures.nodes import BBASIS, recorded_active_set, recorded_potential

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

YACE = (BBASIS / 'silicon.yace').read_bytes()


def test_entry_point() -> None:
    assert DataFactory('pace.potential') is AcePotentialData


def test_stored_potential_says_what_it_is_for() -> None:
    content = (BBASIS / 'silicon_carbide.yaml').read_bytes()
    node = orm.load_node(AcePotentialData(content, reference_energies={'Si': -1.5, 'C': -2, 'H': -3}).store().pk)
    assert node.elements == ['C', 'Si']
    assert node.cutoff == 5.0
    assert node.functions_per_element == {'C': 6, 'Si': 6}
    assert node.reference_energies == {'C': -2.0, 'Si': -1.5}
    assert node.digest == hashlib.sha256(content).hexdigest()
    assert node.get_yaml() == content
    assert 'C 6, Si 6' in repr(node)


def test_yace_is_optional() -> None:
    assert recorded_potential(yace=YACE).store().get_yace() == YACE
    node = recorded_potential().store()
    assert not node.has_yace
    with pytest.raises(ValueError, match='yace_code'):
        node.get_yace()


def test_hash_depends_on_content_and_reference_energies() -> None:
    hashes = [
        recorded_potential(reference_energies={'Si': energy}).store().base.caching.get_hash()
        for energy in (-1.0, -1.0, -2.0)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'yace': b'nonsense'}, 'yace'),
        ({'yace': YACE.replace(b'elements: [Si]', b'elements: [Ge]')}, 'for Ge, the B-basis file for Si'),
        ({'reference_energies': {'Ge': -1.0}}, 'lack Si'),
        ({'reference_energies': {'Si': math.nan}}, 'finite'),
    ],
)
def test_refuses_what_does_not_fit(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recorded_potential(**kwargs)


def test_refuses_what_is_no_potential() -> None:
    with pytest.raises(ValueError, match='not a B-basis'):
        AcePotentialData(b'elements: [Si]')


def test_stored_potential_is_immutable() -> None:
    node = recorded_potential().store()
    with pytest.raises(ModificationNotAllowed):
        node.base.repository.put_object_from_bytes(YACE, node.FILENAME_YACE)


def test_store_refuses_a_file_that_was_exchanged() -> None:
    node = recorded_potential()
    node.base.repository.delete_object(node.FILENAME)
    node.base.repository.put_object_from_bytes((BBASIS / 'silicon_carbide.yaml').read_bytes(), node.FILENAME)
    with pytest.raises(ValidationError, match='does not describe'):
        node.store()


def test_store_refuses_unknown_files() -> None:
    node = recorded_potential()
    node.base.repository.put_object_from_bytes(b'', 'other')
    with pytest.raises(ValidationError, match='at most'):
        node.store()


def test_calculator_says_that_its_engine_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'pyace', None)
    with pytest.raises(ImportError, match=r'python-ace.*non-commercial'):
        recorded_potential().get_calculator()


def test_calculator_refuses_the_active_set_of_another_potential() -> None:
    potential = recorded_potential()
    other = AcePotentialData(potential.get_yaml().replace(b'c: [0', b'c: [1'))
    with pytest.raises(ValueError, match='another potential'):
        potential.get_calculator(recorded_active_set(other))


def test_clone_can_be_stored_although_aiida_rounds_attributes() -> None:
    yaml = recorded_potential().get_yaml().replace(b'rcutij: 4.5', b'rcutij: 4.1234567890123456')
    node = AcePotentialData(yaml).store()
    clone = orm.load_node(node.pk).clone().store()
    assert clone.cutoff == pytest.approx(4.1234567890123456, abs=1e-9)
    assert clone.base.caching.get_hash() == node.base.caching.get_hash()
