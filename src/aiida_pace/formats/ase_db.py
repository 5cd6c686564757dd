"""ASE databases in SQLite, ``.db``; no AiiDA."""

from __future__ import annotations

import sqlite3
import typing as t
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.db.core import check
from ase.db.row import AtomsRow

from aiida_pace.frames import Frames

__all__ = ('AseDatabaseError', 'read_ase_db', 'write_ase_db')


class AseDatabaseError(ValueError):
    """A file that is no ASE database, or a broken one."""


def write_ase_db(frames: Frames, path: str | Path) -> None:
    """Write ``frames`` to a new database, one row each, bit by bit; one that is there already gets further rows.

    One bit is lost: SQLite keeps no sign of a zero, so an energy of -0.0 is 0.0 when it is read back.

    Energy, forces and stress are where ASE looks for them, ``origin``, ``label_uuid`` and ``weight`` in the key-value
    pairs, which ``ase db`` can select by; arrays, and texts that a database takes for numbers, in the data of a row.

    :raises sqlite3.Error: when the file cannot be written.
    """
    with connect(str(path), type='db', use_lock_file=False) as database:
        for atoms in frames:
            pairs = {name: value for name, value in atoms.info.items() if _may_be_pair(name, value)}
            data = {name: value for name, value in atoms.info.items() if name not in pairs}
            data |= {name: atoms.arrays[name] for name in ('force_weight', 'grade') if name in atoms.arrays}
            database.write(atoms, key_value_pairs=pairs, data=data)


def _may_be_pair(name: str, value: str | float) -> bool:
    """Return whether a database takes ``value`` as it is."""
    try:
        check({name: value})
    except ValueError:
        return False
    return True


def read_ase_db(path: str | Path) -> Iterator[Atoms | str]:
    """Read a database row by row; key-value pairs and data come in ``info``, or in ``arrays`` with one row per atom.

    :return: for each row the structure or, when it cannot be made, why.
    :raises AseDatabaseError: when the file is no database of ASE, or a broken one; it is not touched.
    """
    _check(path)
    try:
        for row in connect(str(path), type='db', use_lock_file=False).select():
            yield _structure(row)
    except (AssertionError, OSError, ValueError, sqlite3.Error) as exception:
        raise AseDatabaseError(f'the database cannot be read: {exception}') from exception


def _check(path: str | Path) -> None:
    """Refuse other files before ASE opens one, as it makes tables where there are none.

    :raises AseDatabaseError: when the file is no database of ASE.
    """
    uri = f'{Path(path).resolve().as_uri()}?mode=ro'
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            found = connection.execute("SELECT COUNT(*) FROM sqlite_master WHERE name='systems'").fetchone()[0]
    except sqlite3.Error as exception:
        raise AseDatabaseError(f'the file is no database: {exception}') from exception
    if not found:
        raise AseDatabaseError('the file is a database, but none of ASE: it has no table `systems`')


def _structure(row: AtomsRow) -> Atoms | str:
    """Return the structure of a row, or why there is none."""
    try:
        atoms = row.toatoms()
        extras: dict[str, t.Any] = {**row.data, **row.key_value_pairs}
        for name, value in extras.items():
            if np.shape(value)[:1] == (len(atoms),) and name not in atoms.arrays:
                atoms.arrays[name] = np.asarray(value)
            else:
                atoms.info[name] = value
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as exception:
        return f'not readable ({type(exception).__name__}: {exception})'
    return t.cast(Atoms, atoms)
