"""CPU-seconds per step of ``pace-lmp`` on silicon at 300 and 3000 K: 100 functions, cutoff 5 Å, one core.

``OMP_NUM_THREADS=1 python benchmarks/bench_lmp.py`` fits a potential with the engines' Python, runs each size and
prints a table: the least CPU time per step of `REPEATS` runs, by LAMMPS' account of its loop; the time that the
evaluator alone takes for the same step; and its share. ``--native`` names an ``lmp`` with ML-PACE, which runs the same
inputs in turn with ``pace-lmp``, and is compared. ``--json`` writes the figures to a file. ``--engines`` names the
folder with ``pace-lmp`` and ``python``; ``--potential`` a folder with ``potential.yaml`` and ``active_set.asi``.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
MAKER = REPOSITORY / 'tests' / 'fixtures' / 'make_potential.py'
FUNCTIONS, CUTOFF = '100', '5.0'
REPEATS = 3

#: Cells along an edge (8 atoms each) and steps to time.
SIZES = {1: 4000, 2: 600, 4: 80, 8: 20}
STRIDE = 10
TEMPERATURES = (300, 3000)

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
velocity all create $(2*v_temperature) 1
fix pace_gamma all pair ${stride} pace/extrapolation gamma 1
compute max_grade all reduce max f_pace_gamma
thermo_style custom step temp pe c_max_grade
thermo ${stride}
fix motion all nvt temp ${temperature} ${temperature} 0.1
run 50
run ${steps}
write_dump all custom last.dump x y z modify format float %.17g
"""

#: Milliseconds of the recursive and of the B-basis evaluator with grades, neighbours within the skin given.
EVALUATORS = """
import json, sys, time
import numpy as np
from pathlib import Path
from aiida_pace.engines.ace import AceModel
from aiida_pace.engines.neighbours import SKIN
model = AceModel(Path('potential.yaml').read_bytes(), Path('active_set.asi').read_bytes())
positions = np.loadtxt('last.dump', skiprows=9)
cell, pbc = np.eye(3) * 5.43 * int(sys.argv[1]), np.ones(3, dtype=bool)
environment = model.environment(np.full(len(positions), 14), positions, cell, pbc, SKIN)

def best(calculator, **options):
    seconds = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(count := max(1, 2000 // len(positions))):
            calculator.compute(environment, **options)
        seconds.append((time.process_time() - start) / count)
    return 1e3 * min(seconds)

print(json.dumps([best(model.fast_calculator), best(model.calculator, compute_projections=True)]))
"""


def milliseconds_per_step(engine: Path, folder: Path, variables: dict[str, int]) -> float:
    """Return the CPU time of a step in one run."""
    options = [word for name, value in variables.items() for word in ('-var', name, str(value))]
    subprocess.run([engine, '-in', 'input.lmp', '-screen', 'none', *options], cwd=folder, check=True)
    log = (folder / 'log.lammps').read_text()
    seconds, steps = re.findall(r'^Loop time of (\S+) on 1 procs for (\d+) steps', log, re.MULTILINE)[-1]
    percent = re.findall(r'^(\S+)% CPU use', log, re.MULTILINE)[-1]
    return 1e3 * float(seconds) * float(percent) / 100 / int(steps)


def measure(engines: Path, native: Path | None, folder: Path, variables: dict[str, int]) -> dict[str, float]:
    """Return the figures of one size and temperature."""
    ours, theirs = [], []
    for _ in range(REPEATS):
        if native is not None:
            theirs.append(milliseconds_per_step(native, folder, variables))
        ours.append(milliseconds_per_step(engines / 'pace-lmp', folder, variables))
    command = [engines / 'python', '-c', EVALUATORS, str(variables['cells'])]
    fast, graded = json.loads(subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout)
    evaluator = fast + (graded - fast) / STRIDE
    figures = {'atoms': 8 * variables['cells'] ** 3, 'temperature': variables['temperature'], 'ms_per_step': min(ours)}
    figures |= {'evaluator_ms': evaluator, 'evaluator_share': evaluator / min(ours)}
    return figures | ({'native_ms': min(theirs), 'speed_of_native': min(theirs) / min(ours)} if theirs else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--engines', type=Path, default=REPOSITORY / '.engines' / 'bin')
    parser.add_argument('--potential', type=Path)
    parser.add_argument('--native', type=Path, help='an `lmp` with ML-PACE')
    parser.add_argument('--json', type=Path, help='where to write the figures')
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        if arguments.potential is None:
            subprocess.run([arguments.engines / 'python', MAKER, 'Si', folder, FUNCTIONS, CUTOFF], check=True)
        for name in ('potential.yaml', 'active_set.asi') if arguments.potential else ():
            (folder / name).write_bytes((arguments.potential / name).read_bytes())
        (folder / 'input.lmp').write_text(INPUT)
        for temperature in TEMPERATURES:
            for cells, steps in SIZES.items():
                variables = {'cells': cells, 'steps': steps, 'stride': STRIDE, 'temperature': temperature}
                row = measure(arguments.engines, arguments.native, folder, variables)
                if not rows:
                    print(*(f'{name:>16}' for name in row), sep='')
                print(*(f'{value:16.4g}' for value in row.values()), sep='', flush=True)
                rows.append(row)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1) + '\n')


if __name__ == '__main__':
    main()
