"""Crystals: what stays the same whatever cell and orientation they are given in."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_pace.config import ValidationConfig
from aiida_pace.structures.crystal import (
    CrystalError,
    SpaceGroup,
    conventional_lengths,
    rescaled,
    special_points,
    standard_primitive,
)
from aiida_pace.structures.deformations import commensurate_points, strained_frames, strains_of

CRYSTALS = {
    'diamond': bulk('Si', a=5.43),
    'cubic': bulk('Si', a=5.43, cubic=True),
    'hcp': bulk('Mg', a=3.21, c=5.21),
    'zincblende': bulk('SiC', 'zincblende', a=4.36),
    'perovskite': Atoms(
        'CaTiO3',
        scaled_positions=[[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
        cell=[3.8] * 3,
        pbc=True,
    ),
}


@pytest.mark.parametrize('name', CRYSTALS)
def test_space_group_maps_the_crystal_onto_itself(name: str) -> None:
    """Every operation is a rotation that brings each vector between atoms to that between their images."""
    atoms = CRYSTALS[name]
    group = SpaceGroup.of(atoms, 1e-3)
    cell, places = atoms.cell.array, atoms.positions
    for rotation, permutation in zip(group.rotations, group.permutations, strict=True):
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-10)
        np.testing.assert_array_equal(atoms.numbers[permutation], atoms.numbers)
        vectors = (places - places[0]) @ rotation.T - (places[permutation] - places[permutation[0]])
        fractions = np.linalg.solve(cell.T, vectors.T)
        np.testing.assert_allclose(fractions, np.round(fractions), atol=1e-8)


@pytest.mark.parametrize(
    ('atoms', 'order'),
    [
        (bulk('Cu'), 48),
        (bulk('Si', cubic=True), 48),
        (bulk('Mg'), 24),
        (bulk('GaAs', 'zincblende', a=5.65), 24),
        (Atoms('H', cell=[3, 4, 5], pbc=True), 8),
    ],
    ids=str,
)
def test_point_group_has_the_known_order(atoms: Atoms, order: int) -> None:
    rotations = SpaceGroup.of(atoms, 1e-3).rotations
    assert len(np.unique(np.round(rotations, 6) + 0.0, axis=0)) == order


def test_primitive_cell_is_that_of_any_cell_and_orientation() -> None:
    expected = standard_primitive(CRYSTALS['diamond'], 1e-3)
    turned = CRYSTALS['cubic'].repeat((2, 1, 1))
    turned.rotate(33, (1, 2, 3), rotate_cell=True)
    turned.positions += 0.3
    turned.rattle(1e-5, seed=1)
    for atoms in (CRYSTALS['cubic'], turned):
        found = standard_primitive(atoms, 1e-3)
        np.testing.assert_allclose(found.cell.array, expected.cell.array, atol=1e-4)
        np.testing.assert_allclose(found.positions, expected.positions, atol=1e-4)
    np.testing.assert_allclose(conventional_lengths(expected, 1e-3), 5.43)
    assert SpaceGroup.of(expected, 1e-3).name == 'Fd-3m (227)'


def test_what_is_no_crystal_is_refused() -> None:
    with pytest.raises(CrystalError, match='not periodic'):
        standard_primitive(Atoms('Si', cell=[5, 5, 5]), 1e-3)
    with pytest.raises(CrystalError, match='too close'):
        standard_primitive(Atoms('Si2', cell=[5, 5, 5], pbc=True), 1e-3)


def test_special_points_are_those_of_the_textbook() -> None:
    """X and L of the face-centred lattice, by their length: 2π/a and √3 π/a."""
    crystal = standard_primitive(CRYSTALS['cubic'], 1e-3)
    lengths = {
        name: np.linalg.norm(point @ crystal.cell.reciprocal().array) for name, point in special_points(crystal).items()
    }
    assert lengths['G'] == 0
    assert lengths['X'] == pytest.approx(1 / 5.43)
    assert lengths['L'] == pytest.approx(np.sqrt(3) / 2 / 5.43)
    config = ValidationConfig(supercell=(4, 4, 4), qpoints=('W', 'G'))
    assert list(commensurate_points(crystal, config)) == ['W', 'G']


@pytest.mark.parametrize(
    ('name', 'origins'),
    [
        ('diamond', ['+xx', '-xx', '+yz']),
        ('hcp', ['+xx', '-xx', '+zz', '-zz', '+yz']),
        ('perovskite', ['+xx', '-xx', '+yz']),
    ],
)
def test_strains_are_the_fewest(name: str, origins: list[str]) -> None:
    crystal = standard_primitive(CRYSTALS[name], 1e-3)
    frames = strained_frames(crystal, ValidationConfig(strain=0.01))
    assert [frame.info['origin'] for frame in frames] == [f'strain/{origin}' for origin in origins]
    strains = strains_of(frames, crystal)
    np.testing.assert_allclose(np.abs(strains).max(axis=1), 0.01)
    assert np.count_nonzero(np.abs(strains) > 1e-9) == len(frames)


def test_strains_without_symmetry_are_all() -> None:
    atoms = Atoms(
        'Si2', scaled_positions=[[0, 0, 0], [0.3, 0.45, 0.55]], cell=[[4, 0, 0], [0.5, 4.4, 0], [0.3, 0.8, 5]], pbc=True
    )
    low = standard_primitive(atoms, 1e-3)
    low.numbers[1] = 6
    assert len(strained_frames(low, ValidationConfig())) == 12


def test_rescaled() -> None:
    atoms = rescaled(CRYSTALS['hcp'], 0.9)
    assert atoms.get_volume() == pytest.approx(0.9 * CRYSTALS['hcp'].get_volume())
    np.testing.assert_allclose(atoms.get_scaled_positions(), CRYSTALS['hcp'].get_scaled_positions())
