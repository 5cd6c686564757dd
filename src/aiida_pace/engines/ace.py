"""An ACE potential in pyace's C++ evaluator: energy, forces, stress and grade of structures, one after the other."""

from __future__ import annotations

import dataclasses
import tempfile
import typing as t
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers, chemical_symbols

from aiida_pace.engines.neighbours import SKIN, KeptNeighbours, neighbour_lists
from aiida_pace.formats.pacemaker import accepted_cell

__all__ = ('AceCalculator', 'AceModel', 'Evaluation', 'EvaluationError', 'reference_table')

FloatArray = npt.NDArray[np.float64]

#: pyace gives the virial as xx yy zz xy xz yz, ASE wants xx yy zz yz xz xy.
VIRIAL_TO_VOIGT = [0, 1, 2, 5, 4, 3]

#: Above this number of pairs of neighbours the search by a tree is faster than pyace's, which compares all with all.
FEW_PAIRS = 2500


class EvaluationError(ValueError):
    """A frame, potential or active set that cannot be evaluated: the message names the file or frame and the cause."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The prediction of the potential for one structure of N atoms.

    :param energy: in eV, relative to isolated atoms.
    :param forces: (N, 3) in eV/Å.
    :param stress: (6,) in eV/Å³, order and sign of ASE; None for a structure without a volume or without periods.
    :param grade: (N,) extrapolation grade; None without an active set.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray | None
    grade: FloatArray | None


class AceModel:
    """A potential, with or without active set, in pyace's C++ evaluator; used for one structure after the other."""

    def __init__(self, yaml: bytes, asi: bytes | None = None) -> None:
        """Load the potential.

        :param yaml: content of the B-basis file.
        :param asi: content of the active-set file.
        :raises ImportError: when pyace is not importable.
        :raises EvaluationError: when pyace cannot read a file, or the active set does not fit the potential.
        """
        try:
            from pyace.basis import ACEBBasisSet
            from pyace.calculator import ACECalculator
            from pyace.catomicenvironment import ACEAtomicEnvironment, build_atomic_env
            from pyace.evaluator import ACEBEvaluator, ACERecursiveEvaluator
        except ImportError as exception:
            raise ImportError(
                f'pyace is not importable ({exception}): install `python-ace`, an external engine that is free for '
                'academic, non-commercial use only'
            ) from exception

        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, 'potential.yaml')
            path.write_bytes(yaml)
            try:
                basis = ACEBBasisSet(str(path))
                evaluator = ACEBEvaluator(basis)
            except (RuntimeError, ValueError) as exception:
                raise EvaluationError(f'pyace cannot read the potential: {exception}') from exception
            if asi is not None:
                functions = [len(one) + len(many) for one, many in zip(basis.basis_rank1, basis.basis, strict=True)]
                path = Path(directory, 'active_set.asi')
                path.write_bytes(asi)
                _check_active_set(path, dict(zip(basis.elements_name, functions, strict=True)))
                evaluator.load_active_set(str(path))
        self.elements: list[str] = sorted(basis.elements_name)
        self.cutoff = float(basis.cutoffmax)
        self.has_active_set = asi is not None
        self._species = np.full(len(chemical_symbols), -1)
        for element, index in basis.elements_to_index_map.items():
            self._species[atomic_numbers[element]] = index
        self._build, self._empty = build_atomic_env, ACEAtomicEnvironment
        recursive_basis = basis.to_ACECTildeBasisSet()
        recursive = ACERecursiveEvaluator(recursive_basis)
        recursive.set_recursive(True)
        # An evaluator keeps no reference to its basis, nor a calculator to its evaluator.
        self.basis = basis
        self._alive = (evaluator, recursive_basis, recursive)
        #: Knows grades and projections.
        self.calculator = ACECalculator()
        self.calculator.set_evaluator(evaluator)
        #: Gives the same energies and forces in two thirds of the time.
        self.fast_calculator = ACECalculator()
        self.fast_calculator.set_evaluator(recursive)

    def compute(
        self,
        numbers: npt.NDArray[np.integer[t.Any]],
        positions: FloatArray,
        cell: FloatArray,
        pbc: npt.NDArray[np.bool_],
        *,
        graded: bool = True,
        neighbours: KeptNeighbours | None = None,
    ) -> Evaluation:
        """Evaluate one structure.

        :param numbers: (N,) atomic numbers.
        :param positions: (N, 3) in Å, anywhere in space.
        :param cell: (3, 3) vectors as rows, in Å; vectors of directions without periods count for the volume only.
        :param pbc: (3,) periodic directions.
        :param graded: whether to compute the grade when there is an active set; False takes a faster evaluator, whose
            energies and forces are the same to rounding.
        :param neighbours: neighbour lists of similar structures before this one, to be kept where they still hold.
        :raises EvaluationError: for an element the potential does not know, or when the evaluator refuses.
        """
        calculator = self.calculator if graded else self.fast_calculator
        graded = graded and self.has_active_set
        try:
            environment = (neighbours or self).environment(numbers, positions, cell, pbc)
            # Without projections pyace would return the grades of an earlier structure.
            calculator.compute(environment, compute_projections=graded)
        except EvaluationError:
            raise
        except (RuntimeError, ValueError) as exception:
            raise EvaluationError(f'pyace refuses the structure: {exception}') from exception
        energy = float(calculator.energy)
        forces = np.array(calculator.forces, dtype='f8').reshape(-1, 3)
        volume = abs(np.linalg.det(cell))
        stress = None
        if pbc.any() and volume > 0:
            stress = np.array(calculator.virial, dtype='f8')[VIRIAL_TO_VOIGT] / volume
        grade = np.array(calculator.gamma_grade, dtype='f8') if graded else None
        if not all(np.isfinite(values).all() for values in (energy, forces, stress, grade) if values is not None):
            raise EvaluationError('the potential gives a number that is not finite')
        return Evaluation(energy=energy, forces=forces, stress=stress, grade=grade)

    def environment(
        self,
        numbers: npt.NDArray[np.integer[t.Any]],
        positions: FloatArray,
        cell: FloatArray,
        pbc: npt.NDArray[np.bool_],
        skin: float = 0.0,
    ) -> t.Any:
        """Return neighbour lists for pyace; pyace itself makes those of a small structure.

        :param skin: how much further than the cutoff the lists reach, in Å.
        :raises EvaluationError: for an element the potential does not know, and for a position that is not finite.
        :raises RuntimeError: when pyace refuses.
        """
        unknown = sorted({chemical_symbols[number] for number in numbers[self._species[numbers] < 0]})
        if unknown:
            raise EvaluationError(f'the potential is for {", ".join(self.elements)}, not for {", ".join(unknown)}')
        if not np.isfinite(positions).all():
            raise EvaluationError('the position of an atom is not finite')
        reach = self.cutoff + skin
        positions = np.ascontiguousarray(positions)
        periodic = bool(pbc.any())
        # A cell too skewed for pyace is replaced by the compact one of its lattice.
        lattice = accepted_cell(positions, cell, pbc, vacuum=reach + 1)
        density = len(numbers) / abs(np.linalg.det(lattice)) * 4 / 3 * np.pi * reach**3 if periodic else len(numbers)
        if len(numbers) * density <= FEW_PAIRS:
            environment = self._build(positions, lattice, numbers.astype('i4'), periodic, reach)
            environment.species_type = self._species[np.array(environment.species_type)].tolist()
            return environment
        environment = self._empty()
        extended, owners, lists = neighbour_lists(positions, cell, pbc, reach)
        environment.x = extended.tolist()
        environment.species_type = self._species[numbers[owners]].tolist()
        environment.origins = owners.tolist()
        environment.neighbour_list = lists
        return environment


class AceCalculator(Calculator):
    """ASE calculator of an ACE potential; with an active set ``results['grade']`` holds the grade of each atom."""

    implemented_properties = ['energy', 'free_energy', 'forces', 'stress', 'grade']  # noqa: RUF012  # as ASE declares it

    def __init__(
        self, model: AceModel, reference_energies: Mapping[str, float] | None = None, *, graded: bool = True
    ) -> None:
        """Make a calculator of a potential.

        :param reference_energies: energy of the isolated atoms in eV, added to the predicted energy.
        :param graded: whether to compute the grade where there is an active set; it takes extra time.
        :raises EvaluationError: when a reference energy is missing.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._model, self._graded = model, graded
        self._neighbours = KeptNeighbours(model.environment, SKIN)
        self._references = reference_table(reference_energies or {}, self._model.elements)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ('energy',),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill ``results`` with all properties that the potential has."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        structure = t.cast('Atoms', self.atoms)
        found = self._model.compute(
            structure.numbers,
            structure.positions,
            structure.cell.array,
            structure.pbc,
            graded=self._graded,
            neighbours=self._neighbours,
        )
        energy = found.energy + float(self._references[structure.numbers].sum())
        results = {'energy': energy, 'free_energy': energy, 'forces': found.forces}
        optional = {'stress': found.stress, 'grade': found.grade}
        self.results = results | {name: value for name, value in optional.items() if value is not None}


def reference_table(energies: Mapping[str, float], elements: Sequence[str]) -> FloatArray:
    """Return the reference energies by atomic number, all 0 when ``energies`` is empty.

    :raises EvaluationError: when ``energies`` lacks one of the ``elements``.
    """
    table = np.zeros(len(chemical_symbols))
    missing = [element for element in elements if element not in energies]
    if energies and missing:
        raise EvaluationError(f'the reference energies lack {", ".join(missing)}')
    for element in elements if energies else ():
        table[atomic_numbers[element]] = energies[element]
    return table


def _check_active_set(path: Path, functions: Mapping[str, int]) -> None:
    """Raise `EvaluationError` unless the file holds one square matrix per element, as large as its basis."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            shapes = {name: archive[name].shape for name in archive.files}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as exception:
        raise EvaluationError(f'cannot read the active set: {exception}') from exception
    expected = {element: (count, count) for element, count in functions.items()}
    if shapes != expected:
        raise EvaluationError(f'the active set has the matrices {shapes}, the potential needs {expected}')
