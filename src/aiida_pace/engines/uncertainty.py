"""Leverages and predicted standard deviations of frames under a linear ACE potential."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from aiida_pace.engines.ace import EvaluationError
from aiida_pace.engines.linear import FitError, LinearBasis
from aiida_pace.frames import FloatArray, Frames
from aiida_pace.metrics.posterior import Posterior, PosteriorError

__all__ = ('UncertainModel', 'Uncertainty')

LOG = logging.getLogger('pace-evaluate')
#: `evaluate` reports the progress itself, and pyace writes everything that reaches the root logger to stderr.
LOG.propagate = False


@dataclasses.dataclass(frozen=True)
class Uncertainty:
    """The uncertainties of one frame of N atoms.

    :param leverage: (N,) of the basis functions of each atom among the atoms of the fit.
    :param force_sigma: (N,) standard deviation of a force component of each atom, in eV/Å, not calibrated.
    :param energy_sigma: standard deviation of the energy of the frame, in eV, not calibrated.
    """

    leverage: FloatArray
    force_sigma: FloatArray
    energy_sigma: float


class UncertainModel:
    """A linear potential with its posterior; the repulsion at short distances counts as exact."""

    def __init__(self, potential: Path, posterior: Path) -> None:
        """Load potential and posterior.

        :param potential: B-basis file.
        :param posterior: archive that ``pace-fit-linear`` wrote beside the potential.
        :raises EvaluationError: when a file cannot be used, or the posterior belongs to another potential.
        :raises OSError: when a file cannot be read.
        """
        try:
            self._posterior = Posterior.load(posterior)
        except PosteriorError as exception:
            raise EvaluationError(f'`{posterior}` cannot be used: {exception}') from exception
        if self._posterior.potential_digest != hashlib.sha256(potential.read_bytes()).hexdigest():
            raise EvaluationError(f'`{posterior}` is not the posterior of the potential `{potential}`')
        try:
            self._basis = LinearBasis({}, potential, LOG)
        except FitError as exception:
            raise EvaluationError(str(exception)) from exception
        if (functions := {name: part.stop - part.start for name, part in self._basis.blocks.items()}) != (
            expected := self._posterior.functions_per_element
        ):
            raise EvaluationError(f'`{posterior}` has the functions {expected}, the potential has {functions}')

    def uncertainties(self, frames: Frames) -> Iterator[Uncertainty]:
        """Yield the uncertainties of each frame.

        :raises EvaluationError: naming the frame that cannot be evaluated.
        """
        symbols = np.array(chemical_symbols)[frames.numbers]
        try:
            for index, rows in enumerate(self._basis.rows(frames)):
                present = symbols[frames.atoms_slice(index)]
                leverage = np.zeros(len(present))
                for element, block in self._basis.blocks.items():
                    chosen = present == element
                    leverage[chosen] = self._posterior.site_leverage(element, rows.sites[chosen, block])
                yield Uncertainty(
                    leverage=leverage,
                    force_sigma=self._posterior.force_sigma(rows.forces),
                    energy_sigma=len(present) * float(self._posterior.sigma(rows.energy[None])[0]),
                )
        except FitError as exception:
            raise EvaluationError(str(exception)) from exception
