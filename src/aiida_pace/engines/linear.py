"""Linear ACE: the basis in pyace, and weighted least squares in memory that does not grow with the data."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import logging
import os
import typing as t
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from ase import Atoms

from aiida_pace.formats.pacemaker import accepted_cells
from aiida_pace.frames import FloatArray, Frames
from aiida_pace.metrics.posterior import BlockedFactor, regularised, residual_noise
from aiida_pace.training.basis_size import basis_stages

__all__ = ('BlockedLeastSquares', 'DesignRows', 'FitError', 'LinearBasis')


class FitError(ValueError):
    """An input that cannot be fitted: the message gives the cause and the remedy."""


class BlockedLeastSquares:
    """Find the ``x`` that minimises ``|A x - b|² + ridge |x|²``, for rows of ``A`` and ``b`` that come in parts.

    `BlockedFactor` reduces the rows to one triangular factor.
    """

    def __init__(self, columns: int, ridge: float = 0.0) -> None:
        """Start without rows.

        :param columns: number of unknowns.
        :param ridge: weight of the squared unknowns, 0 or more.
        """
        self.columns = columns
        self.ridge = ridge
        self._factor = BlockedFactor(columns + 1)

    def add(self, matrix: FloatArray, target: FloatArray, weights: FloatArray | float = 1.0) -> None:
        """Add rows.

        :param matrix: (m, n) rows of ``A``.
        :param target: (m,) rows of ``b``.
        :param weights: (m,) weight of each squared residual, or one for all; rows of weight 0 are left out.
        """
        roots = np.sqrt(np.broadcast_to(np.asarray(weights, dtype='f8'), (len(target),)))
        used = roots > 0
        self._factor.add(np.column_stack((matrix[used], target[used])) * roots[used, None])

    def loss(self, solution: FloatArray) -> float:
        """Return ``|A x - b|²`` for the ``solution`` (n,), without the ridge."""
        factor = self._factor.triangle()
        return float(np.sum((factor[:, :-1] @ solution - factor[:, -1]) ** 2))

    def solve(self) -> FloatArray:
        """Return the solution (n,), the shortest one when it is not unique."""
        factor = self._factor.triangle()
        matrix = np.vstack((factor[:, :-1], np.sqrt(self.ridge) * np.eye(self.columns)))
        target = np.concatenate((factor[:, -1], np.zeros(self.columns)))
        return np.asarray(np.linalg.lstsq(matrix, target, rcond=None)[0])

    def information(self, solution: FloatArray) -> tuple[FloatArray, float]:
        """Return the factor (n, n) of the information matrix, of `regularised`, and the noise, of `residual_noise`.

        :param solution: (n,) of `solve`.
        """
        triangle = self._factor.triangle()[:, :-1]
        factor = regularised(triangle, self.ridge)
        return factor, residual_noise(triangle, factor, self.loss(solution), self._factor.count)


@dataclasses.dataclass(frozen=True)
class DesignRows:
    """The basis functions in one frame of N atoms: derivatives by the n coefficients.

    :param sites: (N, n) of the energy of each atom; zero in the columns of other elements.
    :param forces: (3 N, n) of the force components, atom after atom.
    """

    sites: FloatArray
    forces: FloatArray

    @property
    def energy(self) -> FloatArray:
        """(n,) derivatives of the energy per atom."""
        return np.asarray(self.sites.mean(axis=0))


class LinearBasis:
    """A linear ACE basis in pyace."""

    def __init__(
        self, specification: Mapping[str, t.Any], start: Path | None, log: logging.Logger, *, grows: bool = False
    ) -> None:
        """Make the basis of pacemaker's section ``potential``, or load that of a potential.

        :param specification: the section; the number of functions may be given by element.
        :param start: the potential, or None.
        :param log: receives the progress.
        :param grows: whether the functions of the section are added to those of the potential.
        :raises FitError: when the basis is not linear, or pyace cannot make it.
        """
        from pyace.atomicenvironment import aseatoms_to_atomicenvironment
        from pyace.basis import ACEBBasisSet
        from pyace.calculator import ACECalculator
        from pyace.evaluator import ACEBEvaluator

        if start is not None:
            _check_linear(ACEBBasisSet(str(start)))
        try:
            config = _configuration(specification, start, grows=grows)
        except FitError:
            raise
        except (RuntimeError, ValueError) as exception:
            raise FitError(f'pyace cannot make the basis: {exception}') from exception
        for block in config.funcspecs_blocks:
            # The repulsion belongs to the data of an earlier fit, and makes the energy nonlinear at short distances.
            block.r_in, block.delta_in, block.inner_cutoff_type = 0.0, 0.0, 'distance'
            block.rho_cut, block.drho_cut, block.core_rep_parameters = 100000.0, 250.0, (0.0, 0.0)
        self._basis = ACEBBasisSet(config)
        _check_linear(self._basis)
        self._evaluated = ACEBBasisSet(_padded(config, self._basis))
        evaluated = _functions(self._evaluated)
        self._shifts = np.cumsum([0, *map(len, evaluated)])
        places = {key: place for place, key in reversed(list(enumerate(itertools.chain(*evaluated))))}
        self._columns = np.array([places[key] for key in itertools.chain(*_functions(self._basis))])
        self._evaluator = ACEBEvaluator(self._evaluated)
        self._calculator = ACECalculator(self._evaluator)
        self._environment = aseatoms_to_atomicenvironment
        self._log = log
        self._distances: dict[tuple[int, int], float] = {}
        self.elements: list[str] = list(self._basis.elements_name)
        self.cutoff = float(self._basis.cutoffmax)
        self.size = len(self._columns)
        ends = np.cumsum([len(functions) for functions in _functions(self._basis)])
        #: The slice of the coefficients that belongs to each element.
        self.blocks = {
            element: slice(int(end - size), int(end))
            for element, end, size in zip(self.elements, ends, np.diff(ends, prepend=0), strict=True)
        }
        self.start: FloatArray = np.array(self._basis.basis_coeffs) if start else np.zeros(self.size)

    def rows(self, frames: Frames) -> Iterator[DesignRows]:
        """Yield the rows of each frame.

        :raises FitError: naming the frame that pyace refuses.
        """
        cells, pbc = accepted_cells(frames)
        mapping = self._basis.elements_to_index_map
        for index, (cell, is_periodic) in enumerate(zip(cells, pbc, strict=True)):
            part = frames.atoms_slice(index)
            atoms = Atoms(numbers=frames.numbers[part], positions=frames.positions[part], cell=cell, pbc=is_periodic)
            try:
                environment = self._environment(atoms, cutoff=self.cutoff, elements_mapper_dict=mapping)
                self._calculator.compute(environment, compute_projections=True, compute_b_grad=True)
            except (RuntimeError, ValueError) as exception:
                raise FitError(f'pyace refuses frame {index}: {exception}') from exception
            sites = np.zeros((len(atoms), self._shifts[-1]))
            parts = zip(sites, environment.species_type, self._calculator.projections, strict=False)
            for site, species, projections in parts:
                first = self._shifts[species]
                site[first : first + len(projections)] = projections
            force_rows = np.array(self._calculator.forces_bfuncs)[:, self._columns].transpose(0, 2, 1)
            for pair, distance in environment.get_minimal_nn_distance_per_bond().items():
                self._distances[pair] = min(distance, self._distances.get(pair, np.inf))
            if (index + 1) * 10 // len(frames) > index * 10 // len(frames):
                self._log.info('%d/%d structures', index + 1, len(frames))
            yield DesignRows(sites[:, self._columns], force_rows.reshape(3 * len(atoms), self.size))

    def save(self, path: Path, coefficients: FloatArray, *, has_repulsion: bool, metadata: Mapping[str, str]) -> None:
        """Write the potential and, beside it, the file for LAMMPS (``.yace``); each is complete or absent."""
        from pyace.basis import ACEBBasisSet
        from pyace.generalfit import setup_zbl_inner_core_repulsion
        from pyace.utils.utils import complement_min_dist_dict

        self._basis.basis_coeffs = coefficients
        config = self._basis.to_BBasisConfiguration()
        if has_repulsion:
            distances = complement_min_dist_dict(self._distances, self._distances, self.elements, verbose=False)
            self._log.info('Repulsion below the shortest distances in the data, in A: %s', distances)
            setup_zbl_inner_core_repulsion(config, distances)
        for key, value in metadata.items():
            config.metadata[key] = value
        for key in [key for key in config.metadata if key.startswith('_')]:
            del config.metadata[key]
        unfinished = path.with_name(f'{path.name}.unfinished')
        config.save(str(unfinished))
        os.replace(unfinished, path)
        ACEBBasisSet(str(path)).to_ACECTildeBasisSet().save_yaml(str(unfinished))
        os.replace(unfinished, path.with_suffix('.yace'))


def _check_linear(basis: t.Any) -> None:
    """Raise `FitError` unless the energy is linear in the coefficients of the basis."""
    for embedding in basis.map_embedding_specifications.values():
        if embedding.ndensity != 1 or list(embedding.FS_parameters) != [1.0, 1.0]:
            raise FitError('the potential is not linear: give one density with `fs_parameters: [1, 1]`')


def _configuration(specification: Mapping[str, t.Any], start: Path | None, *, grows: bool) -> t.Any:
    """Return pyace's description of the basis; it equals pacemaker's, so that each can continue a fit of the other."""
    from pyace.basis import BBasisConfiguration
    from pyace.basisextension import construct_bbasisconfiguration, extend_basis

    initial = BBasisConfiguration(str(start)) if start else None
    if initial is not None and not grows:
        return initial
    functions = dict(specification['functions'])
    numbers = functions.pop('number_of_functions_per_element')
    if not isinstance(numbers, Mapping):
        numbers = dict.fromkeys(specification['elements'], numbers)
    target: t.Any = None
    for stage in basis_stages({**specification, 'functions': functions}, numbers):
        # A copy, because pyace writes into it.
        target = construct_bbasisconfiguration(copy.deepcopy(stage), initial_basisconfig=target)
    if initial is None:
        return target
    missing = target.total_number_of_functions - initial.total_number_of_functions
    if missing <= 0:
        raise FitError('the input asks for no more functions than the initial potential has: continue with -p')
    return extend_basis(initial, target, 'body_order', missing)


def _functions(basis: t.Any) -> list[list[tuple[t.Any, ...]]]:
    """Return the indices that define each function of a basis, by element, in the order of the projections."""
    return [
        [(one.mu0, *(tuple(part) for part in (one.mus, one.ns, one.ls, one.LS))) for one in (*first, *others)]
        for first, others in zip(basis.basis_rank1, basis.basis, strict=True)
    ]


def _padded(config: t.Any, basis: t.Any) -> t.Any:
    """Return the basis with the same number of functions for every element: a function is repeated where some lack.

    ``compute_b_grad`` of pyace 0.4.0 addresses forces as if all elements had as many functions as the element of the
    atom: with different numbers it adds forces to the wrong functions, or writes beyond the end of its memory.
    """
    sizes = [len(functions) for functions in _functions(basis)]
    missing = {element: max(sizes) - size for element, size in zip(basis.elements_name, sizes, strict=True)}
    padded = config.copy()
    for block in padded.funcspecs_blocks:
        functions = list(block.funcspecs)
        if functions and missing[block.elements_vec[0]]:
            block.funcspecs = functions + functions[:1] * missing[block.elements_vec[0]]
            missing[block.elements_vec[0]] = 0
    return padded
