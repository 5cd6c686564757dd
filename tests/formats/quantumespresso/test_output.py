"""Stress and clocks of pw.x."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_pace.formats.quantumespresso.output import cpu_seconds, voigt_stress


def test_voigt_stress() -> None:
    """Against ASE's own conversion of the full tensor."""
    tensor = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]])
    np.testing.assert_allclose(voigt_stress(tensor) * 160.21766208, -np.array([1, 4, 6, 5, 3, 2]), rtol=1e-7)


@pytest.mark.parametrize(
    ('line', 'seconds'),
    [
        ('     PWSCF        :      0.54s CPU      0.61s WALL', 0.54),
        ('     PWSCF        :   2m10.51s CPU   2m11.02s WALL', 130.51),
        ('     PWSCF        :   1h 2m CPU   1h 3m WALL', 3720.0),
        ('     PWSCF        :   1d 1h 2m CPU   1d 1h 3m WALL', 90120.0),
        ('     electrons    :      0.40s CPU      0.45s WALL (       1 calls)', None),
        ('', None),
    ],
)
def test_cpu_seconds(line: str, seconds: float | None) -> None:
    assert cpu_seconds(f'     electrons    :      0.40s CPU      0.45s WALL\n\n{line}\n\n   This run\n') == seconds


def test_the_last_clock_counts() -> None:
    text = (
        '     PWSCF        :      0.50s CPU      0.60s WALL\n' * 2
        + '     PWSCF        :      2.50s CPU      2.60s WALL\n'
    )
    assert cpu_seconds(text) == 2.5
