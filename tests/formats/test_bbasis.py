import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aiida_pace.formats.bbasis import BBasisError, parse_bbasis, yace_elements
from tests.fixtures.nodes import BBASIS

SILICON = (BBASIS / 'silicon.yaml').read_text()

COUNT_BY_PYACE = """
import json, sys
from pyace.basis import ACEBBasisSet
basis = ACEBBasisSet(sys.argv[1])
counts = [len(one) + len(many) for one, many in zip(basis.basis_rank1, basis.basis)]
print(json.dumps([basis.cutoffmax, dict(zip(basis.elements_name, counts))]))
"""


def test_one_element() -> None:
    bbasis = parse_bbasis(SILICON)
    assert bbasis.elements == ('Si',)
    assert bbasis.cutoff == 4.5
    assert bbasis.functions_per_element == {'Si': 8}


def test_functions_count_for_the_centre_and_the_largest_cutoff_counts() -> None:
    bbasis = parse_bbasis((BBASIS / 'silicon_carbide.yaml').read_bytes())
    assert bbasis.elements == ('C', 'Si')
    assert bbasis.cutoff == 5.0  # of the pair C Si; 4.5 within an element
    assert bbasis.functions_per_element == {'C': 6, 'Si': 6}


@pytest.mark.engines
def test_agrees_with_pyace(engine: Callable[[str], Path], sic_potential_files: Path) -> None:
    potential = sic_potential_files / 'potential.yaml'
    printed = subprocess.run(
        [engine('python'), '-c', COUNT_BY_PYACE, potential], capture_output=True, text=True, check=True
    ).stdout
    bbasis = parse_bbasis(potential.read_bytes())
    assert [bbasis.cutoff, bbasis.functions_per_element] == json.loads(printed)


def test_symbol_that_yaml_takes_for_a_truth_value() -> None:
    assert parse_bbasis(SILICON.replace('Si', 'No')).elements == ('No',)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'not a B-basis'),
        (b'\xff\xfe\x00', 'not a B-basis'),
        ('species: 3', 'not a B-basis'),
        ('other: {}', 'species'),
        (SILICON[: SILICON.index('nr:')], 'not a B-basis'),
        (SILICON.replace('rcutij: 4.5', 'rcutij: 0'), 'cutoff 0.0'),
        (SILICON.replace('rcutij: 4.5', 'rcutij: nan'), 'cutoff nan'),
        (SILICON.replace('rcutij: 4.5', 'rcutij: inf'), 'cutoff inf'),
        (SILICON.replace('Si', 'Xy'), 'Xy'),
        (SILICON[: SILICON.index('    nbody:')], 'no functions for Si'),
        ('species: []', 'no chemical elements'),
    ],
)
def test_refuses_what_is_no_potential(content: bytes | str, message: str) -> None:
    with pytest.raises(BBasisError, match=message):
        parse_bbasis(content)


def test_yace_elements() -> None:
    assert yace_elements((BBASIS / 'silicon.yace').read_bytes()) == ('Si',)
    assert yace_elements('elements: [Si, C]\nE0: [0, 0]\n') == ('C', 'Si')


@pytest.mark.parametrize('content', [b'', b'E0: [0]', 'elements: [', 'elements: Si'])
def test_yace_elements_refuses_other_files(content: bytes | str) -> None:
    with pytest.raises(BBasisError, match='yace'):
        yace_elements(content)
