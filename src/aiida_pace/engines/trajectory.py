"""A potential along a trajectory: neighbour lists are kept within a skin, grades are computed on request."""

from __future__ import annotations

import dataclasses
import itertools
import math
import typing as t

import numpy as np
import numpy.typing as npt

from aiida_pace.engines.ace import AceModel, EvaluationError
from aiida_pace.engines.neighbours import SKIN, KeptNeighbours

__all__ = ('Step', 'TrajectoryModel')

FloatArray = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Step:
    """The prediction of the potential for one step of a trajectory of N atoms.

    :param energy: in eV, relative to isolated atoms.
    :param forces: (N, 3) in eV/Å.
    :param virial: (6,) in eV, xx yy zz xy xz yz, positive when the atoms push outwards, as in LAMMPS.
    :param grade: (N,) extrapolation grade; None when not requested.
    """

    energy: float
    forces: FloatArray
    virial: FloatArray
    grade: FloatArray | None


class TrajectoryModel:
    """Evaluates the steps of a trajectory with the recursive evaluator, as native ``pace/extrapolation`` does.

    The recursive evaluator has no grades; steps that need grades use the slower B-basis evaluator.
    """

    def __init__(self, model: AceModel, skin: float = SKIN) -> None:
        """Start without neighbour lists.

        :param model: the potential, with an active set when grades are needed.
        :param skin: distance beyond the cutoff that the neighbour lists cover, in Å.
        """
        self.model = model
        self._neighbours = KeptNeighbours(model.environment, skin)

    @property
    def builds(self) -> int:
        """Number of times that neighbour lists were made."""
        return self._neighbours.builds

    def evaluate(
        self,
        numbers: npt.NDArray[np.integer[t.Any]],
        positions: FloatArray,
        cell: FloatArray,
        pbc: npt.NDArray[np.bool_],
        *,
        grade: bool,
    ) -> Step:
        """Evaluate one step.

        :param numbers: (N,) atomic numbers; their order may change from step to step.
        :param positions: (N, 3) in Å.
        :param cell: (3, 3) vectors as rows, in Å.
        :param pbc: (3,) periodic directions.
        :param grade: whether to compute the grades of this step.
        :raises EvaluationError: when the evaluator refuses, or a number is not finite.
        """
        if grade and not self.model.has_active_set:
            raise EvaluationError('grades need an active set')
        calculator = self.model.calculator if grade else self.model.fast_calculator
        try:
            environment = self._neighbours.environment(numbers, positions, cell, pbc)
            # Without projections pyace would return the grades of an earlier step.
            calculator.compute(environment, compute_projections=grade)
        except EvaluationError:
            raise
        except (RuntimeError, ValueError) as exception:
            raise EvaluationError(f'pyace refuses the structure: {exception}') from exception
        step = Step(
            energy=calculator.energy,
            forces=_array(calculator.forces, len(numbers)),
            virial=-np.array(calculator.virial),
            grade=np.array(calculator.gamma_grade) if grade else None,
        )
        # A sum is not finite when one of its terms is not.
        if not math.isfinite(
            step.energy + np.add.reduce(step.forces, axis=None) + (0.0 if step.grade is None else step.grade.sum())
        ):
            raise EvaluationError('the potential gives a number that is not finite')
        return step


def _array(rows: list[list[float]], count: int) -> FloatArray:
    """Return ``count`` rows of three numbers as an array, twice as fast as `numpy.array` does."""
    return np.fromiter(itertools.chain.from_iterable(rows), 'f8', 3 * count).reshape(count, 3)
