"""How many basis functions each element may have: no more than its atoms can carry."""

from __future__ import annotations

import math
from collections.abc import Mapping

from aiida_pace.config import GrowthConfig

__all__ = ('affordable_functions', 'grown_functions')


def affordable_functions(wanted: int, atoms: Mapping[str, int]) -> dict[str, int]:
    """Return the number of basis functions per element: as wanted, but below the number of its atoms.

    An active set picks as many atoms as there are functions, and is singular with fewer.

    :param atoms: number of atoms with neighbours that a fit learns from, by element.
    :raises ValueError: when an element has fewer than two such atoms.
    """
    few = sorted(element for element, count in atoms.items() if count < 2)
    if few:
        raise ValueError(
            f'the labels hold {atoms[few[0]]} atoms of {few[0]} with neighbours; a basis needs 2 or more: add frames'
        )
    return {element: min(wanted, count - 1) for element, count in sorted(atoms.items())}


def grown_functions(
    functions: Mapping[str, int], atoms: Mapping[str, int], growth: GrowthConfig
) -> dict[str, int] | None:
    """Return the next step of the ladder, or None when no element has room for one.

    Each element takes the larger of `GrowthConfig.factor` and `GrowthConfig.min_step`, as far as its atoms and
    `GrowthConfig.max_functions` allow. A step that adds less than a tenth for every element is none: a fit is dear.

    :param functions: current number of basis functions of each element.
    :param atoms: number of atoms with neighbours that a fit learns from, by element.
    """
    grown = {}
    for element, count in sorted(functions.items()):
        wanted = max(math.ceil(count * growth.factor), count + growth.min_step)
        grown[element] = max(count, min(wanted, atoms.get(element, 0) - 1, growth.max_functions))
    return grown if any(grown[element] >= 1.1 * count for element, count in functions.items()) else None
