"""Output of pw.x in the units and the order of ASE."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
from ase import units

__all__ = ('cpu_seconds', 'voigt_stress')

FloatArray = npt.NDArray[np.float64]

#: The last line of the timings: `PWSCF        :  1h 2m10.51s CPU   1h 3m 8.02s WALL`, `PWSCF : 2.46s CPU 2.65s WALL`.
CLOCK = re.compile(r'^\s*PWSCF\s*:(?P<cpu>[\s\d.dhms]+?)CPU', re.MULTILINE)
UNITS = {'d': 86400.0, 'h': 3600.0, 'm': 60.0, 's': 1.0}


def voigt_stress(stress: FloatArray) -> FloatArray:
    """Return the stress (3, 3) of pw.x, in GPa and positive under compression, in ASE's sign and Voigt order.

    :returns: (6,) xx yy zz yz xz xy in eV/Å³, negative under compression.
    """
    return -stress[(0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)] * units.GPa


def cpu_seconds(text: str) -> float | None:
    """Return the CPU time of one process of pw.x with all threads, in seconds; None when the output lacks the time.

    :param text: standard output of a finished run.
    """
    clocks = CLOCK.findall(text)
    if not clocks:
        return None
    parts = re.findall(r'([\d.]+)\s*([dhms])', clocks[-1])
    return sum(float(number) * UNITS[unit] for number, unit in parts) if parts else None
