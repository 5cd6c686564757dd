"""The frames of a crystal that determine equation of state, elastic constants, and phonons."""

from __future__ import annotations

import typing as t

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from aiida_pace.config import ValidationConfig
from aiida_pace.structures.crystal import CrystalError, SpaceGroup, rescaled, special_points

if t.TYPE_CHECKING:
    from phonopy import Phonopy

__all__ = (
    'VOIGT',
    'commensurate_points',
    'displaced_frames',
    'needs_displacements',
    'phonopy_of',
    'response_frames',
    'strained_frames',
    'strains_of',
    'volume_frames',
)

FloatArray = npt.NDArray[np.float64]

#: Names of the strains, in Voigt order.
VOIGT = ('xx', 'yy', 'zz', 'yz', 'xz', 'xy')


def volume_frames(crystal: Atoms, config: ValidationConfig) -> list[Atoms]:
    """Return the crystal at evenly spaced volumes around its own, with the origins ``volume/0.9400``, ...

    Shape and fractional coordinates stay the same.
    """
    ratios = np.linspace(1 - config.volume_range, 1 + config.volume_range, config.volume_count)
    return [_named(rescaled(crystal, float(ratio)), f'volume/{ratio:.4f}') for ratio in ratios]


def response_frames(crystal: Atoms, config: ValidationConfig) -> list[Atoms]:
    """Return the strained and the displaced frames of a crystal at equilibrium, as far as ``config`` needs them."""
    strained = strained_frames(crystal, config) if config.elastic_constants else []
    return strained + (displaced_frames(crystal, config) if needs_displacements(crystal, config) else [])


def strained_frames(crystal: Atoms, config: ValidationConfig) -> list[Atoms]:
    """Return the crystal under the fewest strains that determine all elastic constants; origins ``strain/+xx``, ...

    Each strain has one Voigt component, with both signs unless symmetry makes them equivalent; components that are
    combinations of the images of earlier ones under the space group are left out: three frames for a cubic crystal.
    Atoms keep their fractional coordinates.
    """
    rotations = SpaceGroup.of(crystal, config.symmetry_tolerance).rotations
    frames, known = [], np.empty((0, 9))
    for number, name in enumerate(VOIGT):
        # `strain` is the engineering strain: twice the component of the tensor for shears.
        strain = voigt_6_to_full_3x3_stress(np.eye(6)[number]) * config.strain / (1 if number < 3 else 2)
        images = np.einsum('kab,bc,kdc->kad', rotations, strain, rotations).reshape(-1, 9)
        reach = np.concatenate([known, images])
        if _rank(reach) == _rank(known):
            continue
        known = reach
        frames.append(_strained(crystal, strain, f'strain/+{name}'))
        if not np.any(np.all(np.isclose(images, -strain.reshape(9), atol=1e-3 * config.strain), axis=1)):
            frames.append(_strained(crystal, -strain, f'strain/-{name}'))
    return frames


def strains_of(frames: t.Iterable[Atoms], crystal: Atoms) -> FloatArray:
    """(n, 6) strains of ``frames`` from ``crystal``: Voigt order, shears as engineering strains (2 ε_yz, ...)."""
    inverse = np.linalg.inv(crystal.cell.array)
    gradients = np.array([inverse @ frame.cell.array for frame in frames]).reshape(-1, 3, 3) - np.eye(3)
    rows, columns = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)
    strains: FloatArray = gradients[:, rows, columns] + gradients[:, columns, rows]
    strains[:, :3] /= 2
    return strains


def needs_displacements(crystal: Atoms, config: ValidationConfig) -> bool:
    """Return whether displaced frames are needed: for phonons, or for atoms that move under strain."""
    return config.phonons or (config.elastic_constants and len(crystal) > 1)


def displaced_frames(crystal: Atoms, config: ValidationConfig) -> list[Atoms]:
    """Return phonopy's supercells with one displaced atom each; origins ``displacement/0``, ..."""
    return [
        _named(Atoms(numbers=cell.numbers, positions=cell.positions, cell=cell.cell, pbc=True), f'displacement/{index}')
        for index, cell in enumerate(phonopy_of(crystal, config).supercells_with_displacements or [])
    ]


def phonopy_of(crystal: Atoms, config: ValidationConfig) -> Phonopy:
    """Return phonopy with its displacements for a primitive cell (Togo, J. Phys. Soc. Jpn. 92, 012001 (2023)).

    Without phonons the primitive cell is enough, because only its Hessian, that of Γ, is needed.
    """
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    phonons = Phonopy(
        PhonopyAtoms(numbers=crystal.numbers, cell=crystal.cell.array, scaled_positions=crystal.get_scaled_positions()),
        supercell_matrix=np.diag(config.supercell if config.phonons else (1, 1, 1)),
        primitive_matrix=np.eye(3),
        symprec=config.symmetry_tolerance,
    )
    phonons.generate_displacements(distance=config.displacement)
    return phonons


def commensurate_points(crystal: Atoms, config: ValidationConfig) -> dict[str, FloatArray]:
    """Return the special points to compute phonons at: `qpoints`, or all that fit the supercell exactly.

    :raises CrystalError: when a point of `qpoints` is not one of the lattice, or does not fit the supercell.
    """
    points = special_points(crystal)
    products = {name: point * config.supercell for name, point in points.items()}
    exact = {name: points[name] for name, product in products.items() if np.allclose(product, np.round(product))}
    for name in config.qpoints or ():
        if name not in points:
            raise CrystalError(f'the lattice has no special point {name} (`qpoints`): choose from {", ".join(points)}')
        if name not in exact:
            raise CrystalError(
                f'the special point {name} (`qpoints`) does not fit the `supercell` {config.supercell}, which has '
                f'{", ".join(exact)}: give another supercell, or leave the point out'
            )
    return exact if config.qpoints is None else {name: exact[name] for name in config.qpoints}


def _strained(crystal: Atoms, strain: FloatArray, origin: str) -> Atoms:
    frame = crystal.copy()
    frame.set_cell(crystal.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return _named(frame, origin)


def _named(atoms: Atoms, origin: str) -> Atoms:
    atoms.info['origin'] = origin
    return atoms


def _rank(rows: FloatArray) -> int:
    return int(np.linalg.matrix_rank(rows)) if len(rows) else 0
