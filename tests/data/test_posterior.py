import numpy as np
import pytest
from aiida import orm
from aiida.common.exceptions import ModificationNotAllowed, ValidationError
from aiida.plugins import DataFactory

from aiida_pace.data.posterior import AcePosteriorData
from aiida_pace.data.potential import AcePotentialData
from tests.fixtures.nodes import posterior_bytes, recorded_posterior, recorded_potential

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


def test_entry_point() -> None:
    assert DataFactory('pace.posterior') is AcePosteriorData


def test_stored_posterior_says_what_it_is_for() -> None:
    potential = recorded_potential('silicon_carbide')
    content = posterior_bytes(potential.digest, Si=6, C=6)
    node = orm.load_node(AcePosteriorData(content, potential=potential).store().pk)
    assert node.elements == ['C', 'Si']
    assert node.functions_per_element == {'C': 6, 'Si': 6}
    assert node.potential_digest == potential.digest
    assert node.get_content() == content
    posterior = node.get_posterior()
    assert list(posterior.sites) == ['Si', 'C']  # the order of the coefficients
    assert posterior.sigma(np.eye(12)) == pytest.approx(0.1)


def test_matches_only_the_potential_it_was_made_with() -> None:
    potential = recorded_potential()
    node = recorded_posterior(potential)
    assert node.matches(potential)
    assert node.matches(recorded_potential(reference_energies={'Si': -1.0}))
    assert not node.matches(AcePotentialData(potential.get_yaml().replace(b'c: [0', b'c: [1')))


@pytest.mark.parametrize('content', [b'', b'text'])
def test_refuses_what_is_no_posterior(content: bytes) -> None:
    with pytest.raises(ValueError, match='not a posterior of pace-fit-linear'):
        AcePosteriorData(content, potential=recorded_potential())


def test_refuses_that_of_another_potential() -> None:
    potential = recorded_potential()
    with pytest.raises(ValueError, match='belongs to another potential'):
        AcePosteriorData(posterior_bytes('other', Si=8), potential=potential)
    with pytest.raises(ValueError, match=r"for the functions \{'Si': 7\}, the potential has \{'Si': 8\}"):
        AcePosteriorData(posterior_bytes(potential.digest, Si=7), potential=potential)


def test_same_content_has_the_same_hash() -> None:
    hashes = {recorded_posterior(recorded_potential()).store().base.caching.get_hash() for _ in range(2)}
    assert len(hashes) == 1


def test_stored_posterior_is_immutable() -> None:
    node = recorded_posterior(recorded_potential()).store()
    with pytest.raises(ModificationNotAllowed):
        node.base.attributes.set('potential_digest', 'x')


@pytest.mark.parametrize(
    ('content', 'message'), [(posterior_bytes('other', Si=8), 'does not describe'), (b'text', 'not a posterior')]
)
def test_store_refuses_a_file_that_was_exchanged(content: bytes, message: str) -> None:
    node = recorded_posterior(recorded_potential())
    node.base.repository.delete_object(node.FILENAME)
    node.base.repository.put_object_from_bytes(content, node.FILENAME)
    with pytest.raises(ValidationError, match=message):
        node.store()
