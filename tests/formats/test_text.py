"""Text of other programs: what a database or a terminal must never see is gone, everything else stays."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiida_pace.formats.text import printable, printable_values

TEXT = st.text(st.characters(codec=None) | st.sampled_from('\x00\x1b\x9b\r\n\t\x07[]0;m\\'))


def is_control(character: str) -> bool:
    return unicodedata.category(character) in ('Cc', 'Cs') and character not in '\n\t'


@given(TEXT)
def test_no_control_character_is_left(text: str) -> None:
    clean = printable(text)
    assert not any(is_control(character) for character in clean)
    clean.encode()  # no half of a surrogate pair
    assert printable(clean) == clean


@given(st.text(st.characters(exclude_categories=('Cc', 'Cs')) | st.sampled_from('\n\t')))
def test_what_people_read_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ('text', 'clean'),
    [
        ('\x1b[1;31mERROR\x1b[0m: no atoms', 'ERROR: no atoms'),
        ('\x1b]0;title of the window\x07now', 'now'),
        ('\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\', 'link'),
        ('\x9b2Jgone', 'gone'),
        ('\x1bcreset', 'reset'),
        ('unfinished \x1b', 'unfinished '),
        ('a\x00b', 'ab'),
        ('10 %\r100 %\r\nend', '10 %\n100 %\nend'),
        ('ä, Å, é\t1', 'ä, Å, é\t1'),
    ],
)
def test_examples(text: str, clean: str) -> None:
    assert printable(text) == clean


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)


@given(JSON)
def test_all_texts_of_a_json_value(value: object) -> None:
    clean = printable_values(value)
    assert '\\u0000' not in json.dumps(clean).replace('\\\\', '')
    assert printable_values(clean) == clean


def test_json_value() -> None:
    assert printable_values({'a\x00': ['\x1b[0mb', 1, None, {'c': 1.5}]}) == {'a': ['b', 1, None, {'c': 1.5}]}
