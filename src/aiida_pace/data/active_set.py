"""`AceActiveSetData`: the active set of an ACE potential, from which extrapolation grades are computed."""

from __future__ import annotations

import io
import typing as t
import zipfile

import numpy as np
from aiida import orm
from aiida.common.exceptions import ValidationError
from aiida.orm.pydantic import OrmMetadataField

from aiida_pace.data.potential import AcePotentialData

__all__ = ('AceActiveSetData',)


class AceActiveSetData(orm.Data):
    """The inverted active set (``.asi``) that ``pace_activeset`` makes of one potential and its training data."""

    FILENAME = 'active_set.asi'

    class AttributesModel(orm.Data.AttributesModel):
        """Attributes of the node, for queries."""

        elements: list[str] = OrmMetadataField(description='Chemical symbols, sorted', read_only=True)
        potential_digest: str = OrmMetadataField(
            description='SHA-256 of the B-basis yaml of the potential', read_only=True
        )
        ranks: dict[str, int] = OrmMetadataField(description='Number of environments per element', read_only=True)

    def __init__(self, asi: bytes, *, potential: AcePotentialData, **kwargs: t.Any) -> None:
        """Make a node of an active set.

        :param asi: content of the file.
        :param potential: the potential it was made for.
        :raises ValueError: when ``asi`` is no active set, or not one of ``potential``.
        """
        ranks = _ranks(asi)
        if ranks != potential.functions_per_element:
            raise ValueError(
                f'the active set has the ranks {ranks}, the potential the functions {potential.functions_per_element}: '
                'an active set fits only the potential it was made for'
            )
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self.base.repository.put_object_from_bytes(asi, self.FILENAME)
        self.base.attributes.set_many(
            {'elements': list(ranks), 'potential_digest': potential.digest, 'ranks': ranks},
        )

    def __repr__(self) -> str:
        """Return class, ranks and key."""
        ranks = ', '.join(f'{element} {rank}' for element, rank in self.ranks.items())
        return f'<{type(self).__name__}: ranks {ranks} (pk: {self.pk})>'

    @property
    def elements(self) -> list[str]:
        """Chemical symbols, sorted."""
        return list(self.base.attributes.get('elements'))

    @property
    def ranks(self) -> dict[str, int]:
        """Number of environments per element: the number of basis functions of the potential."""
        return dict(self.base.attributes.get('ranks'))

    @property
    def potential_digest(self) -> str:
        """`AcePotentialData.digest` of the potential the set is for."""
        return str(self.base.attributes.get('potential_digest'))

    def matches(self, potential: AcePotentialData) -> bool:
        """Return whether the set was made for just this ``potential``."""
        return self.potential_digest == potential.digest

    def get_asi(self) -> bytes:
        """Return the content of the file."""
        return self.base.repository.get_object_content(self.FILENAME, mode='rb')

    def _validate(self) -> bool:
        """Check, before storing, that the attributes describe the file.

        :raises ValidationError: when they do not.
        """
        super()._validate()
        names = self.base.repository.list_object_names()
        if names != [self.FILENAME]:
            raise ValidationError(f'the node must hold the file `{self.FILENAME}` alone, it holds: {names}')
        if _ranks(self.get_asi()) != self.ranks:
            raise ValidationError(f'attribute `ranks` does not describe `{self.FILENAME}`')
        return True


def _ranks(asi: bytes) -> dict[str, int]:
    """Return the rank per element, sorted by symbol.

    :raises ValueError: when ``asi`` is no archive of finite, square matrices.
    """
    try:
        with np.load(io.BytesIO(asi), allow_pickle=False) as archive:
            matrices = {name: archive[name] for name in sorted(archive.files)}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as exception:
        raise ValueError(f'not an active set of pace_activeset: {exception}') from exception
    if not matrices:
        raise ValueError('the active set is empty: the file names no element')
    for element, matrix in matrices.items():
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.dtype.kind != 'f':
            raise ValueError(f'the active set of {element} has the shape {matrix.shape}, expected a square matrix')
        if not np.isfinite(matrix).all():
            raise ValueError(f'the active set of {element} holds a number that is not finite')
    return {element: len(matrix) for element, matrix in matrices.items()}
