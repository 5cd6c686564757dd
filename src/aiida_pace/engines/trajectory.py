"""A potential along a trajectory: neighbour lists are kept within a skin, the grade is computed only when asked for."""

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
    """What the potential says of one step of a trajectory of N atoms.

    :param energy: in eV, relative to isolated atoms.
    :param forces: (N, 3) in eV/Å.
    :param virial: (6,) in eV, xx yy zz xy xz yz, positive when the atoms push outwards, as LAMMPS has it.
    :param grade: (N,) extrapolation grade, when asked for.
    """

    energy: float
    forces: FloatArray
    virial: FloatArray
    grade: FloatArray | None


class TrajectoryModel:
    """Evaluates the steps of a trajectory; as native ``pace/extrapolation``, by the recursive evaluator.

    The recursive evaluator knows no grades; steps that ask for them go through the slower B-basis evaluator.
    """

    def __init__(self, model: AceModel, skin: float = SKIN) -> None:
        """Start without neighbour lists.

        :param model: the potential, with active set when grades will be asked for.
        :param skin: how much further than the cutoff the neighbour lists reach, in Å.
        """
        self.model = model
        self._neighbours = KeptNeighbours(model.environment, skin)

    @property
    def builds(self) -> int:
        """How often neighbour lists were made."""
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
        :param grade: whether to compute the grades of just this step.
        :raises EvaluationError: when the evaluator refuses, or a number is not finite.
        """
        if grade and not self.model.has_active_set:
            raise EvaluationError('grades need an active set')
        calculator = self.model.calculator if grade else self.model.fast_calculator
        try:
            environment = self._neighbours.environment(numbers, positions, cell, pbc)
            # Without projections the grades of an earlier step would be handed out again.
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
        # The sum of numbers of which one is not finite is not finite either.
        if not math.isfinite(
            step.energy + np.add.reduce(step.forces, axis=None) + (0.0 if step.grade is None else step.grade.sum())
        ):
            raise EvaluationError('the potential gives a number that is not finite')
        return step


def _array(rows: list[list[float]], count: int) -> FloatArray:
    """Return ``count`` rows of three numbers as an array, twice as fast as `numpy.array` does."""
    return np.fromiter(itertools.chain.from_iterable(rows), 'f8', 3 * count).reshape(count, 3)
