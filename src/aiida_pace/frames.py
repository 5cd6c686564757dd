"""Columnar frames: the one in-memory and on-disk form of a set of structures; arrays only, no AiiDA."""

from __future__ import annotations

import dataclasses
import typing as t
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

__all__ = ('AUDIT', 'Frames', 'FramesError')

FloatArray = npt.NDArray[np.float64]
SCHEMA_VERSION = 1

#: Origin of the frames of an audit: once they are labelled, nothing is trained on them.
AUDIT = 'audit'

#: Columns with one row per atom; every other column has one row per frame.
ATOM_COLUMNS = ('numbers', 'positions', 'forces', 'force_weight', 'grade')

#: Columns that a set of frames has as a whole or not at all.
OPTIONAL_COLUMNS = ('energy', 'forces', 'stress', 'grade')

#: Shape of one row and type of every column.
COLUMNS: dict[str, tuple[tuple[int, ...], str]] = {
    'numbers': ((), 'i4'),
    'positions': ((3,), 'f8'),
    'cells': ((3, 3), 'f8'),
    'pbc': ((3,), '?'),
    'energy': ((), 'f8'),
    'forces': ((3,), 'f8'),
    'stress': ((6,), 'f8'),
    'grade': ((), 'f8'),
    'force_weight': ((), 'f8'),
    'weight': ((), 'f8'),
    'origin': ((), 'U'),
    'label_uuid': ((), 'U'),
}


class FramesError(ValueError):
    """A set of frames that must not be used: the message names the frame, the column and the fault."""


@dataclasses.dataclass(frozen=True, eq=False)
class Frames:
    """A mixed set of ``n`` frames with ``N`` atoms in all: any sizes, any elements.

    Frame ``i`` owns the atoms ``offsets[i]:offsets[i + 1]``. The optional columns (`OPTIONAL_COLUMNS`) are held for
    all frames or for none; energy and forces only together.

    :param offsets: (n + 1,) first atom of each frame, ending with ``N``.
    :param numbers: (N,) atomic numbers.
    :param positions: (N, 3) in Å.
    :param cells: (n, 3, 3) cell vectors as rows, in Å.
    :param pbc: (n, 3) periodic directions.
    :param force_weight: (N,) weight of each atom's forces in a fit; 0 takes the atom out of it.
    :param weight: (n,) weight of each frame's energy in a fit.
    :param origin: (n,) what made the frame: the name of a recipe, ``halt``, ``swarm/rattle``, ...
    :param label_uuid: (n,) UUID of the node that holds the label (the output trajectory of the DFT run), or an empty
        string.
    :param energy: (n,) total energy of each frame in eV, optional.
    :param forces: (N, 3) in eV/Å, optional.
    :param stress: (n, 6) in eV/Å³, Voigt order xx yy zz yz xz xy, ASE's sign (negative under compression), optional.
    :param grade: (N,) extrapolation grade of each atom, optional.
    :raises FramesError: when a column has the wrong shape or type or a number that is not finite, a label is half
        given, or the vectors of the periodic directions span nothing.
    """

    offsets: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int32]
    positions: FloatArray
    cells: FloatArray
    pbc: npt.NDArray[np.bool_]
    force_weight: FloatArray
    weight: FloatArray
    origin: npt.NDArray[np.str_]
    label_uuid: npt.NDArray[np.str_]
    energy: FloatArray | None = None
    forces: FloatArray | None = None
    stress: FloatArray | None = None
    grade: FloatArray | None = None

    def __post_init__(self) -> None:
        """Bring every column to its type, make it read-only, and check it."""
        object.__setattr__(self, 'offsets', _column('offsets', self.offsets, 'i8'))
        for name, column in self.columns().items():
            object.__setattr__(self, name, _column(name, column, COLUMNS[name][1]))
        _check(self)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.offsets) - 1

    def columns(self) -> dict[str, npt.NDArray[t.Any]]:
        """Return the columns that are present, by name (without ``offsets``)."""
        present = ((name, getattr(self, name)) for name in COLUMNS)
        return {name: column for name, column in present if column is not None}

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """(n,) number of atoms of each frame."""
        return np.diff(self.offsets)

    @property
    def elements(self) -> list[str]:
        """Chemical symbols present, sorted by name."""
        return sorted(Atoms(numbers=np.unique(self.numbers)).get_chemical_symbols())

    @property
    def is_labelled(self) -> bool:
        """Whether the frames carry energies and forces."""
        return self.energy is not None

    def max_grade(self) -> FloatArray:
        """(n,) largest extrapolation grade of each frame.

        :raises FramesError: when the frames carry no grade.
        """
        if self.grade is None:
            raise FramesError('the frames carry no extrapolation grade')
        return np.asarray(np.maximum.reduceat(self.grade, self.offsets[:-1]))

    def atoms_slice(self, index: int) -> slice:
        """Return the slice of frame ``index`` in the columns with one row per atom."""
        return slice(int(self.offsets[index]), int(self.offsets[index + 1]))

    def take(self, indices: Sequence[int] | npt.NDArray[np.integer[t.Any]]) -> Frames:
        """Return the frames ``indices``, in that order.

        :raises FramesError: when ``indices`` are not integers: a mask goes through ``np.flatnonzero`` first.
        :raises IndexError: when there is no such frame.
        """
        frames = _column('indices', indices, 'i8')
        sizes = self.sizes[frames]
        offsets = np.concatenate(([0], np.cumsum(sizes)))
        atoms = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][frames] - offsets[:-1], sizes)
        columns = {name: column[atoms if name in ATOM_COLUMNS else frames] for name, column in self.columns().items()}
        return Frames(offsets=offsets, **columns)

    def replace(self, **columns: t.Any) -> Frames:
        """Return the same frames with some columns given anew; None removes an optional one."""
        return dataclasses.replace(self, **columns)

    @classmethod
    def concatenate(cls, parts: Iterable[Frames]) -> Frames:
        """Return all frames of ``parts``; an optional column is kept only when every part has it."""
        parts = list(parts)
        if not parts:
            return cls.from_atoms([])
        names = set.intersection(*(set(part.columns()) for part in parts))
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS if name in names}
        offsets = np.concatenate(([0], np.cumsum(np.concatenate([part.sizes for part in parts]))))
        return cls(offsets=offsets, **columns)

    @classmethod
    def from_atoms(cls, images: Iterable[Atoms], origin: str | Sequence[str] = '') -> Frames:
        """Return frames from ASE's ``images``, with the labels of their calculators when all of them have labels.

        Of an image's ``info`` the keys ``origin``, ``label_uuid`` and ``weight`` are read, of its arrays
        ``force_weight`` and ``grade``. Stresses and grades are kept when every image has them.

        :param images: the structures; a calculator must hold energy and forces of just this structure, or neither.
        :param origin: what made the frames, one for all or one each; an image's own ``info['origin']`` comes first.
        :raises FramesError: when only some images are labelled or a label is half given.
        """
        images = list(images)
        origins = [origin] * len(images) if isinstance(origin, str) else list(origin)
        results = [_results(atoms, index) for index, atoms in enumerate(images)]
        optional: dict[str, list[t.Any]] = {
            name: [result[name] for result in results if name in result] for name in OPTIONAL_COLUMNS
        }
        for name in ('energy', 'forces'):
            if 0 < len(optional[name]) < len(images):
                index = next(i for i, result in enumerate(results) if name not in result)
                raise FramesError(f'frame {index} has no {name} while others have: give labels for all frames or none')

        def rows(per_image: list[t.Any], name: str) -> npt.NDArray[t.Any]:
            shape, dtype = COLUMNS[name]
            arrays = [np.asarray(row, dtype=dtype).reshape(-1, *shape) for row in per_image]
            return np.concatenate(arrays) if arrays else np.empty((0, *shape), dtype=dtype)

        return cls(
            offsets=np.concatenate(([0], np.cumsum([len(atoms) for atoms in images]))),
            numbers=rows([atoms.numbers for atoms in images], 'numbers'),
            positions=rows([atoms.positions for atoms in images], 'positions'),
            cells=rows([atoms.cell.array for atoms in images], 'cells'),
            pbc=rows([atoms.pbc for atoms in images], 'pbc'),
            force_weight=rows(
                [atoms.arrays.get('force_weight', np.ones(len(atoms))) for atoms in images], 'force_weight'
            ),
            weight=rows([atoms.info.get('weight', 1.0) for atoms in images], 'weight'),
            origin=rows(
                [atoms.info.get('origin', name) for atoms, name in zip(images, origins, strict=True)], 'origin'
            ),
            label_uuid=rows([atoms.info.get('label_uuid', '') for atoms in images], 'label_uuid'),
            **{name: rows(column, name) for name, column in optional.items() if images and len(column) == len(images)},
        )

    def atoms(self, index: int) -> Atoms:
        """Return frame ``index`` as ASE atoms, labels in a calculator, the other columns in ``info`` and ``arrays``."""
        part = self.atoms_slice(index)
        atoms = Atoms(
            numbers=self.numbers[part], positions=self.positions[part], cell=self.cells[index], pbc=self.pbc[index]
        )
        atoms.info['origin'] = str(self.origin[index])
        if self.label_uuid[index]:
            atoms.info['label_uuid'] = str(self.label_uuid[index])
        if self.weight[index] != 1:
            atoms.info['weight'] = float(self.weight[index])
        if np.any(self.force_weight[part] != 1):
            atoms.set_array('force_weight', self.force_weight[part])
        if self.grade is not None:
            atoms.set_array('grade', self.grade[part])
        if self.energy is not None and self.forces is not None:
            results = {'energy': float(self.energy[index]), 'forces': self.forces[part].copy()}
            if self.stress is not None:
                results['stress'] = self.stress[index].copy()
            atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms

    def __iter__(self) -> Iterator[Atoms]:
        """Iterate over the frames as ASE atoms."""
        return (self.atoms(index) for index in range(len(self)))

    def save(self, target: str | Path | t.BinaryIO) -> None:
        """Write the frames as an uncompressed npz archive; the same frames always give the same bytes."""
        with zipfile.ZipFile(target, 'w', zipfile.ZIP_STORED) as archive:
            arrays = {'schema_version': np.int64(SCHEMA_VERSION), 'offsets': self.offsets, **self.columns()}
            for name, array in arrays.items():
                # A fixed date, the one ZipInfo starts with: content alone decides the bytes, as caching needs.
                with archive.open(zipfile.ZipInfo(f'{name}.npy'), 'w', force_zip64=True) as handle:
                    np.lib.format.write_array(handle, np.asarray(array), allow_pickle=False)

    @classmethod
    def load(cls, source: str | Path | t.BinaryIO) -> Frames:
        """Read what `save` wrote, without pickle.

        :raises FramesError: when the file is no such archive, has another schema version or a column is broken.
        :raises OSError: when the file cannot be read.
        """
        try:
            with np.load(source, allow_pickle=False) as archive:
                arrays = {name: _read_only(archive[name]) for name in archive.files}
        except (EOFError, KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as exception:
            raise FramesError(f'not an archive of frames: {exception}') from exception
        version = arrays.pop('schema_version', np.int64(-1))
        if np.shape(version) != () or version != SCHEMA_VERSION:
            raise FramesError(f'the file has schema version {version}, this release reads version {SCHEMA_VERSION}')
        known = {field.name for field in dataclasses.fields(cls)}
        missing = known - set(OPTIONAL_COLUMNS) - set(arrays)
        if missing or set(arrays) - known:
            raise FramesError(
                f'the file lacks the columns {sorted(missing)} and has unknown {sorted(set(arrays) - known)}'
            )
        return cls(**arrays)


def _read_only(array: npt.NDArray[t.Any]) -> npt.NDArray[t.Any]:
    """Forbid to write to ``array``."""
    array.flags.writeable = False
    return array


def _column(name: str, values: t.Any, dtype: str) -> npt.NDArray[t.Any]:
    """Return ``values`` as a read-only array of its own: nobody can change a set of frames once it is checked.

    Texts get the least width that holds them: the same frames give the same file.

    :raises FramesError: when ``values`` cannot be held by ``dtype`` without loss.
    """
    array = np.asarray(values)
    if dtype == 'U':
        if array.dtype.kind == 'O' and all(isinstance(value, str) for value in array.flat):
            array = array.astype('U')
        dtype = f'U{max([1, *map(len, array.flat)])}' if array.dtype.kind == 'U' else 'U1'
    if array.base is None and array.dtype == dtype and array.flags.c_contiguous and not array.flags.writeable:
        return array
    allowed = {'U': 'U', 'f': 'fiu', 'i': 'iuf', 'b': 'biu'}[np.dtype(dtype).kind]
    if array.size and array.dtype.kind not in allowed:
        raise FramesError(f'column `{name}` is of the type {array.dtype}, which {np.dtype(dtype)} cannot hold')
    with np.errstate(invalid='ignore'):
        own = np.array(array, dtype=dtype, order='C', copy=True)
    if array.size and own.dtype.kind in 'ib' and not np.array_equal(own, array):
        raise FramesError(f'column `{name}` holds a number that {np.dtype(dtype)} cannot hold')
    return _read_only(own)


def _results(atoms: Atoms, index: int) -> dict[str, t.Any]:
    """Return the labels and grades held by ``atoms``; refuse results of another structure and half labels."""
    results: dict[str, t.Any] = {}
    if 'grade' in atoms.arrays:
        results['grade'] = atoms.arrays['grade']
    if atoms.calc is None:
        return results
    computed = getattr(atoms.calc, 'results', {})
    held = {name: computed[name] for name in ('energy', 'forces', 'stress') if computed.get(name) is not None}
    if held and atoms.calc.calculation_required(atoms, list(held)):
        raise FramesError(f'frame {index}: the calculator holds results of another structure; attach the right ones')
    if ('energy' in held) != ('forces' in held):
        raise FramesError(f'frame {index}: energy and forces must be given both or neither, it has only one of them')
    if 'energy' not in held:
        held.pop('stress', None)
    if np.shape(held.get('stress', np.zeros(6))) == (3, 3):
        held['stress'] = full_3x3_to_voigt_6_stress(held['stress'])
    return results | held


def _check(frames: Frames) -> None:
    """Raise `FramesError` at the first fault; the message names column and frame."""
    offsets = frames.offsets
    if offsets.ndim != 1 or len(offsets) == 0 or offsets[0] != 0:
        raise FramesError('offsets must be a row of integers that starts with 0')
    if np.any(np.diff(offsets) < 1):
        raise FramesError(f'frame {int(np.argmax(np.diff(offsets) < 1))} has no atoms')
    if (frames.energy is None) != (frames.forces is None):
        raise FramesError('energy and forces must be given both or neither')
    if frames.stress is not None and frames.energy is None:
        raise FramesError('stress is given without energy and forces')
    for name, column in frames.columns().items():
        rows = int(offsets[-1]) if name in ATOM_COLUMNS else len(offsets) - 1
        expected = (rows, *COLUMNS[name][0])
        if column.shape != expected:
            raise FramesError(f'column `{name}` has shape {column.shape}, expected {expected}')
        if column.dtype.kind == 'f' and not np.isfinite(column).all():
            row = int(np.argmin(np.isfinite(column).reshape(rows, -1).all(axis=1)))
            index = int(np.searchsorted(offsets, row, side='right')) - 1 if name in ATOM_COLUMNS else row
            raise FramesError(f'frame {index}: `{name}` holds a number that is not finite (NaN or infinity)')
    flat = _cell_determinants(frames) < 1e-12
    if np.any(flat):
        raise FramesError(f'frame {int(np.argmax(flat))}: the cell vectors of its periodic directions span nothing')
    if np.any(frames.numbers < 1) or np.any(frames.numbers > 118):
        raise FramesError('`numbers` holds a value that is no atomic number (1 to 118)')
    for name in ('force_weight', 'weight'):
        if np.any(getattr(frames, name) < 0):
            raise FramesError(f'`{name}` holds a negative weight')


def _cell_determinants(frames: Frames) -> FloatArray:
    """Return (n,) the Gram determinant of the unit vectors of the periodic directions: 0 when they are flat."""
    lengths = np.linalg.norm(frames.cells, axis=2, keepdims=True)
    units = np.divide(frames.cells, lengths, out=np.zeros_like(frames.cells), where=lengths > 0)
    gram = units @ units.transpose(0, 2, 1)
    gram[~(frames.pbc[:, :, None] & frames.pbc[:, None, :])] = 0
    gram[:, range(3), range(3)] += ~frames.pbc
    return np.asarray(np.linalg.det(gram))
