"""`AtomsDatasetData`: a set of frames, labelled or not, in one node."""

from __future__ import annotations

import io
import tempfile
import typing as t
from pathlib import Path

import numpy as np
from aiida import orm
from aiida.common.exceptions import ValidationError
from aiida.orm.pydantic import OrmMetadataField
from ase.data import chemical_symbols

from aiida_pace.frames import SCHEMA_VERSION, Frames, FramesError
from aiida_pace.structures.fingerprint import duplicate_indices

__all__ = ('AtomsDatasetData',)


class AtomsDatasetData(orm.Data):
    """One mixed set of frames: any sizes, any elements, all labelled or none; no frame twice.

    The frames are one file, `FILENAME`, as `aiida_pace.frames.Frames` writes it; the same frames give the same hash.
    They are read when first asked for. What a query may want to know is in the attributes.
    """

    FILENAME = 'frames.npz'

    class AttributesModel(orm.Data.AttributesModel):
        """Attributes of the node, for queries."""

        count: int = OrmMetadataField(description='Number of frames', read_only=True)
        atoms_count: int = OrmMetadataField(description='Number of atoms of all frames', read_only=True)
        element_counts: dict[str, int] = OrmMetadataField(description='Number of atoms per element', read_only=True)
        elements: list[str] = OrmMetadataField(description='Chemical symbols, sorted', read_only=True)
        is_labelled: bool = OrmMetadataField(description='Whether the frames have energies and forces', read_only=True)
        schema_version: int = OrmMetadataField(description='Version of the file format', read_only=True)

    def __init__(self, frames: Frames, **kwargs: t.Any) -> None:
        """Make a node of ``frames``.

        :raises FramesError: when there are no frames, or a frame is there twice.
        """
        _check(frames)
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        stream = io.BytesIO()
        frames.save(stream)
        self.base.repository.put_object_from_bytes(stream.getvalue(), self.FILENAME)
        self.base.attributes.set_many(_attributes(frames))
        self._frames = frames

    _frames: Frames | None

    def initialize(self) -> None:
        """Start without frames in memory; also called when a node is loaded from the database."""
        super().initialize()
        self._frames = None
        self._export_format_replacements = {'gzip': 'pckl_gzip'}  # what `export` makes of the suffix `.pckl.gzip`

    @classmethod
    def from_file(cls, path: str | Path, *, labelled: bool | None = None, guards: bool = True) -> AtomsDatasetData:
        """Return an unstored node of the frames in an extended XYZ file or an ASE database.

        :param labelled: False leaves the labels out; otherwise all frames have labels or, unless True, none has.
        :param guards: refuse implausible frames, such as those with huge forces.
        :raises ExchangeError: when the file cannot be read.
        :raises FramesError: when any frame is refused; ``aiida-pace import`` takes the others, and lists these.
        """
        from aiida_pace.formats.exchange import read_frames  # it imports ase.db, which takes a second

        imported = read_frames([path], labelled=labelled, guards=guards)
        if imported.refusals:
            first = imported.refusals[0]
            raise FramesError(
                f'{path}: frames refused: {len(imported.refusals)}, such as frame {first.index} ({first.cause}'
                f'{", " * bool(first.place)}{first.place}); '
                'leave them out, or use `aiida-pace import`, which lists them and takes the others'
            )
        return cls(imported.frames)

    def __repr__(self) -> str:
        """Return class, size and key."""
        return f'<{type(self).__name__}: {self.count} frames of {", ".join(self.elements)} (pk: {self.pk})>'

    @property
    def frames(self) -> Frames:
        """The frames, read from the repository at first use.

        :raises FramesError: when the file in the repository is damaged.
        """
        if self._frames is None:
            self._frames = self._load()
        return self._frames

    @property
    def count(self) -> int:
        """Number of frames."""
        return int(self.base.attributes.get('count'))

    @property
    def atoms_count(self) -> int:
        """Number of atoms of all frames together."""
        return int(self.base.attributes.get('atoms_count'))

    @property
    def element_counts(self) -> dict[str, int]:
        """Number of atoms per chemical symbol."""
        return dict(self.base.attributes.get('element_counts'))

    @property
    def elements(self) -> list[str]:
        """Chemical symbols present, sorted."""
        return list(self.base.attributes.get('elements'))

    @property
    def is_labelled(self) -> bool:
        """Whether the frames carry energies and forces."""
        return bool(self.base.attributes.get('is_labelled'))

    @property
    def schema_version(self) -> int:
        """Version of the file format."""
        return int(self.base.attributes.get('schema_version'))

    def _prepare_extxyz(self, main_file_name: str = '') -> tuple[bytes, dict[str, bytes]]:
        """Return the content of the file that `export` writes; every format has such a method."""
        return self._written('.extxyz'), {}

    _prepare_xyz = _prepare_extxyz

    def _prepare_db(self, main_file_name: str = '') -> tuple[bytes, dict[str, bytes]]:
        """Return the frames as an ASE database."""
        return self._written('.db'), {}

    def _prepare_pckl_gzip(self, main_file_name: str = '') -> tuple[bytes, dict[str, bytes]]:
        """Return the frames as the data frame of pacemaker."""
        return self._written('.pckl.gzip'), {}

    def _written(self, suffix: str) -> bytes:
        """Return what a file of the format holds."""
        from aiida_pace.formats.exchange import write_frames

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f'frames{suffix}'
            write_frames(self.frames, path)
            return path.read_bytes()

    def _load(self) -> Frames:
        """Read the frames from the repository."""
        with self.base.repository.open(self.FILENAME, mode='rb') as handle:
            return Frames.load(io.BytesIO(handle.read()))

    def _validate(self) -> bool:
        """Check, before storing, that file and attributes are what the constructor made.

        :raises ValidationError: when they are not.
        """
        super()._validate()
        names = self.base.repository.list_object_names()
        if names != [self.FILENAME]:
            raise ValidationError(f'the node must hold the file `{self.FILENAME}` alone, it holds: {names}')
        try:
            frames = self._load()
            _check(frames)
        except FramesError as exception:
            raise ValidationError(f'`{self.FILENAME}`: {exception}') from exception
        for key, value in _attributes(frames).items():
            if self.base.attributes.get(key, None) != value:
                raise ValidationError(f'attribute `{key}` does not describe `{self.FILENAME}`')
        return True


def _check(frames: Frames) -> None:
    """Raise `FramesError` when there are no frames, or a frame is there twice."""
    if len(frames) == 0:
        raise FramesError('the set has no frames: give at least one')
    duplicates = duplicate_indices(frames)
    if duplicates:
        raise FramesError(
            f'{len(duplicates)} frames repeat an earlier one, the first of them is frame {duplicates[0]}: '
            'leave them out, `structures.fingerprint.duplicate_indices` lists them'
        )


def _attributes(frames: Frames) -> dict[str, t.Any]:
    """Return the attributes that describe ``frames``."""
    numbers, counts = np.unique(frames.numbers, return_counts=True)
    element_counts = {chemical_symbols[number]: int(n) for number, n in zip(numbers, counts, strict=True)}
    return {
        'atoms_count': len(frames.numbers),
        'count': len(frames),
        'element_counts': dict(sorted(element_counts.items())),
        'elements': sorted(element_counts),
        'is_labelled': frames.is_labelled,
        'schema_version': SCHEMA_VERSION,
    }
