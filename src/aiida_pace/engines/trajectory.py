"""A potential along a trajectory: neighbour lists are kept within a skin, the grade is computed only when asked for."""

from __future__ import annotations

import dataclasses
import typing as t

import numpy as np
import numpy.typing as npt

from aiida_pace.engines.ace import AceModel, EvaluationError

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


@dataclasses.dataclass(frozen=True)
class _Neighbours:
    """Neighbour lists, with what is needed to see whether they still hold.

    The M extended atoms are the atoms and their periodic images: ``positions[origins] + images @ cell``.
    """

    environment: t.Any
    numbers: npt.NDArray[np.integer[t.Any]]
    cell: FloatArray
    origins: npt.NDArray[np.int64]
    shifts: FloatArray
    images: FloatArray | None
    extended: FloatArray


class TrajectoryModel:
    """Evaluates the steps of a trajectory; as native ``pace/extrapolation``, by the recursive evaluator.

    The recursive evaluator knows no grades; steps that ask for them go through the slower B-basis evaluator.
    """

    def __init__(self, model: AceModel, skin: float = 1.0) -> None:
        """Prepare the evaluators.

        :param model: the potential, with active set when grades will be asked for.
        :param skin: how much further than the cutoff the neighbour lists reach, in Å.
        """
        from pyace.calculator import ACECalculator
        from pyace.evaluator import ACERecursiveEvaluator

        self.model = model
        self.skin = skin
        self.builds = 0
        self._neighbours: _Neighbours | None = None
        basis = model.basis.to_ACECTildeBasisSet()
        evaluator = ACERecursiveEvaluator(basis)
        evaluator.set_recursive(True)
        self._fast = ACECalculator()
        self._fast.set_evaluator(evaluator)
        self._alive = (basis, evaluator)

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
        calculator = self.model.calculator if grade else self._fast
        try:
            environment = self._environment(numbers, positions, cell, pbc)
            # Without projections the grades of an earlier step would be handed out again.
            calculator.compute(environment, compute_projections=grade)
        except EvaluationError:
            raise
        except (RuntimeError, ValueError) as exception:
            raise EvaluationError(f'pyace refuses the structure: {exception}') from exception
        step = Step(
            energy=float(calculator.energy),
            forces=np.array(calculator.forces, dtype='f8').reshape(-1, 3),
            virial=-np.array(calculator.virial, dtype='f8'),
            grade=np.array(calculator.gamma_grade, dtype='f8') if grade else None,
        )
        if not all(np.isfinite(v).all() for v in (step.energy, step.forces, step.grade) if v is not None):
            raise EvaluationError('the potential gives a number that is not finite')
        return step

    def _environment(
        self,
        numbers: npt.NDArray[np.integer[t.Any]],
        positions: FloatArray,
        cell: FloatArray,
        pbc: npt.NDArray[np.bool_],
    ) -> t.Any:
        """Return neighbour lists with the atoms at ``positions``: the old ones while no atom left half the skin."""
        held = self._neighbours
        if held is not None and np.array_equal(held.numbers, numbers):
            extended = self._moved(held, positions, cell)
            if extended is not None and np.square(extended - held.extended).sum(axis=1).max() < (self.skin / 2) ** 2:
                held.environment.x = extended.tolist()
                return held.environment
        if not np.isfinite(positions).all():
            raise EvaluationError('the position of an atom is not finite')
        self._neighbours = self._built(numbers, np.array(positions), np.array(cell), pbc)
        self.builds += 1
        return self._neighbours.environment

    def _moved(self, held: _Neighbours, positions: FloatArray, cell: FloatArray) -> FloatArray | None:
        """Return the extended atoms after a move of atoms and cell; None when a rebuild is simpler."""
        if np.array_equal(cell, held.cell):
            return np.asarray(positions[held.origins] + held.shifts)
        if held.images is None:
            return None
        return np.asarray(positions[held.origins] + held.images @ cell)

    def _built(
        self,
        numbers: npt.NDArray[np.integer[t.Any]],
        positions: FloatArray,
        cell: FloatArray,
        pbc: npt.NDArray[np.bool_],
    ) -> _Neighbours:
        """Return new neighbour lists."""
        environment = self.model.environment(numbers, positions, cell, pbc, self.skin)
        extended, origins = np.array(environment.x), np.array(environment.origins)
        shifts = extended - positions[origins]
        images = np.rint(shifts @ np.linalg.inv(cell)) if pbc.all() else None
        return _Neighbours(environment, np.array(numbers), cell, origins, shifts, images, extended)
