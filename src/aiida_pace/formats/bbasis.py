"""The B-basis file of an ACE potential (pacemaker's ``output_potential.yaml``): the basis without coefficients."""

from __future__ import annotations

import dataclasses
import math
import typing as t

import yaml
from ase.data import atomic_numbers

__all__ = ('BBasis', 'BBasisError', 'parse_bbasis', 'yace_elements')


class BBasisError(ValueError):
    """A file that is not a B-basis potential: the message gives the cause."""


@dataclasses.dataclass(frozen=True)
class BBasis:
    """The basis of a B-basis file.

    :param elements: chemical symbols, sorted: the order of the species in pyace.
    :param cutoff: the largest ``rcutij`` of all blocks, in Å.
    :param functions_per_element: number of basis functions centred on each element.
    """

    elements: tuple[str, ...]
    cutoff: float
    functions_per_element: dict[str, int]


def parse_bbasis(content: bytes | str) -> BBasis:
    """Return elements, cutoff and number of functions per element of a B-basis potential.

    A block ``A B C`` holds the functions of centres ``A`` that need neighbours of ``B`` and ``C``.

    :raises BBasisError: when ``content`` is not such a file.
    """
    try:
        species = _load(content)['species']
        blocks = [(str(block['speciesblock']).split(), block) for block in species]
        elements = sorted({symbol for symbols, _ in blocks for symbol in symbols})
        cutoff = max((float(block['rcutij']) for _, block in blocks if 'rcutij' in block), default=0.0)
        functions = dict.fromkeys(elements, 0)
        for symbols, block in blocks:
            functions[symbols[0]] += len(block.get('nbody') or ())
    except (
        yaml.YAMLError,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
    ) as exception:
        raise BBasisError(f'not a B-basis potential, as pacemaker writes it: {exception!r}') from exception
    unknown = [symbol for symbol in elements if symbol not in atomic_numbers]
    if unknown or not elements:
        raise BBasisError(f'the B-basis potential names no chemical elements, but {unknown}')
    if not 0 < cutoff < math.inf:
        raise BBasisError(f'the B-basis potential has the cutoff {cutoff} Å, expected a finite number above 0')
    empty = [symbol for symbol, count in functions.items() if count == 0]
    if empty:
        raise BBasisError(f'the B-basis potential has no functions for {", ".join(empty)}')
    return BBasis(elements=tuple(elements), cutoff=cutoff, functions_per_element=functions)


def yace_elements(content: bytes | str) -> tuple[str, ...]:
    """Return the elements, sorted, of a ``.yace`` file, from its first key alone.

    :raises BBasisError: when ``content`` does not start with a list of elements.
    """
    text = content.decode('utf-8', errors='replace') if isinstance(content, bytes) else content
    head = next((line for line in text.splitlines() if line.startswith('elements:')), '')
    try:
        elements = _load(head)['elements']
    except (yaml.YAMLError, KeyError, TypeError) as exception:
        raise BBasisError('not a .yace potential: it has no line `elements: [...]`') from exception
    if not isinstance(elements, list):
        raise BBasisError('not a .yace potential: `elements` is not a list')
    return tuple(sorted(elements))


def _load(content: bytes | str) -> t.Any:
    """Return the YAML ``content`` with every scalar as text, so that the symbol ``No`` is not read as False."""
    loader = getattr(yaml, 'CBaseLoader', yaml.BaseLoader)
    return yaml.load(content, Loader=loader)  # builds lists, dictionaries and strings only
