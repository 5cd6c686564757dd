"""Steps per second of ``pace-lmp``: silicon at 300 K, 100 functions, cutoff 5 Å, one core.

``OMP_NUM_THREADS=1 python benchmarks/bench_lmp.py`` fits a potential with the engines' Python, runs each size and
stride of the grade, and prints what LAMMPS says of its loop, the best of `REPEATS` runs. ``--engines`` names the
folder with ``pace-lmp`` and ``python``; ``--potential`` a folder with ``potential.yaml`` and ``active_set.asi``.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
MAKER = REPOSITORY / 'tests' / 'fixtures' / 'make_potential.py'
FUNCTIONS, CUTOFF = '100', '5.0'
REPEATS = 3

#: Cells along an edge (8 atoms each) and steps to time.
SIZES = {2: 400, 4: 100}
STRIDES = (10, 50)

INPUT = """
units metal
lattice diamond 5.43
region box block 0 ${cells} 0 ${cells} 0 ${cells}
create_box 1 box
create_atoms 1 box
mass 1 28.085
pair_style pace/extrapolation
pair_coeff * * potential.yaml active_set.asi Si
neighbor 1.0 bin
timestep 0.001
velocity all create 600 1
fix pace_gamma all pair ${stride} pace/extrapolation gamma 1
compute max_grade all reduce max f_pace_gamma
thermo_style custom step temp pe c_max_grade
thermo ${stride}
fix motion all nvt temp 300 300 0.1
run 50
run ${steps}
"""


def steps_per_second(engine: Path, folder: Path, cells: int, steps: int, stride: int) -> float:
    variables = {'cells': cells, 'steps': steps, 'stride': stride}
    options = [word for name, value in variables.items() for word in ('-var', name, str(value))]
    command = [engine, '-in', 'input.lmp', '-screen', 'none', *options]
    best = 0.0
    for _ in range(REPEATS):
        subprocess.run(command, cwd=folder, check=True)
        log = (folder / 'log.lammps').read_text()
        seconds, found = re.findall(r'^Loop time of (\S+) on 1 procs for (\d+) steps', log, re.MULTILINE)[-1]
        best = max(best, int(found) / float(seconds))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--engines', type=Path, default=REPOSITORY / '.engines' / 'bin')
    parser.add_argument('--potential', type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        if arguments.potential is None:
            subprocess.run([arguments.engines / 'python', MAKER, 'Si', folder, FUNCTIONS, CUTOFF], check=True)
        for name in ('potential.yaml', 'active_set.asi') if arguments.potential else ():
            (folder / name).write_bytes((arguments.potential / name).read_bytes())
        (folder / 'input.lmp').write_text(INPUT)
        for cells, steps in SIZES.items():
            for stride in STRIDES:
                speed = steps_per_second(arguments.engines / 'pace-lmp', folder, cells, steps, stride)
                print(f'{8 * cells**3:4d} atoms, grade every {stride:2d} steps: {speed:6.1f} steps/s', flush=True)


if __name__ == '__main__':
    main()
