"""A potential and an active set made of nothing, where a test needs some that every engine reads."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ('FUNCTIONS_PER_PAIR', 'placeholder_active_set', 'placeholder_potential')

#: Radial functions between two elements.
FUNCTIONS_PER_PAIR = 2

_BLOCK = """\
  - speciesblock: {block}
{embedding}    nradmaxi: 0
    lmaxi: 0
    rcutij: {cutoff}
    dcutij: 0.01
    NameOfCutoffFunctionij: cos
    r_in: 0
    delta_in: 0
    inner_cutoff_type: distance
    nradbaseij: {radial}
    radbase: SBessel
    radparameters: [5.25]
    radcoefficients: []
    core-repulsion: [0, 0]
    nbody:
"""
_EMBEDDING = """\
    ndensityi: 1
    npoti: FinnisSinclairShiftedScaled
    parameters: [1, 1]
    rho_core_cut: 100000
    drho_core_cut: 250
"""
#: Small: atoms under this potential go on as they are.
_FUNCTION = '      - {{type: {block}, nr: [{radial}], nl: [0], c: [0.001]}}\n'


def placeholder_potential(elements: Sequence[str], cutoff: float) -> str:
    """Return the B-basis file of a weak pair potential of ``elements`` within ``cutoff``, in Å.

    Each element has `FUNCTIONS_PER_PAIR` functions for each element among its neighbours.
    """
    symbols = sorted(elements)
    text = 'global:\n  DeltaSplineBins: 0.001\nspecies:\n'
    pairs = [(symbol,) for symbol in symbols] + list(itertools.permutations(symbols, 2))
    for pair in pairs:
        text += _BLOCK.format(
            block=' '.join(pair),
            embedding=_EMBEDDING if len(pair) == 1 else '',
            cutoff=cutoff,
            radial=FUNCTIONS_PER_PAIR,
        )
        block = ' '.join((pair[0], pair[-1]))
        text += ''.join(_FUNCTION.format(block=block, radial=number) for number in range(1, FUNCTIONS_PER_PAIR + 1))
    return text


def placeholder_active_set(functions_per_element: Mapping[str, int]) -> bytes:
    """Return an active set of unit matrices: the grade of an atom is then the largest of its basis functions."""
    stream = io.BytesIO()
    matrices = {element: np.eye(count) for element, count in sorted(functions_per_element.items())}
    np.savez(stream, **matrices)  # type: ignore[arg-type]
    return stream.getvalue()
