"""Units in files, to find those that are not eV and Å; no AiiDA."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterator, Mapping

__all__ = ('foreign_unit', 'units_in')

#: Names of eV, Å and derived units, in lower case without white space.
LENGTH = r'(?:å|a|ang|angstroms?|ångströms?)'
CUBE = rf'(?:{LENGTH}(?:\^|\*\*)?3|{LENGTH}³)'
ENERGY = r'(?:ev|electron-?volts?)'
ACCEPTED = {
    'energy': re.compile(ENERGY),
    'forces': re.compile(rf'{ENERGY}(?:/|per){LENGTH}|{ENERGY}\*?{LENGTH}(?:\^|\*\*)?-1'),
    'stress': re.compile(rf'{ENERGY}(?:/|per){CUBE}|{ENERGY}\*?{LENGTH}(?:\^|\*\*)?-3'),
    'virial': re.compile(ENERGY),
    'length': re.compile(LENGTH),
}

#: Words of a unit for all quantities: `metal` is LAMMPS' name for eV and Å.
GENERAL = re.compile(rf'{ENERGY}|{LENGTH}|ase|metal|and|per|units?')

LENGTHS = ('cell', 'coordinate', 'coordinates', 'distance', 'distances', 'length', 'lattice', 'position', 'positions')

#: Keys that give a unit, and similar keys that do not.
UNIT, CELL = re.compile('units?$|^units?[ _-]|[ _-]units?[ _-]'), re.compile('unit[ _-]?cell|formula[ _-]?unit')

#: Texts that mean no unit.
NONE = ('', '-', 'none')


def units_in(tree: t.Any) -> dict[str, str]:
    """Return the units in values of keys that contain ``unit``, and in ``key_descriptions`` of an ASE database.

    :param tree: nested dictionaries.
    :returns: units by the name of the quantity in lower case; an empty name means all quantities.
    """
    return dict(_units(tree, '', is_unit=False))


def _units(tree: t.Any, name: str, *, is_unit: bool) -> Iterator[tuple[str, str]]:
    """Yield names of quantities and their units."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            bare = re.sub(r'(property)?_?units?(_?(dict|of|in))?', '', str(key).lower()).strip('_ -')
            has_unit = is_unit or (UNIT.search(str(key).lower()) is not None and not CELL.search(str(key).lower()))
            if str(key) == 'key_descriptions' and isinstance(value, Mapping):
                yield from (
                    (str(quantity).lower(), str(texts[2]))
                    for quantity, texts in value.items()
                    if isinstance(texts, (list, tuple)) and len(texts) == 3
                )
            else:
                yield from _units(value, bare or name, is_unit=has_unit)
    elif is_unit and isinstance(tree, str):
        yield name, tree


def foreign_unit(units: Mapping[str, str], used: Mapping[str, str]) -> str | None:
    """Return one clause on a unit, of the quantities in use, that is not derived from eV and Å; None without one.

    :param units: of `units_in`.
    :param used: names in the file of the labels in use, by kind: energy, forces, stress or virial.
    """
    quantities = {name: 'length' for name in LENGTHS}
    if used:
        quantities |= {'energy': 'energy', 'energies': 'energy', 'force': 'forces', 'forces': 'forces'}
        quantities |= {key.lower(): name for name, key in used.items()}
    for name, text in units.items():
        unit = re.sub(r'\s+', '', text.lower())
        if unit in NONE:
            continue
        if not name:
            is_foreign = not all(map(GENERAL.fullmatch, re.findall(r'[^\W\d_]+', text.lower())))
        else:
            is_foreign = name in quantities and not ACCEPTED[quantities[name]].fullmatch(unit)
        if is_foreign:
            return f'the unit of {name or "all numbers"} is {text}: convert to eV and Å'
    return None
