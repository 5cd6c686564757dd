"""Port validators shared by the work chains: one sentence that names the input and the remedy, or None."""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Callable, Iterable

from aiida import orm
from ase.data import chemical_symbols

from aiida_pace.config import Config, config_error

__all__ = ('missing_pseudos', 'validate_config', 'validate_elements', 'validate_fraction', 'validate_positive')


def validate_positive(node: orm.Int | None, port: t.Any) -> str | None:
    """Refuse a number below one."""
    if node is not None and node.value < 1:
        return f'`{port.name}` is {node.value}: give at least 1.'
    return None


def validate_fraction(node: orm.Float | None, port: t.Any) -> str | None:
    """Refuse a share outside zero to one."""
    if node is not None and not 0 <= node.value <= 1:
        return f'`{port.name}` is {node.value}: give a share between 0 and 1.'
    return None


def validate_elements(node: orm.List | None, port: t.Any) -> str | None:
    """Refuse an empty list and what is no chemical symbol."""
    if node is not None and (not len(node) or not set(node) <= set(chemical_symbols[1:])):
        return f'`{port.name}` is {list(node)}: give chemical symbols, such as Si.'
    return None


def validate_config(model: type[Config]) -> Callable[[orm.Dict | None, t.Any], str | None]:
    """Return a port validator of settings of ``model``."""
    return functools.partial(_validate_config, model)


def _validate_config(model: type[Config], node: orm.Dict | None, port: t.Any) -> str | None:
    error = config_error(model, node.get_dict()) if node is not None else None
    return f'`{port.name}`: {error}' if error else None


def missing_pseudos(elements: Iterable[str], pseudos: Iterable[str]) -> str | None:
    """Refuse elements that have no pseudopotential."""
    missing = sorted(set(elements) - set(pseudos))
    if missing:
        return f'no pseudopotential for {", ".join(missing)}: add it to `pw.pseudos`, keyed by the element.'
    return None
