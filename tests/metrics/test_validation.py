"""Properties from frames alone, against relaxations and finite differences that know nothing of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.tersoff import Tersoff, TersoffParameters
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.units import GPa

from aiida_pace.config import PropertyTolerances, ValidationConfig
from aiida_pace.frames import Frames
from aiida_pace.metrics.properties import PropertyError
from aiida_pace.metrics.validation import (
    CrystalProperties,
    compare_properties,
    crystal_properties,
    equilibrium,
    judge_properties,
)
from aiida_pace.structures.crystal import standard_primitive
from aiida_pace.structures.deformations import response_frames, volume_frames

CONFIG = ValidationConfig()

#: Tersoff, Phys. Rev. B 38, 9902 (1988), `Si(C)`; there: C11 = 143, C12 = 75, C44 = 69 GPa, 119 with atoms held.
SILICON = TersoffParameters(
    m=3.0,
    gamma=1.0,
    lambda3=0.0,
    c=1.0039e5,
    d=16.217,
    h=-0.59825,
    n=0.78734,
    beta=1.1e-6,
    lambda2=1.7322,
    B=471.18,
    R=2.85,
    D=0.15,
    lambda1=2.4799,
    A=1830.8,
)


def tersoff() -> Calculator:
    return Tersoff({('Si', 'Si', 'Si'): SILICON})


def labelled(images: list[Atoms], calculator: Callable[[], Calculator]) -> Frames:
    results = []
    if not images:
        return Frames.from_atoms([])
    for atoms in images:
        atoms.calc = calculator()
        results.append((atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()))
        atoms.calc = None
    energies, forces, stresses = zip(*results, strict=True)
    return Frames.from_atoms(images).replace(
        energy=np.array(energies), forces=np.concatenate(forces), stress=np.array(stresses)
    )


def properties_of(
    atoms: Atoms, calculator: Callable[[], Calculator], config: ValidationConfig = CONFIG
) -> tuple[CrystalProperties, Atoms]:
    crystal = standard_primitive(atoms, config.symmetry_tolerance)
    volumes = labelled(volume_frames(crystal, config), calculator)
    at_rest = equilibrium(crystal, config, volumes)
    responses = labelled(response_frames(at_rest, config), calculator)
    return crystal_properties(crystal, config, volumes, at_rest, responses), at_rest


def relaxed_constants(at_rest: Atoms, calculator: Calculator, size: float = 2e-3) -> np.ndarray:
    """(6, 6) in GPa: stress by strain of both signs, the atoms of each strained cell relaxed by a minimiser."""
    constants = np.zeros((6, 6))
    for column, (row, line) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[row, line] += sign * size / 2
            strain[line, row] += sign * size / 2
            atoms = at_rest.copy()
            atoms.set_cell(at_rest.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            atoms.calc = calculator
            BFGS(atoms, logfile=None).run(fmax=1e-6, steps=200)
            constants[:, column] += sign * atoms.get_stress() / (2 * size) / GPa
    return constants


def frequencies(at_rest: Atoms, calculator: Calculator, point: np.ndarray, size: float = 5e-3) -> np.ndarray:
    """(3N,) in THz: Fourier sum over a full Hessian by central differences in a 2x2x2 supercell, no symmetry used."""
    supercell = at_rest * (2, 2, 2)
    supercell.calc = calculator
    count = len(at_rest)
    # Atoms of a repeated cell are those of the cell again and again, in the order of the cells.
    cells = supercell.positions.reshape(8, count, 3) - at_rest.positions
    phases = np.exp(2j * np.pi * np.linalg.solve(at_rest.cell.array.T, cells[:, 0].T).T @ point)
    matrix = np.zeros((3 * count, 3 * count), dtype=complex)
    for row in range(3 * count):
        for sign in (1, -1):
            supercell.positions[row // 3, row % 3] += sign * size
            forces = supercell.get_forces().reshape(8, 3 * count)
            supercell.positions[row // 3, row % 3] -= sign * size
            matrix[row] -= sign * phases @ forces / (2 * size)
    masses = np.repeat(at_rest.get_masses(), 3)
    squares = np.linalg.eigvalsh((matrix + matrix.conj().T) / 2 / np.sqrt(np.outer(masses, masses)))
    return np.sign(squares) * np.sqrt(np.abs(squares)) * 15.633302


def hexagonal() -> Atoms:
    """Copper at rest in a lattice that is not its own; its atoms move when the basal plane is strained."""
    atoms = bulk('Cu', 'hcp', a=2.57, c=4.15)
    atoms.calc = EMT()
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-5, steps=100)
    atoms.calc = None
    return atoms


@pytest.mark.parametrize(
    ('atoms', 'calculator', 'names'),
    [
        (bulk('Cu', a=3.62, cubic=True), EMT, ['C11', 'C12', 'C44']),
        (bulk('Si', a=5.40), tersoff, ['C11', 'C12', 'C44']),
        (hexagonal(), EMT, ['C11', 'C12', 'C13', 'C33', 'C44']),
    ],
    ids=['fcc', 'diamond', 'hcp'],
)
def test_elastic_constants_against_relaxation(
    atoms: Atoms, calculator: Callable[[], Calculator], names: list[str]
) -> None:
    config = CONFIG.model_copy(update={'phonons': False, 'strain': 0.002})
    properties, at_rest = properties_of(atoms, calculator, config)
    expected = relaxed_constants(at_rest, calculator())
    assert properties.errors == {}
    assert properties.elastic_constants is not None
    assert list(properties.elastic_constants) == names
    for name, value in properties.elastic_constants.items():
        assert value == pytest.approx(expected[int(name[1]) - 1, int(name[2]) - 1], abs=0.3), name


@pytest.mark.parametrize(
    ('atoms', 'calculator'),
    [(bulk('Cu', a=3.62), EMT), (bulk('Si', a=5.40, cubic=True), tersoff)],
    ids=['fcc', 'diamond'],
)
def test_phonons_against_hessian(atoms: Atoms, calculator: Callable[[], Calculator]) -> None:
    config = CONFIG.model_copy(update={'elastic_constants': False, 'displacement': 0.01})
    properties, at_rest = properties_of(atoms, calculator, config)
    assert properties.phonons is not None
    assert list(properties.phonons) == ['G', 'L', 'X']
    for name, point in {'G': [0, 0, 0], 'L': [0.5, 0.5, 0.5], 'X': [0.5, 0, 0.5]}.items():
        expected = frequencies(at_rest, calculator(), np.array(point))
        np.testing.assert_allclose(properties.phonons[name], expected, atol=0.01, err_msg=name)


def test_equation_of_state_against_minimiser() -> None:
    """Lattice constant and energy where a minimiser of the cell ends; the bulk modulus is that of the constants."""
    properties, _ = properties_of(bulk('Si', a=5.40), tersoff)
    atoms = bulk('Si', a=5.40)
    atoms.calc = tersoff()
    BFGS(FrechetCellFilter(atoms, hydrostatic_strain=True), logfile=None).run(fmax=1e-6)
    assert properties.lattice_constant == pytest.approx(atoms.cell.lengths()[0] * np.sqrt(2), rel=1e-4)
    assert properties.energy == pytest.approx(atoms.get_potential_energy() / 2, abs=1e-4)
    constants = properties.elastic_constants
    assert constants is not None
    assert properties.bulk_modulus == pytest.approx((constants['C11'] + 2 * constants['C12']) / 3, rel=0.01)


def test_frames_are_few_and_the_same_for_noise() -> None:
    """Three strains and one displacement for diamond; energies that differ by less than a label's noise change none."""
    crystal = standard_primitive(bulk('Si', a=5.40, cubic=True), 1e-3)
    volumes = labelled(volume_frames(crystal, CONFIG), tersoff)
    frames = response_frames(equilibrium(crystal, CONFIG, volumes), CONFIG)
    assert [atoms.info['origin'] for atoms in frames] == ['strain/+xx', 'strain/-xx', 'strain/+yz', 'displacement/0']
    assert volumes.energy is not None
    noisy = volumes.replace(energy=volumes.energy + 1e-9 * np.arange(len(volumes)))
    again = response_frames(equilibrium(crystal, CONFIG, noisy), CONFIG)
    assert all(one == other for one, other in zip(frames, again, strict=True))


def test_missing_labels_are_named() -> None:
    """What frames without a label would have told is None with a reason; the rest stands."""
    crystal = standard_primitive(bulk('Si', a=5.40), 1e-3)
    volumes = labelled(volume_frames(crystal, CONFIG), tersoff)
    at_rest = equilibrium(crystal, CONFIG, volumes)
    strained = labelled(response_frames(at_rest, CONFIG)[:3], tersoff)
    properties = crystal_properties(crystal, CONFIG, volumes.take([0, 2, 3, 4, 5]), at_rest, strained)
    assert properties.bulk_modulus == pytest.approx(98, abs=1)
    assert properties.phonons is properties.elastic_constants is None
    assert properties.errors['phonons'] == 'labels are missing for 1 of 1 displaced frame'
    with pytest.raises(PropertyError, match='4 volumes'):
        equilibrium(crystal, CONFIG, volumes.take([0, 2, 3, 4]))


def test_crystal_that_is_not_at_rest_is_told() -> None:
    """Hexagonal copper of a wrong c/a is under shear; an atom that symmetry leaves free feels a force."""
    config = CONFIG.model_copy(update={'phonons': False, 'elastic_constants': False})
    at_rest, _ = properties_of(hexagonal(), EMT, config)
    wrong, _ = properties_of(bulk('Cu', 'hcp', a=2.48, c=4.4), EMT, config)
    assert at_rest.residual_shear == pytest.approx(0, abs=0.1)
    assert wrong.residual_shear is not None
    assert wrong.residual_shear > 5
    assert wrong.residual_force == pytest.approx(0, abs=1e-9)
    dimers = Atoms('Cu2', scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.45]], cell=[2.56, 2.56, 3.7], pbc=True)
    free, _ = properties_of(dimers, EMT, config)
    assert free.residual_force is not None
    assert free.residual_force > 0.1


DFT = CrystalProperties(
    lattice_constant=5.0,
    bulk_modulus=100.0,
    elastic_constants={'C11': 150.0, 'C12': -10.0},
    phonons={'G': [0.0, 10.0], 'X': [4.0, 8.0]},
)


def test_judge() -> None:
    """Each deviation is the largest one; a small constant is not judged by its own size; a missing value fails."""
    tolerances = PropertyTolerances(bulk_modulus=None)
    near = dataclasses.replace(
        DFT,
        lattice_constant=4.996,
        bulk_modulus=70.0,
        elastic_constants={'C11': 155.0, 'C12': -9.4},
        phonons={'G': [0.0, 10.1], 'X': [3.7, 8.1]},
    )
    comparison = compare_properties(DFT, near)
    gates = judge_properties(comparison, tolerances, CONFIG)
    assert {name: gate['passed'] for name, gate in gates.items()} == {
        'lattice_constant': True,
        'elastic_constants': True,
        'phonons': False,
    }
    assert gates['lattice_constant']['deviation'] == pytest.approx(0.08)
    assert gates['elastic_constants']['deviation'] == pytest.approx(4.0)
    assert gates['phonons']['deviation'] == pytest.approx(0.3)
    assert comparison['bulk_modulus']['percent'] == pytest.approx(-30)

    gates = judge_properties(compare_properties(DFT, CrystalProperties()), PropertyTolerances(), CONFIG)
    assert [gate['deviation'] for gate in gates.values()] == [None] * 4
    assert not any(gate['passed'] for gate in gates.values())

    gates = judge_properties(comparison, PropertyTolerances(), CONFIG.model_copy(update={'phonons': False}))
    assert list(gates) == ['lattice_constant', 'bulk_modulus', 'elastic_constants']
