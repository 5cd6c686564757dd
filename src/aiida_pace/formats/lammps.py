"""Input files of LAMMPS: the script of a molecular-dynamics walker, and a structure in LAMMPS' orientation."""

from __future__ import annotations

import dataclasses
import math
import typing as t
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

if t.TYPE_CHECKING:
    from aiida_pace.config import MdConfig

__all__ = ('Orientation', 'atom_types', 'data_file', 'input_script', 'sample_stride')

FloatArray = npt.NDArray[np.float64]

FILE_DATA = 'structure.data'
FILE_POTENTIAL = 'potential.yaml'
FILE_ACTIVE_SET = 'active_set.asi'
FILE_COLLECTED = 'extrapolative.dump'
FILE_SAMPLES = 'samples.dump'
FILE_HALT = 'halt.dump'

#: LAMMPS' units `metal`: picoseconds and bars.
PICOSECONDS_PER_FEMTOSECOND = 1e-3
BARS_PER_GIGAPASCAL = 1e4


@dataclasses.dataclass(frozen=True)
class Orientation:
    """The rotation between a structure and LAMMPS, where the cell is a lower triangle with a positive diagonal.

    For a left-handed cell the rotation is improper: it mirrors the structure, which does not change the energy. A
    skewed cell is replaced by a less skewed one of the same lattice, because the barostat stops at a tilt of 1.5 edges.

    `ase.calculators.lammps.Prism` does the same, but its rotation is orthogonal to 1e-6 only for a skewed cell, and
    with a reduced cell it wraps every vector, forces too.

    :param cell: (3, 3) the cell in LAMMPS, vectors as rows, in Å; no tilt exceeds half an edge.
    :param rotation: (3, 3) orthogonal; ``vectors @ rotation`` are vectors in LAMMPS.
    :param combinations: (3, 3) integers; ``combinations @ cell`` are the cell vectors of the structure in LAMMPS.
    """

    cell: FloatArray
    rotation: FloatArray
    combinations: FloatArray

    @classmethod
    def of_cell(cls, cell: npt.ArrayLike) -> Orientation:
        """Return the orientation of a structure with this ``cell``, by QR decomposition.

        :param cell: (3, 3) vectors as rows, in Å.
        :raises ValueError: when the vectors span no volume.
        """
        vectors = np.array(cell, dtype='f8')
        if not abs(np.linalg.det(vectors)) > 1e-9 * np.prod(np.linalg.norm(vectors, axis=1)):
            raise ValueError(f'the cell vectors {vectors.tolist()} span no volume: give three independent vectors')
        rotation = np.eye(3)
        if np.triu(vectors, 1).any() or (vectors.diagonal() < 0).any():
            orthogonal, upper = np.linalg.qr(vectors.T)
            signs = np.where(upper.diagonal() < 0, -1.0, 1.0)
            vectors, rotation = np.tril(upper.T * signs), orthogonal * signs
        combinations = np.eye(3)
        for row, column in ((1, 0), (2, 1), (2, 0)):
            # The margin keeps a tilt of half an edge, as in primitive cells.
            count = np.rint(vectors[row, column] / vectors[column, column] * (1 - 1e-9))
            vectors[row] -= count * vectors[column]
            combinations[row, column] = count
        return cls(vectors, rotation, combinations)

    def to_lammps(self, vectors: FloatArray) -> FloatArray:
        """Return (n, 3) positions, velocities or forces in LAMMPS' orientation."""
        return np.asarray(vectors @ self.rotation)

    def from_lammps(self, vectors: FloatArray) -> FloatArray:
        """Return (n, 3) vectors of LAMMPS in the orientation of the structure."""
        return np.asarray(vectors @ self.rotation.T)

    def cell_from_lammps(self, cell: FloatArray) -> FloatArray:
        """Return the cell (3, 3) of the structure from the ``cell`` (3, 3) in LAMMPS."""
        return self.from_lammps(self.combinations @ cell)


def atom_types(numbers: npt.NDArray[np.integer[t.Any]], elements: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return LAMMPS' atom types (N,): the positions in ``elements``, from 1.

    :param numbers: (N,) atomic numbers.
    :raises ValueError: when the element of an atom is not in ``elements``.
    """
    table = np.zeros(len(chemical_symbols), dtype='i8')
    for index, element in enumerate(elements, start=1):
        table[atomic_numbers[element]] = index
    types = table[numbers]
    if not types.all():
        unknown = ', '.join(sorted({chemical_symbols[number] for number in numbers[types == 0]}))
        raise ValueError(f'{unknown} is not among the elements {", ".join(elements)}')
    return np.asarray(types)


def data_file(
    numbers: npt.NDArray[np.integer[t.Any]],
    positions: FloatArray,
    orientation: Orientation,
    elements: Sequence[str],
    *,
    triclinic: bool = False,
) -> str:
    """Return a data file of ``atom_style atomic`` with all digits of the numbers; atom ``i`` has the id ``i + 1``.

    `ase.io.lammpsdata.write_lammps_data` leaves out tilts below 1e-4 of the edges, and changes the tenth digit of the
    masses.

    :param numbers: (N,) atomic numbers.
    :param positions: (N, 3) in Å, before the rotation.
    :param orientation: of the cell.
    :param elements: symbols in the order of LAMMPS' atom types.
    :param triclinic: write tilt factors even when all are zero, so that the angles may change.
    :raises ValueError: when the element of an atom is not in ``elements``.
    """
    box = orientation.cell
    tilts = box[[1, 2, 2], [0, 0, 1]]
    types = atom_types(numbers, elements)
    lines = [
        'written by aiida-pace',
        '',
        f'{len(numbers)} atoms',
        f'{len(elements)} atom types',
        *(f'0.0 {float(box[i, i])!r} {axis}lo {axis}hi' for i, axis in enumerate('xyz')),
    ]
    if triclinic or tilts.any():
        lines.append(' '.join(repr(float(tilt)) for tilt in tilts) + ' xy xz yz')
    lines += ['', 'Masses', '']
    lines += [f'{i} {atomic_masses[atomic_numbers[e]]} # {e}' for i, e in enumerate(elements, start=1)]
    lines += ['', 'Atoms # atomic', '']
    rows = zip(types, orientation.to_lammps(positions).tolist(), strict=True)
    lines += [f'{i} {kind} {x!r} {y!r} {z!r}' for i, (kind, (x, y, z)) in enumerate(rows, start=1)]
    return '\n'.join(lines) + '\n'


def sample_stride(config: MdConfig) -> int:
    """Return the steps between two samples: a multiple of ``grade_stride`` that gives at most ``samples`` frames."""
    return math.ceil(config.steps / max(config.samples, 1) / config.grade_stride) * config.grade_stride


def input_script(config: MdConfig, elements: Sequence[str], seed: int) -> str:
    """Return the input of one walker, for LAMMPS with ML-PACE (after November 2023) and for ``pace-lmp``.

    The grade is checked before the first step too, because ``fix halt`` checks it only after ``grade_stride`` steps.
    The halting frame has its own dump: LAMMPS writes the output of a step after ``fix halt`` and before the run ends.

    :param elements: symbols in the order of the atom types.
    :param seed: of the initial velocities.
    """
    columns = 'id type xu yu zu f_pace_gamma'
    precise = 'sort id format float %.17g'
    lines = [
        'units metal',
        'atom_style atomic',
        'boundary p p p',
        'box tilt large',
        f'read_data {FILE_DATA}',
        'pair_style pace/extrapolation',
        f'pair_coeff * * {FILE_POTENTIAL} {FILE_ACTIVE_SET} {" ".join(elements)}',
        'neighbor 1.0 bin',
        'neigh_modify every 1 delay 0 check yes',
        f'timestep {config.timestep * PICOSECONDS_PER_FEMTOSECOND!r}',
        f'velocity all create {config.temperature_start!r} {seed} mom yes rot no dist gaussian',
        '',
        f'fix pace_gamma all pair {config.grade_stride} pace/extrapolation gamma 1',
        'compute max_grade all reduce max f_pace_gamma',
        'variable max_grade equal c_max_grade',
        f'variable is_known equal "c_max_grade < {config.collect_grade!r}"',
        f'variable is_calm equal "c_max_grade <= {config.halt_grade!r}"',
        f'dump collected all custom {config.collect_stride or config.grade_stride} {FILE_COLLECTED} {columns}',
        f'dump_modify collected {precise} skip v_is_known',
        f'dump halt all custom {config.grade_stride} {FILE_HALT} {columns}',
        f'dump_modify halt {precise} skip v_is_calm',
    ]
    if config.samples:
        lines += [
            f'dump samples all custom {sample_stride(config)} {FILE_SAMPLES} {columns}',
            f'dump_modify samples {precise}',
        ]
    lines += [
        'thermo_style custom step temp press pe vol c_max_grade',
        'thermo_modify format float %.17g flush yes',
        f'thermo {config.grade_stride}',
        _ensemble(config),
        '',
        'run 0',
        f'variable steps equal {config.steps}',
        'if "${is_calm} == 0" then "variable steps equal 0"',
        f'fix halt all halt {config.grade_stride} v_max_grade > {config.halt_grade!r} error soft',
        'run ${steps}',
    ]
    return '\n'.join(lines) + '\n'


def _ensemble(config: MdConfig) -> str:
    """Return the fix that integrates the motion."""
    stop = config.temperature_start if config.temperature_stop is None else config.temperature_stop
    damping = config.temperature_damping * PICOSECONDS_PER_FEMTOSECOND
    fix = f'fix motion all {config.ensemble} temp {config.temperature_start!r} {stop!r} {damping!r}'
    if config.ensemble == 'nvt':
        return fix
    start = config.pressure_start or 0.0
    pressures = [start, start if config.pressure_stop is None else config.pressure_stop]
    bars = ' '.join(repr(pressure * BARS_PER_GIGAPASCAL) for pressure in pressures)
    return f'{fix} {config.barostat} {bars} {config.pressure_damping * PICOSECONDS_PER_FEMTOSECOND!r}'
