"""A writer of extended XYZ in ASE's dialect, without rounding; no AiiDA."""

from __future__ import annotations

import functools
import json
import re
import typing as t
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from ase.io.extxyz import key_val_str_to_dict

from aiida_pace.frames import Frames

__all__ = ('write_extxyz',)

#: Index in Voigt order of the nine numbers of a stress tensor, row by row.
TENSOR = [0, 5, 4, 5, 1, 3, 4, 3, 2]

#: Texts without quotes, unless they look like a number or a truth value.
PLAIN = re.compile(r'[\w./:+-]+', re.ASCII)


def write_extxyz(frames: Frames, path: str | Path) -> None:
    """Write ``frames`` without rounding: they are read back bit by bit.

    ASE's own writer rounds to 8 digits after the point. Energy, forces and stress have ASE's names, and ``origin``,
    ``label_uuid``, ``weight``, ``force_weight`` and ``grade`` the names of `Frames`. Units: eV and Å.

    :raises OSError: when the file cannot be written.
    """
    with open(path, 'w', encoding='utf-8', newline='\n') as handle:
        for index in range(len(frames)):
            handle.write(_frame(frames, index))


def _frame(frames: Frames, index: int) -> str:
    """Return the text of one frame."""
    part = frames.atoms_slice(index)
    columns = {'pos': frames.positions[part]}
    if frames.forces is not None:
        columns['forces'] = frames.forces[part]
    if np.any(frames.force_weight[part] != 1):
        columns['force_weight'] = frames.force_weight[part, None]
    if frames.grade is not None:
        columns['grade'] = frames.grade[part, None]
    properties = ''.join(f':{name}:R:{column.shape[1]}' for name, column in columns.items())
    symbols = [chemical_symbols[number] for number in frames.numbers[part]]
    rows = np.hstack(list(columns.values())).tolist()
    atoms = [f'{symbol} {" ".join(map(repr, row))}\n' for symbol, row in zip(symbols, rows, strict=True)]
    return f'{len(atoms)}\n{_comment(frames, index, properties)}\n{"".join(atoms)}'


def _comment(frames: Frames, index: int, properties: str) -> str:
    """Return the second line of a frame: the data of the whole frame."""
    words = []
    if any(frames.cells[index].tobytes()):
        words.append(f'Lattice="{_numbers(frames.cells[index])}"')
    words.append(f'Properties=species:S:1{properties}')
    words.append(f'pbc="{" ".join("T" if is_periodic else "F" for is_periodic in frames.pbc[index])}"')
    if frames.energy is not None:
        words.append(f'energy={frames.energy[index].item()!r}')
    if frames.stress is not None:
        words.append(f'stress="{_numbers(frames.stress[index, TENSOR])}"')
    if frames.weight[index] != 1:
        words.append(f'weight={frames.weight[index].item()!r}')
    texts = {'origin': str(frames.origin[index]), 'label_uuid': str(frames.label_uuid[index])}
    return ' '.join([*words, *(f'{name}={_quoted(text)}' for name, text in texts.items() if text)])


def _numbers(array: np.ndarray[t.Any, t.Any]) -> str:
    """Return the numbers of ``array``, row by row, each in its shortest exact form."""
    return ' '.join(map(repr, array.ravel().tolist()))


@functools.lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    """Return ``text`` in a form that ASE's reader gives back: as JSON where the plain text would be changed."""
    if PLAIN.fullmatch(text):
        back = key_val_str_to_dict(f'key={text}')['key']
        if isinstance(back, str) and back == text:
            return text
    escaped = json.dumps(text).replace('\\', '\\\\').replace('"', '\\"')
    return f'"_JSON {escaped}"'
