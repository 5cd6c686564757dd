"""`AcePotentialData`: an ACE potential, as pacemaker's B-basis file and, when made, as the file LAMMPS reads."""

from __future__ import annotations

import hashlib
import math
import typing as t

from aiida import orm
from aiida.common.exceptions import ValidationError
from aiida.orm.pydantic import OrmMetadataField

from aiida_pace.formats.bbasis import parse_bbasis, yace_elements

if t.TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from aiida_pace.data.active_set import AceActiveSetData

__all__ = ('AcePotentialData',)


class AcePotentialData(orm.Data):
    """An ACE potential: the B-basis yaml, the yace made from it, and the energies of the isolated atoms it left out.

    The potential predicts energies relative to isolated atoms; with `reference_energies` they become those of the
    labels it was fitted to.
    """

    FILENAME = 'potential.yaml'
    FILENAME_YACE = 'potential.yace'

    class AttributesModel(orm.Data.AttributesModel):
        """Attributes of the node, for queries."""

        cutoff: float = OrmMetadataField(description='Largest cutoff radius, in Å', read_only=True)
        digest: str = OrmMetadataField(description='SHA-256 of the B-basis yaml', read_only=True)
        elements: list[str] = OrmMetadataField(description='Chemical symbols, sorted', read_only=True)
        functions_per_element: dict[str, int] = OrmMetadataField(
            description='Number of basis functions per element', read_only=True
        )
        reference_energies: dict[str, float] = OrmMetadataField(
            description='Energy of the isolated atoms, in eV', read_only=True
        )

    def __init__(
        self,
        yaml: bytes,
        *,
        yace: bytes | None = None,
        reference_energies: dict[str, float] | None = None,
        **kwargs: t.Any,
    ) -> None:
        """Make a node of a potential.

        :param yaml: content of the B-basis file.
        :param yace: content of the file that ``pace_yaml2yace`` makes of it.
        :param reference_energies: energy of an isolated atom of each element, in eV; those of other elements are left
            out, and without any they count as 0.
        :raises ValueError: when a file is not what it should be, the elements of the two files differ, or the reference
            energies are incomplete or not finite.
        """
        attributes = _attributes(yaml)
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self.base.repository.put_object_from_bytes(yaml, self.FILENAME)
        if yace is not None:
            _check_yace(yace, attributes['elements'])
            self.base.repository.put_object_from_bytes(yace, self.FILENAME_YACE)
        energies = _reference_energies(reference_energies or {}, attributes['elements'])
        self.base.attributes.set_many({**attributes, 'reference_energies': energies})

    def __repr__(self) -> str:
        """Return class, elements, size of the basis and key."""
        functions = ', '.join(f'{element} {count}' for element, count in self.functions_per_element.items())
        return f'<{type(self).__name__}: functions {functions} (pk: {self.pk})>'

    @property
    def elements(self) -> list[str]:
        """Chemical symbols the potential is for, sorted."""
        return list(self.base.attributes.get('elements'))

    @property
    def cutoff(self) -> float:
        """Largest cutoff radius, in Å."""
        return float(self.base.attributes.get('cutoff'))

    @property
    def functions_per_element(self) -> dict[str, int]:
        """Number of basis functions centred on each element."""
        return dict(self.base.attributes.get('functions_per_element'))

    @property
    def reference_energies(self) -> dict[str, float]:
        """Energy of the isolated atom of each element, in eV; empty when the energies are not relative to any."""
        return dict(self.base.attributes.get('reference_energies'))

    @property
    def digest(self) -> str:
        """SHA-256 of the B-basis yaml, in hexadecimal digits."""
        return str(self.base.attributes.get('digest'))

    @property
    def has_yace(self) -> bool:
        """Whether the file for LAMMPS is there too."""
        return self.FILENAME_YACE in self.base.repository.list_object_names()

    def get_yaml(self) -> bytes:
        """Return the content of the B-basis file."""
        return self.base.repository.get_object_content(self.FILENAME, mode='rb')

    def get_yace(self) -> bytes:
        """Return the content of the yace file.

        :raises ValueError: when the potential has none.
        """
        if not self.has_yace:
            raise ValueError(f'{self!r} has no yace file: train with a `yace_code`')
        return self.base.repository.get_object_content(self.FILENAME_YACE, mode='rb')

    def get_calculator(self, active_set: AceActiveSetData | None = None) -> Calculator:
        """Return an ASE calculator: energy (with the reference energies), forces, stress and, with a set, ``grade``.

        :param active_set: the active set of just this potential.
        :raises ImportError: when python-ace is not importable here.
        :raises ValueError: when the active set is that of another potential.
        """
        from aiida_pace.engines.ace import AceCalculator, AceModel

        if active_set is not None and not active_set.matches(self):
            raise ValueError(f'{active_set!r} is the active set of another potential')
        asi = None if active_set is None else active_set.get_asi()
        return AceCalculator(AceModel(self.get_yaml(), asi), self.reference_energies)

    def _validate(self) -> bool:
        """Check, before storing, that the attributes describe the files.

        :raises ValidationError: when they do not.
        """
        super()._validate()
        names = set(self.base.repository.list_object_names())
        if self.FILENAME not in names or names - {self.FILENAME, self.FILENAME_YACE}:
            raise ValidationError(f'the node must hold `{self.FILENAME}` and, at most, `{self.FILENAME_YACE}`')
        for key, value in _attributes(self.get_yaml()).items():
            if self.base.attributes.get(key, None) != value:
                raise ValidationError(f'attribute `{key}` does not describe `{self.FILENAME}`')
        return True


def _attributes(yaml: bytes) -> dict[str, t.Any]:
    """Return the attributes that describe the B-basis file."""
    bbasis = parse_bbasis(yaml)
    return {
        # AiiDA keeps 14 significant digits of an attribute: a clone must find the same number in the file.
        'cutoff': round(bbasis.cutoff, 10),
        'digest': hashlib.sha256(yaml).hexdigest(),
        'elements': list(bbasis.elements),
        'functions_per_element': bbasis.functions_per_element,
    }


def _check_yace(yace: bytes, elements: list[str]) -> None:
    """Raise `ValueError` when the yace file is for other elements."""
    found = list(yace_elements(yace))
    if found != elements:
        raise ValueError(f'the yace file is for {", ".join(found)}, the B-basis file for {", ".join(elements)}')


def _reference_energies(energies: dict[str, float], elements: list[str]) -> dict[str, float]:
    """Return the energies of ``elements``; refuse missing ones and such as are not finite."""
    if not energies:
        return {}
    missing = [element for element in elements if element not in energies]
    if missing:
        raise ValueError(f'the reference energies lack {", ".join(missing)}: give one for every element or none at all')
    chosen = {element: float(energies[element]) for element in elements}
    for element, energy in chosen.items():
        if not math.isfinite(energy):
            raise ValueError(f'the reference energy of {element} is {energy}: give a finite number, in eV')
    return chosen
