"""A strict reader of extended and plain XYZ, frame by frame: ambiguous frames are refused; no AiiDA."""

from __future__ import annotations

import itertools
import re
import typing as t
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_pace.formats.extxyz.columns import atoms_of, parse_properties
from aiida_pace.formats.extxyz.comment import (
    FrameError,
    find,
    lattice_of,
    parse_comment,
    parse_number,
    parse_value,
    periodicity_of,
)
from aiida_pace.formats.images import Fault, Image, shown
from aiida_pace.formats.text import counted
from aiida_pace.frames import FloatArray

__all__ = ('read_extxyz',)

#: A number of atoms, with at most nine digits.
COUNT = re.compile('[0-9]{1,9}')

#: Rows and columns of a tensor in Voigt's order.
VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])

#: Words for units other than eV and Å.
FOREIGN = frozenset({'a.u.', 'Bohr', 'bohr', 'Ha', 'Hartree', 'hartree', 'kcal/mol', 'kJ/mol', 'meV', 'Ry', 'Rydberg'})

#: Keys whose values are texts, even when they look like numbers.
TEXTS = ('origin', 'label_uuid')

Numbered = tuple[int, str]


def read_extxyz(path: str | Path) -> Iterator[Image | Fault]:
    """Read a file of extended or plain XYZ frame by frame.

    A frame is yielded only when the next frame begins directly after it, or the file ends with a complete line. Names
    of columns and keys that every frame needs are read in any case. Results that ASE knows (``energy``, ``forces``,
    ...) are in a calculator.

    :return: for each frame the structure, or the cause when it cannot be read or is ambiguous.
    :raises OSError: when the file cannot be read.
    :raises UnicodeDecodeError: when the file is not text.
    """
    with open(path, encoding='utf-8-sig') as handle:
        yield from _frames(enumerate(handle, start=1))


def _frames(lines: Iterator[Numbered]) -> Iterator[Image | Fault]:
    """Yield one image or fault per frame; empty lines between frames are ignored."""
    header = _next_line(lines)
    if header is not None and not COUNT.fullmatch(header[1].strip()):
        yield Fault('the file does not begin with a number of atoms', _place(*header))
        return
    while header is not None:
        first, count = header[0], int(header[1].strip())  # `int` refuses some white space that `strip` removes
        chunk = [header[1], *(text for _, text in itertools.islice(lines, count + 1))]
        if len(chunk) < count + 2:
            yield Fault('the file ends within the frame', _place(*header))
            return
        header = _next_line(lines)
        while header is not None and header[1].startswith('VEC'):  # cell vectors written as atoms
            chunk.append(header[1])
            header = _next_line(lines)
        image = _read_frame(chunk, count, first)
        is_followed = header is None or bool(COUNT.fullmatch(header[1].strip()))
        if header is None and not chunk[-1].endswith('\n') and isinstance(image, Image):
            yield Fault(
                'the last line does not end, the file may be cut short: add a line end if the file is complete',
                _place(first + len(chunk) - 1, chunk[-1]),
            )
        elif header is not None and not is_followed and isinstance(image, Image):
            yield Fault(f'the frame goes on after the {counted(count, "atom")} of its first line', _place(*header))
        else:
            yield image
        if not is_followed:
            return


def _next_line(lines: Iterator[Numbered]) -> Numbered | None:
    """Return the next line that is not empty."""
    return next((line for line in lines if line[1].strip()), None)


def _place(number: int, text: str) -> str:
    """Return a line for a message."""
    return f'line {number}: `{shown(text.strip())}`'


def _read_frame(chunk: Sequence[str], count: int, first: int) -> Image | Fault:
    """Return the structure of the lines of a frame, or the fault.

    :param first: number of the first line in the file.
    """
    try:
        return Image(_structure(chunk, count), f'line {first + 1}')
    except FrameError as error:
        return Fault(error.cause, _place(first + error.line, error.text or chunk[error.line]))


def _structure(chunk: Sequence[str], count: int) -> Atoms:
    """Return the structure of the lines of a frame.

    :raises FrameError: when the frame cannot be read.
    """
    if count == 0:
        raise FrameError('the frame has no atoms', 0)
    pairs = parse_comment(chunk[1].strip())
    lattice, cell = lattice_of(pairs)
    pbc_key, pbc = periodicity_of(pairs)
    properties = find(pairs, ('properties',))
    columns = None if properties is None else parse_properties(pairs[properties] or '')
    numbers, positions, arrays = atoms_of(chunk[2 : count + 2], columns)
    if len(chunk) > count + 2:
        if cell is not None:
            raise FrameError(f'both `{shown(lattice)}` and VEC lines', count + 2)
        cell, periodic = _vectors(chunk[count + 2 :], count + 2)
        pbc = pbc if pbc is not None else periodic
    atoms = Atoms(numbers, positions, cell=cell, pbc=cell is not None if pbc is None else pbc)
    atoms.arrays.update(arrays)
    for key in pairs.keys() - {lattice, pbc_key, properties}:
        value = pairs[key]
        if value is None and key in FOREIGN:
            atoms.info['unit'] = key
        elif value is not None:
            atoms.info[key] = _text(value) if key in TEXTS else parse_value(value)
    _attach_results(atoms)
    return atoms


def _text(value: str) -> str:
    """Return a text, decoded if it was written as JSON."""
    parsed = parse_value(value) if value.startswith('_JSON ') else value
    return parsed if isinstance(parsed, str) else value


def _vectors(lines: Sequence[str], first: int) -> tuple[FloatArray, list[bool]]:
    """Return the cell of lines such as ``VEC1 3 0 0``, and the periodic directions."""
    cell = np.zeros((3, 3))
    for index, line in enumerate(lines):
        name, *words = line.split()
        try:
            if index > 2 or name != f'VEC{index + 1}' or len(words) != 3:
                raise ValueError
            cell[index] = [parse_number(word) for word in words]
        except ValueError as error:
            raise FrameError(
                f'not the cell vector {index + 1}, such as `VEC{index + 1} 3 0 0`', first + index
            ) from error
    return cell, [index < len(lines) for index in range(3)]


def _attach_results(atoms: Atoms) -> None:
    """Move the results of a calculation into a calculator, if they have ASE's form."""
    results: dict[str, t.Any] = {}
    for name in ('energy', 'free_energy'):
        if isinstance(atoms.info.get(name), float):
            results[name] = atoms.info.pop(name)
    forces = atoms.arrays.get('forces')
    if (
        forces is not None
        and forces.dtype.kind == 'f'
        and forces.shape == (len(atoms), 3)
        and 'forces' not in atoms.info
    ):
        results['forces'] = atoms.arrays.pop('forces')
    stress = atoms.info.get('stress')
    if isinstance(stress, np.ndarray) and stress.dtype.kind == 'f' and stress.size == 9:
        tensor = stress.reshape(3, 3)
        if np.array_equal(tensor, tensor.T):
            results['stress'] = tensor[VOIGT]
            del atoms.info['stress']
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
