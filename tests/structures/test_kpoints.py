"""Meshes that stay the same, as AiiDA makes them."""

from __future__ import annotations

import pytest
from aiida.orm import KpointsData
from ase import Atoms
from ase.build import bulk

from aiida_pace.config import ValidationConfig
from aiida_pace.structures.crystal import rescaled
from aiida_pace.structures.kpoints import steady_distance

CRYSTALS = [bulk('Si', a=5.43), bulk('Al'), bulk('Mg'), bulk('Fe')]


def mesh(atoms: Atoms, distance: float) -> tuple[int, ...]:
    kpoints = KpointsData()
    kpoints.set_cell(atoms.cell.array)
    kpoints.set_kpoints_mesh_from_density(distance)
    return tuple(kpoints.get_kpoints_mesh()[0])


@pytest.mark.usefixtures('aiida_profile')
@pytest.mark.parametrize('distance', [1.2, 0.4, 0.25, 0.15])
@pytest.mark.parametrize('crystals', [CRYSTALS[:1], CRYSTALS[1:2], CRYSTALS[2:3], CRYSTALS[:2]], ids=str)
def test_mesh_stays(crystals: list[Atoms], distance: float) -> None:
    found = steady_distance(crystals, distance, 0.025)
    assert distance / 2 <= found <= distance
    for atoms in crystals:
        assert len({mesh(rescaled(atoms, 0.94 + 0.01 * step), found) for step in range(13)}) == 1


def test_distance_is_kept_where_it_serves() -> None:
    """One point along each axis stays one; a mesh in the middle of its range stays, too."""
    assert steady_distance(CRYSTALS, 5.0, 0.025) == 5.0
    assert steady_distance(CRYSTALS[:1], 0.44, ValidationConfig().strain) == 0.44
