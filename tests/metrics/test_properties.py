from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_pace.metrics.properties import PropertyError, fit_elastic_constants, fit_equation_of_state
from aiida_pace.structures.crystal import SpaceGroup

FloatArray = npt.NDArray[np.float64]


def birch_murnaghan(volumes: FloatArray, v0: float, e0: float, b0: float, derivative: float) -> FloatArray:
    """Energy by integration of Birch's pressure, not by the formula that is fitted."""
    x = (v0 / volumes) ** (1 / 3)
    finite_strain = (x**2 - 1) / 2
    return e0 + 9 / 2 * b0 * v0 * finite_strain**2 * (1 + (derivative - 4) * finite_strain)


@settings(deadline=None, max_examples=50)
@given(
    v0=st.floats(5, 400),
    e0=st.floats(-1e5, 1e3),
    b0=st.floats(5, 500),
    derivative=st.floats(2, 7),
    center=st.floats(0.97, 1.03),
)
def test_equation_of_state_is_found_again(v0: float, e0: float, b0: float, derivative: float, center: float) -> None:
    volumes = v0 * center * np.linspace(0.94, 1.06, 7)
    found = fit_equation_of_state(volumes, birch_murnaghan(volumes, v0, e0, b0 * GPa, derivative))
    assert found.volume == pytest.approx(v0, rel=1e-5)
    assert found.energy == pytest.approx(e0, abs=1e-5)
    assert found.bulk_modulus_gpa == pytest.approx(b0, rel=1e-3)
    assert found.derivative == pytest.approx(derivative, abs=0.1)
    assert found.residual < 1e-6


def energies_of(atoms: Atoms, factors: FloatArray) -> tuple[FloatArray, FloatArray]:
    volumes, energies = [], []
    for factor in factors:
        image = atoms.copy()
        image.set_cell(atoms.cell * factor, scale_atoms=True)
        image.calc = EMT()
        volumes.append(image.get_volume())
        energies.append(image.get_potential_energy())
    return np.array(volumes), np.array(energies)


def pressure_by_stress(atoms: Atoms, factor: float) -> float:
    image = atoms.copy()
    image.set_cell(atoms.cell * factor, scale_atoms=True)
    image.calc = EMT()
    return -float(image.get_stress()[:3].mean()) / GPa


def test_equation_of_state_of_copper_agrees_with_its_stresses() -> None:
    copper = bulk('Cu', a=3.6)
    volumes, energies = energies_of(copper, np.linspace(0.985, 1.015, 9))
    found = fit_equation_of_state(volumes, energies)
    factor = (found.volume / copper.get_volume()) ** (1 / 3)
    assert pressure_by_stress(copper, factor) == pytest.approx(0, abs=0.05)
    step = 1e-3
    slope = (pressure_by_stress(copper, factor + step) - pressure_by_stress(copper, factor - step)) / (2 * step)
    assert found.bulk_modulus_gpa == pytest.approx(-slope * factor / 3, rel=5e-3)
    assert found.lattice_constant(copper.get_volume(), 3.6) == pytest.approx(3.6 * factor)


def test_residual_says_how_far_the_energies_lie_from_the_curve() -> None:
    volumes = 20 * np.linspace(0.94, 1.06, 40)
    noise = 1e-3 * np.random.default_rng(1).normal(size=40)
    found = fit_equation_of_state(volumes, birch_murnaghan(volumes, 20, -3, 0.6, 4) + noise)
    assert found.residual == pytest.approx(np.sqrt(np.sum(noise**2) / 40), rel=0.1)


@pytest.mark.parametrize(
    ('volumes', 'energies', 'message'),
    [
        ([18, 19, 20, 21], [1, 0, 0, 1], '4 volumes'),
        ([18, 19, 20, 21, 21], [1, 0, 0, 1, 1], '4 volumes'),
        ([18, 19, 20, 21, 22], [1, 0, np.nan, 1, 2], 'not finite'),
        ([18, 19, 20, 21, 22], [4, 3, 2.1, 1.3, 0.6], 'no minimum'),
        ([18, 19, 20, 21, 22], [0, 3, 4, 3, 0], 'no minimum|no equation'),
        ([18, 19, 20, 21, 22], [1, 1, 1, 1, 1], 'no minimum|no equation'),
    ],
)
@pytest.mark.filterwarnings('ignore:Covariance of the parameters')
def test_energies_without_an_equation_of_state_are_refused(
    volumes: list[float], energies: list[float], message: str
) -> None:
    with pytest.raises(PropertyError, match=message):
        fit_equation_of_state(volumes, energies)


def random_constants(seed: int) -> FloatArray:
    root = np.random.default_rng(seed).normal(size=(6, 6))
    return 50 * (root @ root.T)


def both_signs(amplitude: float = 0.005) -> FloatArray:
    return amplitude * np.concatenate([np.eye(6), -np.eye(6)])


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1e-6, 1e-3, 1e-2]))
def test_elastic_constants_are_found_again_whatever_the_stress_at_rest(seed: int, amplitude: float) -> None:
    constants = random_constants(seed)
    rest = np.random.default_rng(seed).normal(scale=1, size=6)
    strains = both_signs(amplitude)
    stresses = (strains @ constants + rest) * GPa
    assert fit_elastic_constants(strains, stresses) == pytest.approx(constants, rel=1e-6, abs=1e-4)


def test_what_is_quadratic_in_the_strain_cancels() -> None:
    constants, strains = random_constants(1), both_signs()
    curvature = 1e4 * np.random.default_rng(2).normal(size=(6, 6, 6))
    stresses = (strains @ constants + np.einsum('mi,ijk,mk->mj', strains, curvature, strains)) * GPa
    assert fit_elastic_constants(strains, stresses) == pytest.approx(constants, rel=1e-9)


def strained(atoms: Atoms, strain: FloatArray) -> Atoms:
    xx, yy, zz, yz, xz, xy = strain * [1, 1, 1, 0.5, 0.5, 0.5]
    image = atoms.copy()
    deformation = np.eye(3) + np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    image.set_cell(atoms.cell @ deformation, scale_atoms=True)
    image.calc = EMT()
    return image


@pytest.fixture(scope='module')
def copper() -> Atoms:
    atoms = bulk('Cu', cubic=True)
    volumes, energies = energies_of(atoms, np.linspace(0.97, 1.03, 9))
    volume = fit_equation_of_state(volumes, energies).volume
    atoms.set_cell(atoms.cell * (volume / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
    return atoms


def second_difference(energy: Callable[[float], float], step: float = 4e-3) -> float:
    return (energy(step) - 2 * energy(0.0) + energy(-step)) / step**2


def cubic(constants: FloatArray) -> tuple[list[float], float]:
    """Return C11, C12, C44 averaged, and the largest difference to the matrix that they make."""
    diagonal = np.eye(3, dtype=bool)
    c11, c12, c44 = (
        float(block.mean())
        for block in (constants[:3, :3][diagonal], constants[:3, :3][~diagonal], constants[3:, 3:][diagonal])
    )
    form = np.zeros((6, 6))
    form[:3, :3] = np.where(diagonal, c11, c12)
    form[3:, 3:] = c44 * diagonal
    return [c11, c12, c44], float(np.abs(constants - form).max())


def test_elastic_constants_of_copper_agree_with_its_energies(copper: Atoms) -> None:
    strains = both_signs(0.002)
    stresses = np.array([strained(copper, strain).get_stress() for strain in strains])
    (c11, c12, c44), deviation = cubic(fit_elastic_constants(strains, stresses))

    def curvature(pattern: list[float]) -> float:
        energy = second_difference(lambda x: strained(copper, x * np.array(pattern)).get_potential_energy())
        return energy / copper.get_volume() / GPa

    assert c11 == pytest.approx(curvature([1, 0, 0, 0, 0, 0]), rel=0.01)
    assert 2 * (c11 - c12) == pytest.approx(curvature([1, -1, 0, 0, 0, 0]), rel=0.01)
    assert c44 == pytest.approx(curvature([0, 0, 0, 1, 0, 0]), rel=0.01)
    volumes, energies = energies_of(copper, np.linspace(0.99, 1.01, 7))
    bulk_modulus = fit_equation_of_state(volumes, energies).bulk_modulus_gpa
    assert (c11 + 2 * c12) / 3 == pytest.approx(bulk_modulus, rel=0.01)
    assert deviation < 0.02 * c11


def test_one_pattern_is_enough_for_a_cubic_crystal_in_any_orientation(copper: Atoms) -> None:
    full = both_signs(0.002)
    expected = fit_elastic_constants(full, [strained(copper, strain).get_stress() for strain in full])
    pattern = 0.002 * np.array([[1.0, 0, 0, 1, 0, 0], [-1, 0, 0, -1, 0, 0]])
    stresses = [strained(copper, strain).get_stress() for strain in pattern]
    with pytest.raises(PropertyError, match='do not determine'):
        fit_elastic_constants(pattern, stresses)
    found = fit_elastic_constants(pattern, stresses, SpaceGroup.of(copper, 1e-3).rotations)
    assert found == pytest.approx(expected, abs=0.5)
    assert cubic(found)[1] < 1e-6

    turned = copper.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    stresses = [strained(turned, strain).get_stress() for strain in full]
    bare = fit_elastic_constants(full, stresses)
    symmetric = fit_elastic_constants(full, stresses, SpaceGroup.of(turned, 1e-3).rotations)
    assert symmetric == pytest.approx(bare, abs=1.5)
    assert cubic(symmetric)[1] > 5
    assert symmetric[:3, :3].sum() == pytest.approx(expected[:3, :3].sum(), rel=0.01)


def test_hexagonal_symmetry_is_enforced() -> None:
    strains = np.random.default_rng(3).normal(scale=0.01, size=(12, 6))
    stresses = strains @ random_constants(4) * GPa
    found = fit_elastic_constants(strains, stresses, SpaceGroup.of(bulk('Mg'), 1e-3).rotations)
    assert found[0, 0] == pytest.approx(found[1, 1])
    assert found[5, 5] == pytest.approx((found[0, 0] - found[0, 1]) / 2)
    assert found[0, 3:] == pytest.approx(0, abs=1e-6)


def test_wrong_shapes_and_numbers_are_refused() -> None:
    with pytest.raises(PropertyError, match=r'\(12, 6\) and stresses \(11, 6\)'):
        fit_elastic_constants(both_signs(), np.zeros((11, 6)))
    with pytest.raises(PropertyError, match='not finite'):
        fit_elastic_constants(both_signs(), np.full((12, 6), np.nan))
    with pytest.raises(PropertyError, match='do not determine'):
        fit_elastic_constants(np.eye(6)[:5], np.zeros((5, 6)))
    with pytest.raises(PropertyError, match='do not determine'):
        fit_elastic_constants(np.zeros((12, 6)), np.zeros((12, 6)))
