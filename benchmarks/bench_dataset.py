"""Time and memory to store, reload and assemble for training 10,000 labelled frames of 64 atoms.

``OMP_NUM_THREADS=1 python benchmarks/bench_dataset.py`` runs each step in a process of its own, in a profile made for
the purpose in a temporary folder, and exits with 1 when a step takes more than `LIMIT_SECONDS` or `LIMIT_BYTES`. The
profile is open and the modules are imported when the clock starts; the memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

LIMIT_SECONDS = 3.0
LIMIT_BYTES = 1e9

PROFILE = 'benchmark'
REPEATS = 3


def make_frames(count: int, size: int) -> object:
    from aiida_pace.frames import Frames

    rng = np.random.default_rng(0)
    atoms = count * size
    return Frames(
        offsets=size * np.arange(count + 1),
        numbers=np.full(atoms, 14),
        positions=rng.uniform(0, 11, (atoms, 3)),
        cells=np.tile(11 * np.eye(3), (count, 1, 1)),
        pbc=np.ones((count, 3), dtype=bool),
        force_weight=np.ones(atoms),
        weight=np.ones(count),
        origin=np.full(count, 'swarm/rattle'),
        label_uuid=np.array([f'{index:036d}' for index in range(count)]),
        energy=rng.normal(-100, 1, count),
        forces=rng.normal(size=(atoms, 3)),
        stress=rng.normal(size=(count, 6)),
    )


def store(folder: Path, count: int, size: int) -> Callable[[], object]:
    """Frames in memory -> stored node."""
    from aiida_pace.data.dataset import AtomsDatasetData

    frames = make_frames(count, size)

    def action() -> None:
        (folder / 'uuid').write_text(AtomsDatasetData(frames).store().uuid)

    return action


def reload(folder: Path, count: int, size: int) -> Callable[[], object]:
    """UUID -> frames in memory."""
    from aiida import orm

    import aiida_pace.data.dataset  # noqa: F401  # imports, here and below, are not what is measured

    def action() -> None:
        frames = orm.load_node((folder / 'uuid').read_text()).frames
        assert len(frames) == count
        assert len(frames.numbers) == count * size

    return action


def assemble(folder: Path, count: int, size: int) -> Callable[[], object]:
    """UUID -> data frame of pacemaker on disk."""
    import pandas as pd  # noqa: F401
    from aiida import orm

    import aiida_pace.data.dataset  # noqa: F401
    from aiida_pace.config import TrainingConfig
    from aiida_pace.formats.pacemaker import write_dataframe
    from aiida_pace.training.training_set import training_set

    config = TrainingConfig(reference_energies={'Si': 0.0})

    def action() -> None:
        frames = orm.load_node((folder / 'uuid').read_text()).frames
        write_dataframe(training_set(frames, config).fit, folder / 'df.pckl.gzip')

    return action


STEPS = {'store': store, 'reload': reload, 'assemble': assemble}


def run_step(step: str, folder: Path, count: int, size: int) -> None:
    from aiida import load_profile
    from aiida.manage import get_manager

    load_profile(PROFILE)
    get_manager().get_profile_storage()  # opened once a process, and not what is measured either
    action = STEPS[step](folder, count, size)
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    figures = {
        'wall': time.perf_counter() - wall,
        'cpu': time.process_time() - cpu,
        'peak': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(figures))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--count', type=int, default=10_000, help='number of frames')
    parser.add_argument('--size', type=int, default=64, help='atoms of each frame')
    parser.add_argument('--step', choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument('--folder', type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        run_step(arguments.step, arguments.folder, arguments.count, arguments.size)
        return 0

    too_much = False
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {'AIIDA_PATH': folder}
        verdi = [str(Path(sys.executable).with_name('verdi')), 'profile', 'setup', 'core.sqlite_dos', '-n']
        options = ['--profile-name', PROFILE, '--email', 'benchmark@localhost']
        subprocess.run([*verdi, *options], env=environment, check=True, capture_output=True)
        print(f'{arguments.count} frames of {arguments.size} atoms')
        for step in STEPS:
            command = [sys.executable, __file__, '--step', step, '--folder', folder]
            sizes = ['--count', str(arguments.count), '--size', str(arguments.size)]
            runs = [
                subprocess.run([*command, *sizes], env=environment, check=True, capture_output=True, text=True)
                for _ in range(REPEATS)
            ]
            # The best of some runs: what else the machine does only makes them slower.
            figures = min((json.loads(run.stdout.splitlines()[-1]) for run in runs), key=lambda found: found['wall'])
            seconds = f'{figures["wall"]:6.2f} s wall {figures["cpu"]:6.2f} s cpu'
            print(f'{step:<9} {seconds} {figures["peak"] / 1e6:8.0f} MB peak')
            too_much |= figures['wall'] > LIMIT_SECONDS or figures['peak'] > LIMIT_BYTES
    return int(too_much)


if __name__ == '__main__':
    raise SystemExit(main())
