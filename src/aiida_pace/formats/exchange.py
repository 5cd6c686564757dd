"""Exchange of frames with files of others, by their suffix; no AiiDA."""

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

#: Columns that pacemaker's data frame has no place for.
NOT_IN_DATAFRAME = ('stress', 'grade', 'origin', 'label_uuid')


class ExchangeError(ValueError):
    """A file that is not read or written at all: the message is one sentence with the cause and the remedy."""


def read_frames(
    paths: Iterable[str | Path],
    *,
    labelled: bool | None = None,
    keys: LabelKeys | None = None,
    origin: str = '',
    guards: bool = True,
) -> Imported:
    """Read files: extended XYZ (``.xyz``, ``.extxyz``) and ASE databases (``.db``), by their suffix; see `collect`.

    :raises ExchangeError: when a file cannot be read as what its suffix says, or is a pickle.
    """
    return collect(_images(list(paths)), labelled=labelled, keys=keys, origin=origin, guards=guards)


def _images(paths: Sequence[str | Path]) -> Iterator[tuple[str, int, Image | Fault]]:
    """Yield the structures of all files, each with its file and its index there.

    :raises ExchangeError: when a file cannot be read.
    """
    readers = [READERS[_suffix(path, READERS)] for path in paths]
    for path, reader in zip(paths, readers, strict=True):
        try:
            for index, image in enumerate(reader(path)):
                yield str(path), index, image
        except UnicodeDecodeError as exception:
            raise ExchangeError(
                f'{shown(path, None)} is no text in UTF-8 ({exception}): its suffix says extended XYZ'
            ) from exception
        except (AseDatabaseError, OSError) as exception:
            raise ExchangeError(f'{shown(path, None)}: {exception}') from exception


def _suffix(path: str | Path, known: Mapping[str, object]) -> str:
    """Return the suffix that names the format of a file.

    :raises ExchangeError: when it names none of those ``known``.
    """
    name = Path(path).name.lower()
    for suffix in known:
        if name.endswith(suffix):
            return suffix
    if name.endswith(PICKLES) and '.pckl.gzip' not in known:
        raise ExchangeError(
            f'{shown(path, None)} is a pickle, and reading one runs whatever code its writer put in: where you trust '
            'it, turn it into an ASE database with `pandas.read_pickle` and `ase.db`, and import that'
        )
    raise ExchangeError(f'{shown(path, None)}: the suffix names no format, known ones are {", ".join(known)}')


def unwritten(frames: Frames, path: str | Path) -> tuple[str, ...]:
    """Return the columns that hold something and that the format of ``path`` has no place for."""
    if _suffix(path, WRITERS) != '.pckl.gzip':
        return ()
    return tuple(name for name in NOT_IN_DATAFRAME if name in frames.columns() and frames.columns()[name].any())


def write_frames(frames: Frames, path: str | Path, *, overwrite: bool = False) -> None:
    """Write ``frames``, by the suffix: extended XYZ, an ASE database, or the data frame of pacemaker.

    The first two are read back bit by bit. The last has no place for `unwritten`, and cells that pyace does not accept
    are replaced (`formats.pacemaker.accepted_cells`). The file is there as a whole or not at all.

    :param overwrite: replace a file that is there already.
    :raises ExchangeError: when the suffix is unknown, the file is there already or cannot be written.
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
