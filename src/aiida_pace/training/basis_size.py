"""How many functions pacemaker gives each element, and what to ask it for to get the wanted numbers; no AiiDA.

pacemaker has one number for all elements. It shares it out evenly between the blocks of an element (`Al`, `Al Si`, ...:
one for each set of neighbouring elements), takes from each block the simplest functions, and drops what a block cannot
use (pyace 0.4.0, ``multispecies_basisextension.create_multispecies_basis_config``).
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
import typing as t
from collections.abc import Mapping, Sequence

__all__ = ('SHAPES', 'BasisPlan', 'basis_stages', 'least_functions', 'plan_basis')

#: Largest radial index and angular momentum of functions of 1, 2, ... neighbours, for functions of one element, of two,
#: of three and of more: those of pacemaker's own template. Larger ones are not in its table of coupling coefficients.
SHAPES = {
    'UNARY': ((15, 6, 4, 3, 2, 2), (0, 3, 3, 2, 2, 1)),
    'BINARY': ((15, 6, 3, 2, 2, 1), (0, 3, 2, 1, 1, 0)),
    'TERNARY': ((15, 3, 3, 2, 1), (0, 2, 2, 1, 1)),
    'ALL': ((15, 3, 2, 1, 1), (0, 2, 2, 1, 1)),
}

#: Number of functions in a block of 1, 2, ... elements (rows) for orders of 1, 2, ... (columns) with these shapes.
FULL = (
    (15, 99, 403, 703, 895, 945),
    (15, 243, 659, 829, 1275, 1281),
    (0, 27, 666, 1104, 1191, 1191),
    (0, 0, 88, 119, 250, 250),
    (0, 0, 0, 10, 104, 104),
    (0, 0, 0, 0, 26, 26),
)


@dataclasses.dataclass(frozen=True)
class BasisPlan:
    """The basis of a fit.

    :param numbers: number to ask pacemaker for, by element; None when the basis of a potential is kept.
    :param functions: number of functions that each element then has.
    :param is_grown: whether it grows out of the basis of a potential.
    """

    numbers: dict[str, int] | None
    functions: dict[str, int]
    is_grown: bool = False


def plan_basis(wanted: Mapping[str, int], order: int, existing: Mapping[str, int] | None = None) -> BasisPlan:
    """Return the basis with as many functions of each element as wanted, or the next number below that there is.

    The basis of a potential grows for the elements that are to have more functions; no element ever loses some. Among
    several elements it stays as it is when those that do not grow have numbers that pacemaker cannot make with these
    settings: then it was made with others.

    :param wanted: number of functions by element, of all elements.
    :param order: largest number of neighbours in one function.
    :param existing: number of functions by element of the potential that the fit continues from.
    :raises ValueError: when an element is to have fewer functions than it has blocks, and no potential.
    """
    count, least = len(wanted), least_functions(len(wanted), order)
    shares = {element: _share(number, order, count) for element, number in wanted.items()}
    if existing is None:
        if few := [element for element, share in shares.items() if share == 0]:
            raise ValueError(
                f'{wanted[few[0]]} functions of {few[0]} are too few: with {count} elements it has {least} or more'
            )
    else:
        growing = {element for element, share in shares.items() if _given(share, order, count) > existing[element]}
        shares |= {element: _share(existing[element], order, count) for element in shares.keys() - growing}
        # pacemaker counts on the whole: it must be able to make those that stay as they are, too.
        others = {element: _given(shares[element], order, count) for element in shares.keys() - growing}
        if not growing or any(number != existing[element] for element, number in others.items()):
            return BasisPlan(None, dict(existing))
    return BasisPlan(
        numbers={element: share * _blocks(count) for element, share in shares.items()},
        functions={element: _given(share, order, count) for element, share in shares.items()},
        is_grown=existing is not None,
    )


def least_functions(elements_count: int, order: int) -> int:
    """Return the smallest number of functions that an element can have among so many elements."""
    return _given(1, order, elements_count)


def basis_stages(section: Mapping[str, t.Any], numbers: Mapping[str, int]) -> list[dict[str, t.Any]]:
    """Return pacemaker's section ``potential`` for one run after the other that make the basis together.

    One is enough when all numbers are the same. Otherwise each makes the functions of the elements with the next larger
    number anew; the blocks of the others are not in it, and pacemaker takes them from the potential that it starts
    from, the one made before.

    :param section: the section without a number of functions.
    :param numbers: number to ask pacemaker for, by element.
    """
    stages: list[dict[str, t.Any]] = []
    for number in sorted(set(numbers.values())):
        elements = [element for element in sorted(numbers) if numbers[element] >= number]
        shapes = section['functions'] if not stages else _blocks_around(elements, sorted(numbers), section['functions'])
        stages.append({**section, 'functions': {'number_of_functions_per_element': number, **shapes}})
    return stages


def _blocks_around(centres: Sequence[str], elements: Sequence[str], shapes: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the shapes of the blocks around some of the elements, by the name of the block."""
    kinds = ('UNARY', 'BINARY', 'TERNARY')
    blocks = {}
    for centre in centres:
        others = [element for element in elements if element != centre]
        for size in range(len(elements)):
            for neighbours in itertools.combinations(others, size):
                blocks[centre + ''.join(neighbours)] = shapes[kinds[size] if size < len(kinds) else 'ALL']
    return blocks


def _blocks(elements_count: int) -> int:
    """Return the number of blocks of one element."""
    return int(2 ** (elements_count - 1))


def _given(share: int, order: int, elements_count: int) -> int:
    """Return the number of functions of an element each of whose blocks takes up to ``share``."""
    return sum(
        math.comb(elements_count - 1, others) * min(share, FULL[others][order - 1])
        for others in range(min(elements_count, len(FULL)))
    )


def _share(wanted: int, order: int, elements_count: int) -> int:
    """Return the share of a block with which an element has the number of functions wanted, or the next below."""
    largest = max(row[order - 1] for row in FULL[:elements_count])
    return bisect.bisect_right(range(largest + 1), wanted, key=lambda share: _given(share, order, elements_count)) - 1
