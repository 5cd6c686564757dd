"""Import and export of frames in files of other programs, by suffix; no AiiDA."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from aiida_pace.formats.ase_db import AseDatabaseError, read_ase_db, write_ase_db
from aiida_pace.formats.collect import Imported, Refusal, collect
from aiida_pace.formats.extxyz import read_extxyz, write_extxyz
from aiida_pace.formats.images import Fault, Image, shown
from aiida_pace.formats.labels import LabelKeys
from aiida_pace.formats.pacemaker import write_dataframe
from aiida_pace.frames import Frames

__all__ = ('ExchangeError', 'Imported', 'LabelKeys', 'Refusal', 'collect', 'read_frames', 'unwritten', 'write_frames')

READERS = {'.xyz': read_extxyz, '.extxyz': read_extxyz, '.db': read_ase_db}
WRITERS = {'.xyz': write_extxyz, '.extxyz': write_extxyz, '.db': write_ase_db, '.pckl.gzip': write_dataframe}

PICKLES = ('.gzip', '.pckl', '.pickle', '.pkl', '.pkl.gz')

#: Columns that pacemaker's data frame cannot hold.
NOT_IN_DATAFRAME = ('stress', 'grade', 'origin', 'label_uuid')


class ExchangeError(ValueError):
    """A file that cannot be read or written: the message is one sentence with the cause and the remedy."""


def read_frames(
    paths: Iterable[str | Path],
    *,
    labelled: bool | None = None,
    keys: LabelKeys | None = None,
    origin: str = '',
    guards: bool = True,
) -> Imported:
    """Read extended XYZ files (``.xyz``, ``.extxyz``) and ASE databases (``.db``), by suffix; see `collect`.

    :raises ExchangeError: when a file cannot be read in the format of its suffix, or is a pickle.
    """
    return collect(_images(list(paths)), labelled=labelled, keys=keys, origin=origin, guards=guards)


def _images(paths: Sequence[str | Path]) -> Iterator[tuple[str, int, Image | Fault]]:
    """Yield the structures of all files, each with its file and its index in the file.

    :raises ExchangeError: when a file cannot be read.
    """
    readers = [READERS[_suffix(path, READERS)] for path in paths]
    for path, reader in zip(paths, readers, strict=True):
        try:
            for index, image in enumerate(reader(path)):
                yield str(path), index, image
        except UnicodeDecodeError as exception:
            raise ExchangeError(
                f'{shown(path, None)} is not a text in UTF-8 ({exception}): give a file in extended XYZ'
            ) from exception
        except (AseDatabaseError, OSError) as exception:
            raise ExchangeError(f'{shown(path, None)}: {exception}') from exception


def _suffix(path: str | Path, known: Mapping[str, object]) -> str:
    """Return the suffix of a file.

    :raises ExchangeError: when the suffix is not one of ``known``.
    """
    name = Path(path).name.lower()
    for suffix in known:
        if name.endswith(suffix):
            return suffix
    if name.endswith(PICKLES) and '.pckl.gzip' not in known:
        raise ExchangeError(
            f'{shown(path, None)} is a pickle, which can run any code when it is read: if you trust the file, convert '
            'it to an ASE database with `pandas.read_pickle` and `ase.db`, and import the database'
        )
    raise ExchangeError(f'{shown(path, None)}: unknown suffix, known ones are {", ".join(known)}')


def unwritten(frames: Frames, path: str | Path) -> tuple[str, ...]:
    """Return the columns with data that the format of ``path`` cannot hold."""
    if _suffix(path, WRITERS) != '.pckl.gzip':
        return ()
    return tuple(name for name in NOT_IN_DATAFRAME if name in frames.columns() and frames.columns()[name].any())


def write_frames(frames: Frames, path: str | Path, *, overwrite: bool = False) -> None:
    """Write ``frames`` by suffix: extended XYZ, an ASE database, or the data frame of pacemaker.

    The first two are read back without rounding. The data frame cannot hold the columns `unwritten`, and replaces cells
    that pyace does not accept (`formats.pacemaker.accepted_cells`). The file is complete or absent.

    :param overwrite: whether to replace an existing file.
    :raises ExchangeError: when the suffix is unknown, the file exists or cannot be written.
    """
    path = Path(path)
    write = WRITERS[_suffix(path, WRITERS)]
    if path.exists() and not overwrite:
        raise ExchangeError(f'{path} already exists: give another name, or replace it with `--overwrite`')
    try:
        with tempfile.TemporaryDirectory(prefix=f'.{path.name}-', dir=path.parent) as folder:
            target = Path(folder) / path.name
            write(frames, target)
            os.replace(target, path)
    except (OSError, sqlite3.Error) as exception:
        raise ExchangeError(f'{path} cannot be written: {exception}') from exception
