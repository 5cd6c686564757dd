"""`AcePosteriorData`: what a linear fit leaves uncertain of the coefficients of one potential."""

from __future__ import annotations

import io
import typing as t

from aiida import orm
from aiida.common.exceptions import ValidationError
from aiida.orm.pydantic import OrmMetadataField

from aiida_pace.data.potential import AcePotentialData
from aiida_pace.metrics.posterior import Posterior, PosteriorError

__all__ = ('AcePosteriorData',)


class AcePosteriorData(orm.Data):
    """The information in the design rows of a linear fit, as ``pace-fit-linear`` writes it beside the potential.

    It is a node of its own, and no part of the active set: the fit makes it, from the weights and the ridge, where
    another program makes the active set later from the environments alone; fits that are not linear have an active set
    and no posterior; and LAMMPS reads the file of the active set, which has no room for more.
    """

    FILENAME = 'posterior.npz'

    class AttributesModel(orm.Data.AttributesModel):
        """Attributes of the node, for queries."""

        elements: list[str] = OrmMetadataField(description='Chemical symbols, sorted', read_only=True)
        functions_per_element: dict[str, int] = OrmMetadataField(
            description='Number of basis functions per element', read_only=True
        )
        potential_digest: str = OrmMetadataField(
            description='SHA-256 of the B-basis yaml of the potential', read_only=True
        )

    def __init__(self, content: bytes, *, potential: AcePotentialData, **kwargs: t.Any) -> None:
        """Make a node of a posterior.

        :param content: content of the file.
        :param potential: the potential it was made with.
        :raises ValueError: when ``content`` is no posterior, or not one of ``potential``.
        """
        attributes = _attributes(content)
        if attributes['potential_digest'] != potential.digest:
            raise ValueError('the posterior belongs to another potential')
        if attributes['functions_per_element'] != potential.functions_per_element:
            raise ValueError(
                f'the posterior is for the functions {attributes["functions_per_element"]}, the potential has '
                f'{potential.functions_per_element}'
            )
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self.base.repository.put_object_from_bytes(content, self.FILENAME)
        self.base.attributes.set_many(attributes)

    def __repr__(self) -> str:
        """Return class, size of the basis and key."""
        functions = ', '.join(f'{element} {count}' for element, count in self.functions_per_element.items())
        return f'<{type(self).__name__}: functions {functions} (pk: {self.pk})>'

    @property
    def elements(self) -> list[str]:
        """Chemical symbols, sorted."""
        return list(self.base.attributes.get('elements'))

    @property
    def functions_per_element(self) -> dict[str, int]:
        """Number of basis functions of each element."""
        return dict(self.base.attributes.get('functions_per_element'))

    @property
    def potential_digest(self) -> str:
        """`AcePotentialData.digest` of the potential the posterior is for."""
        return str(self.base.attributes.get('potential_digest'))

    def matches(self, potential: AcePotentialData) -> bool:
        """Return whether the posterior was made with just this ``potential``."""
        return self.potential_digest == potential.digest

    def get_content(self) -> bytes:
        """Return the content of the file."""
        return self.base.repository.get_object_content(self.FILENAME, mode='rb')

    def get_posterior(self) -> Posterior:
        """Return the posterior, read from the repository."""
        return Posterior.load(io.BytesIO(self.get_content()))

    def _validate(self) -> bool:
        """Check, before storing, that the attributes describe the file.

        :raises ValidationError: when they do not.
        """
        super()._validate()
        names = self.base.repository.list_object_names()
        if names != [self.FILENAME]:
            raise ValidationError(f'the node must hold the file `{self.FILENAME}` alone, it holds: {names}')
        try:
            attributes = _attributes(self.get_content())
        except ValueError as exception:
            raise ValidationError(f'`{self.FILENAME}`: {exception}') from exception
        for key, value in attributes.items():
            if self.base.attributes.get(key, None) != value:
                raise ValidationError(f'attribute `{key}` does not describe `{self.FILENAME}`')
        return True


def _attributes(content: bytes) -> dict[str, t.Any]:
    """Return the attributes that describe the file.

    :raises ValueError: when it holds no posterior.
    """
    try:
        posterior = Posterior.load(io.BytesIO(content))
    except PosteriorError as exception:
        raise ValueError(f'not a posterior of pace-fit-linear: {exception}') from exception
    functions = dict(sorted(posterior.functions_per_element.items()))
    return {
        'elements': list(functions),
        'functions_per_element': functions,
        'potential_digest': posterior.potential_digest,
    }
