"""Calculators that label structures: how a calculator is made, and how its results are checked."""

from __future__ import annotations

import dataclasses
import importlib
import typing as t
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

__all__ = ('AceTeacher', 'CalculatorError', 'ImportedCalculator', 'Label', 'Structure', 'compute')

FloatArray = npt.NDArray[np.float64]


class CalculatorError(ValueError):
    """A calculator that cannot be made, or a result that is not a label."""


class Structure(t.NamedTuple):
    """One structure of N atoms.

    :param numbers: (N,) atomic numbers.
    :param positions: (N, 3) in Å.
    :param cell: (3, 3) vectors as rows, in Å.
    :param pbc: (3,) periodic directions.
    """

    numbers: npt.NDArray[np.integer[t.Any]]
    positions: FloatArray
    cell: FloatArray
    pbc: npt.NDArray[np.bool_]


class Label(t.NamedTuple):
    """The label of one structure of N atoms.

    :param energy: in eV, consistent with the forces.
    :param forces: (N, 3) in eV/Å.
    :param stress: (6,) in eV/Å³, order and sign of ASE; zeros without periods; None when there is none.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray | None


@dataclasses.dataclass(frozen=True)
class ImportedCalculator:
    """A calculator by import path and keyword arguments.

    :param calculator: ``package.module:Name`` of a class or function that returns a calculator.
    :param kwargs: keyword arguments of ``calculator``.
    """

    calculator: str
    kwargs: Mapping[str, t.Any]

    def __call__(self) -> t.Any:
        """Return a new calculator.

        :raises CalculatorError: when the calculator cannot be imported or made.
        """
        module, _, name = self.calculator.partition(':')
        try:
            factory = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as exception:
            raise CalculatorError(
                f'cannot import `{self.calculator}` ({exception}): correct the path, or install the package in the '
                'environment of the code'
            ) from exception
        try:
            calculator = factory(**self.kwargs)
        except Exception as exception:  # calculators may raise any exception
            raise CalculatorError(
                f'cannot make `{self.calculator}` with the keyword arguments {", ".join(self.kwargs) or "none"}: '
                f'{type(exception).__name__}: {exception}'
            ) from exception
        if not hasattr(calculator, 'get_property'):
            raise CalculatorError(f'`{self.calculator}` returns {type(calculator).__name__}, not an ASE calculator')
        return calculator

    def __str__(self) -> str:
        """Return the import path."""
        return self.calculator


@dataclasses.dataclass(frozen=True)
class AceTeacher:
    """An ACE potential.

    :param yaml: content of the B-basis file.
    :param reference_energies: energies of the isolated atoms in eV, added to the predicted energy.
    """

    yaml: bytes
    reference_energies: Mapping[str, float]

    def __call__(self) -> t.Any:
        """Return a new calculator.

        :raises CalculatorError: when pyace is missing or cannot read the potential.
        """
        from aiida_pace.engines.ace import AceCalculator, AceModel

        try:
            return AceCalculator(AceModel(self.yaml), self.reference_energies)
        except (ImportError, ValueError) as exception:
            raise CalculatorError(str(exception)) from exception

    def __str__(self) -> str:
        """Return a description."""
        return 'ACE potential by pyace'


def compute(calculator: t.Any, structure: Structure) -> Label:
    """Return the label of a structure.

    :raises CalculatorError: when a result has the wrong shape or holds a number that is not finite.
    """
    cell = structure.cell if structure.pbc.any() or np.linalg.matrix_rank(structure.cell) == 3 else None
    atoms = Atoms(structure.numbers, structure.positions, cell=cell, pbc=structure.pbc)
    atoms.calc = calculator
    forces = _checked('forces', atoms.get_forces(), (len(atoms), 3))
    try:
        energy = atoms.get_potential_energy(force_consistent=True)
    except PropertyNotImplementedError:
        energy = atoms.get_potential_energy()
    return Label(float(_checked('energy', energy, ())), forces, _stress(atoms))


def _stress(atoms: Atoms) -> FloatArray | None:
    """Return the stress: zeros for atoms without periods, None without a volume or a stress of the calculator."""
    if not atoms.pbc.any():
        return np.zeros(6)
    if atoms.cell.rank < 3:
        return None
    try:
        stress = atoms.get_stress()
    except (NotImplementedError, KeyError):  # ASE raises the former; a missing result is the latter
        return None
    return _checked('stress', stress, (6,))


def _checked(name: str, values: t.Any, shape: tuple[int, ...]) -> FloatArray:
    """Return a result of a calculator as an array of the shape ``shape``.

    :raises CalculatorError: when it has another shape, or holds something else than finite numbers.
    """
    try:
        array = np.array(values, dtype='f8')
    except (TypeError, ValueError) as exception:
        raise CalculatorError(f'the calculator returns no numbers as {name}: {exception}') from exception
    if array.shape != shape:
        raise CalculatorError(f'the calculator returns {name} of the shape {array.shape}, expected {shape}')
    if not np.isfinite(array).all():
        raise CalculatorError(f'the calculator returns {name} with a number that is not finite')
    return array
