"""Exchange of frames with files of others: what is accepted, what is refused and why; no AiiDA."""

from __future__ import annotations

import dataclasses
import os
import re
import sqlite3
import tempfile
import typing as t
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress

from aiida_pace.formats.ase_db import AseDatabaseError, read_ase_db, write_ase_db
from aiida_pace.formats.extxyz import read_extxyz, write_extxyz
from aiida_pace.formats.pacemaker import write_dataframe
from aiida_pace.frames import OPTIONAL_COLUMNS, Frames
from aiida_pace.structures.fingerprint import exact_fingerprints

__all__ = ('ExchangeError', 'Imported', 'LabelKeys', 'Refusal', 'collect', 'read_frames', 'unwritten', 'write_frames')

READERS = {'.xyz': read_extxyz, '.extxyz': read_extxyz, '.db': read_ase_db}
WRITERS = {'.xyz': write_extxyz, '.extxyz': write_extxyz, '.db': write_ase_db, '.pckl.gzip': write_dataframe}

PICKLES = ('.gzip', '.pckl', '.pickle', '.pkl', '.pkl.gz')

#: Columns that pacemaker's data frame has no place for.
NOT_IN_DATAFRAME = ('stress', 'grade', 'origin', 'label_uuid')

#: What is taken over from the `info` and the arrays of a structure, beside its labels.
INFO = {'label_uuid', 'origin', 'weight'}
ARRAYS = {'force_weight', 'grade', 'numbers', 'positions'}

#: Labels of the same structure that differ by more than this, in eV or eV/Å, are not the same.
LABEL_TOLERANCE = 1e-6


class ExchangeError(ValueError):
    """A file that is not read or written at all: the message is one sentence with the cause and the remedy."""


@dataclasses.dataclass(frozen=True)
class LabelKeys:
    """Under which names structures carry their labels, in the results of a calculator, in ``info`` or in arrays.

    Units and signs are ASE's whatever the name: eV, eV/Å, and eV/Å³, negative under compression.

    :param stress: when None, ``stress`` beside ``energy`` and ``forces``, and no stress beside labels of other names:
        one might come from another calculation.
    """

    energy: str = 'energy'
    forces: str = 'forces'
    stress: str | None = None

    def names(self) -> dict[str, str]:
        """Return the name of every label that is looked for."""
        names = {'energy': self.energy, 'forces': self.forces}
        if self.stress is not None or names == {'energy': 'energy', 'forces': 'forces'}:
            names['stress'] = self.stress or 'stress'
        return names


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A frame that was not taken: the ``index``-th of its source, counted from 0."""

    source: str
    index: int
    cause: str


@dataclasses.dataclass(frozen=True)
class Imported:
    """Frames from elsewhere: no two the same, labels for all or for none.

    :param frames: what was taken, in the order of the sources; maybe nothing.
    :param refusals: what was not.
    :param ignored: what was left out of the frames taken, by name: the number of frames that had it.
    """

    frames: Frames
    refusals: tuple[Refusal, ...]
    ignored: dict[str, int]


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """One readable frame, and the names of what it carries that a set of frames has no place for."""

    source: str
    index: int
    frame: Frames
    ignored: frozenset[str]

    def refuse(self, cause: str) -> Refusal:
        """Return why the frame is not taken."""
        return Refusal(self.source, self.index, cause)


def read_frames(
    paths: Iterable[str | Path], *, labelled: bool | None = None, keys: LabelKeys | None = None, origin: str = ''
) -> Imported:
    """Read files: extended XYZ (``.xyz``, ``.extxyz``) and ASE databases (``.db``), by their suffix; see `collect`.

    :raises ExchangeError: when a file cannot be read as what its suffix says, or is a pickle.
    """
    return collect(_images(list(paths)), labelled=labelled, keys=keys, origin=origin)


def _images(paths: Sequence[str | Path]) -> Iterator[tuple[str, int, Atoms | str]]:
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
                f'{path} is no text in UTF-8 ({exception}): its suffix says extended XYZ'
            ) from exception
        except (AseDatabaseError, OSError) as exception:
            raise ExchangeError(f'{path}: {exception}') from exception


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
            f'{path} is a pickle, and reading one runs whatever code its writer put in: where you trust it, turn it '
            'into an ASE database with `pandas.read_pickle` and `ase.db`, and import that'
        )
    raise ExchangeError(f'{path}: the suffix names no format, known ones are {", ".join(known)}')


def collect(
    images: Iterable[tuple[str, int, Atoms | str]],
    *,
    labelled: bool | None = None,
    keys: LabelKeys | None = None,
    origin: str = '',
) -> Imported:
    """Return the frames that may stand together in one set, and what was refused.

    :param images: source, index there, and the structure, or why there is none.
    :param labelled: True takes labelled frames only, False takes all without their labels, None takes labelled frames
        only when there are any, else all.
    :param keys: names of the labels, those of ASE when None; whoever gives names wants labelled frames only.
    :param origin: what made the frames that do not say it themselves.
    """
    if labelled is None and keys not in (None, LabelKeys()):
        labelled = True
    candidates: list[_Candidate] = []
    refusals: list[Refusal] = []
    for source, index, image in images:
        try:
            if isinstance(image, str):
                raise ValueError(image)
            candidates.append(_Candidate(source, index, *_frame(image, labelled, keys or LabelKeys(), origin)))
        except (TypeError, ValueError) as exception:
            refusals.append(Refusal(source, index, re.sub('^frame 0:? ', '', str(exception))))
    if labelled or any(candidate.frame.is_labelled for candidate in candidates):
        cause = 'no energy and forces' if labelled else 'no energy and forces, which other frames have'
        refusals += [candidate.refuse(cause) for candidate in candidates if not candidate.frame.is_labelled]
        candidates = [candidate for candidate in candidates if candidate.frame.is_labelled]
    candidates, repeated = _distinct(candidates)
    frames = Frames.concatenate(candidate.frame for candidate in candidates)
    lost = set(OPTIONAL_COLUMNS) - set(frames.columns())
    ignored = Counter(
        name for candidate in candidates for name in candidate.ignored | (lost & set(candidate.frame.columns()))
    )
    return Imported(frames, (*refusals, *repeated), dict(sorted(ignored.items())))


def _frame(atoms: Atoms, labelled: bool | None, keys: LabelKeys, origin: str) -> tuple[Frames, frozenset[str]]:
    """Return a structure as a set of one frame, and the names of what else it carries.

    :raises ValueError: when it must not be used.
    """
    results = {} if atoms.calc is None else {k: v for k, v in atoms.calc.results.items() if v is not None}
    carried = {**atoms.arrays, **atoms.info, **results}
    ignored = set(carried) - INFO - ARRAYS
    named = {name: key for name, key in keys.names().items() if key in ignored}
    labels = {name: carried[key] for name, key in named.items()}
    used = [key for key in named.values() if key in results]
    ignored -= set(named.values())
    if labelled is False or set(labels) == {'stress'}:
        ignored |= set(named.values())
        labels = {}
    if atoms.constraints:
        ignored.add('constraints')
    frame = Frames(
        offsets=np.array([0, len(atoms)]),
        numbers=atoms.numbers,
        positions=atoms.positions,
        cells=atoms.cell.array[None],
        pbc=atoms.pbc[None],
        force_weight=atoms.arrays.get('force_weight', np.ones(len(atoms))),
        weight=np.array([atoms.info.get('weight', 1.0)]),
        origin=np.array([str(atoms.info.get('origin', origin))]),
        label_uuid=np.array([str(atoms.info.get('label_uuid', ''))]),
        grade=atoms.arrays.get('grade'),
        **_columns(labels, len(atoms)),
    )
    if used and labelled is not False and atoms.calc.calculation_required(atoms, used):
        raise ValueError('the calculator holds results of another structure')
    return frame, frozenset(ignored)


def _columns(labels: Mapping[str, t.Any], count: int) -> dict[str, t.Any]:
    """Return the labels of one structure of ``count`` atoms as columns.

    :raises ValueError: when they are incomplete or have the wrong shape.
    """
    if ('energy' in labels) != ('forces' in labels):
        raise ValueError('an energy without forces' if 'energy' in labels else 'forces without an energy')
    shapes: dict[str, list[tuple[int, ...]]] = {
        'energy': [()],
        'forces': [(count, 3)],
        'stress': [(6,), (3, 3), (9,)],
    }
    columns = {}
    for name, value in labels.items():
        array = np.asarray(value)
        if array.dtype.kind not in 'fiu':
            raise ValueError(f'`{name}` holds something that is no number')
        if array.shape not in shapes[name]:
            expected = ' or '.join(map(str, shapes[name]))
            raise ValueError(f'`{name}` has the shape {array.shape}, expected {expected}')
        if name == 'stress' and array.size == 9:
            array = full_3x3_to_voigt_6_stress(array.reshape(3, 3))
        columns[name] = array if name == 'forces' else array[None]
    return columns


def _distinct(candidates: list[_Candidate]) -> tuple[list[_Candidate], list[Refusal]]:
    """Return the candidates without those whose structure an earlier one has, and these refused."""
    first: dict[bytes, _Candidate] = {}
    refusals = []
    for candidate in candidates:
        known = first.setdefault(exact_fingerprints(candidate.frame)[0], candidate)
        if known is not candidate:
            contrary = '' if _labels_agree(known.frame, candidate.frame) else ', with other labels'
            refusals.append(candidate.refuse(f'repeats an earlier frame{contrary}'))
    return list(first.values()), refusals


def _labels_agree(one: Frames, other: Frames) -> bool:
    """Return whether two frames of the same structure have the same energy and forces."""
    if one.energy is None or one.forces is None or other.energy is None or other.forces is None:
        return True
    pairs = ((one.energy, other.energy), (one.forces, other.forces))
    return all(np.allclose(mine, its, rtol=0, atol=LABEL_TOLERANCE) for mine, its in pairs)


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
        raise ExchangeError(f'{path} is there already: give another name, or replace it with `overwrite`')
    try:
        with tempfile.TemporaryDirectory(prefix=f'.{path.name}-', dir=path.parent) as folder:
            target = Path(folder) / path.name
            write(frames, target)
            os.replace(target, path)
    except (OSError, sqlite3.Error) as exception:
        raise ExchangeError(f'{path} cannot be written: {exception}') from exception
