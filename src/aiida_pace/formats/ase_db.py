"""ASE databases in SQLite, ``.db``; no AiiDA."""

from __future__ import annotations

import sqlite3
import typing as t
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.db.core import check
from ase.db.row import AtomsRow

from aiida_pace.formats.images import Fault, Image, shown
from aiida_pace.formats.units import units_in
from aiida_pace.frames import Frames

__all__ = ('AseDatabaseError', 'read_ase_db', 'write_ase_db')

#: Arrays that a row may have besides the positions.
ARRAYS = ('initial_charges', 'initial_magmoms', 'masses', 'momenta', 'tags')

#: Exceptions of ASE's reader and SQLite for a damaged database.
FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    sqlite3.Error,
)


class AseDatabaseError(ValueError):
    """A file that is not an ASE database, or a damaged one."""


def write_ase_db(frames: Frames, path: str | Path) -> None:
    """Write ``frames`` to a database, one row each, without rounding; an existing database gets further rows.

    SQLite does not keep the sign of a zero: an energy of -0.0 is read back as 0.0.

    Energy, forces and stress are ASE's results. ``origin``, ``label_uuid`` and ``weight`` are key-value pairs, by which
    ``ase db`` can select; arrays, and texts that look like numbers, are in the data of a row.

    :raises sqlite3.Error: when the file cannot be written.
    """
    with connect(str(path), type='db', use_lock_file=False) as database:
        for atoms in frames:
            pairs = {name: value for name, value in atoms.info.items() if _may_be_pair(name, value)}
            data = {name: value for name, value in atoms.info.items() if name not in pairs}
            data |= {name: atoms.arrays[name] for name in ('force_weight', 'grade') if name in atoms.arrays}
            database.write(atoms, key_value_pairs=pairs, data=data)


def _may_be_pair(name: str, value: str | float) -> bool:
    """Return whether ASE accepts ``value`` as a key-value pair."""
    try:
        check({name: value})
    except ValueError:
        return False
    return True


def read_ase_db(path: str | Path) -> Iterator[Image | Fault]:
    """Read a database row by row; key-value pairs and data are in ``info``, or in ``arrays`` with one row per atom.

    Constraints are not read. The file is not changed.

    :return: for each row the structure, or the cause when it cannot be read.
    :raises AseDatabaseError: when the file is not an ASE database, or a damaged one.
    """
    _check(path)
    try:
        with connect(str(path), type='db', use_lock_file=False) as database:
            units = units_in(database.metadata)
            for row in database.select():
                yield _image(row, units)
    except FAULTS as exception:
        raise AseDatabaseError(f'the database cannot be read: {shown(exception)}') from exception


def _check(path: str | Path) -> None:
    """Refuse other files before ASE opens the file, because ASE creates missing tables.

    :raises AseDatabaseError: when the file is not an ASE database, or a damaged or incomplete one.
    """
    uri = f'{Path(path).resolve().as_uri()}?mode=ro'
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            found = connection.execute("SELECT COUNT(*) FROM sqlite_master WHERE name='systems'").fetchone()[0]
            state = connection.execute('PRAGMA integrity_check(1)').fetchone()[0]
    except FAULTS as exception:
        raise AseDatabaseError(f'the file is not a database: {shown(exception)}') from exception
    with open(path, 'rb') as handle:
        header = handle.read(32)
    # SQLite reads missing parts of the last page as zeros (Database File Format, sections 1.3.2 and 1.3.7).
    size = int.from_bytes(header[16:18], 'big') * int.from_bytes(header[28:32], 'big')
    if Path(path).stat().st_size < size:
        raise AseDatabaseError('the database is cut short')
    if state != 'ok':
        raise AseDatabaseError(f'the database is damaged: {shown(state)}')
    if not found:
        raise AseDatabaseError('the file is not an ASE database: it has no table `systems`')


def _image(row: AtomsRow, units: Mapping[str, str]) -> Image | Fault:
    """Return the structure of a row, or the cause when it cannot be read."""
    place = f'row {row.get("id")}'
    try:
        atoms = Atoms(row['numbers'], row.positions, cell=row.cell, pbc=row.pbc)
        atoms.arrays |= {name: row[name] for name in ARRAYS if row.get(name) is not None}
        for name, value in {**row.data, **row.key_value_pairs}.items():
            if _rows(value) == len(atoms) and name not in atoms.arrays:
                atoms.arrays[name] = np.asarray(value)
            else:
                atoms.info[name] = value
        if row.get('_constraints'):
            atoms.info['constraints'] = 'not read'
        results = {name: row[name] for name in all_properties if row.get(name) is not None}
        if results:
            atoms.calc = SinglePointCalculator(atoms, **results)
    except FAULTS as exception:
        return Fault(f'not readable ({type(exception).__name__}: {shown(exception)})', place)
    return Image(atoms, place, units)


def _rows(value: t.Any) -> int | None:
    """Return the length of an array or list, None for other values."""
    if isinstance(value, (str, bytes, Mapping)):
        return None
    try:
        return int(np.shape(value)[0])
    except (IndexError, TypeError, ValueError):  # a number, or a list of lists of different lengths
        return None
