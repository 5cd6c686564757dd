from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.engines

#: Walks atoms and cell at random and compares each step with an evaluation from nothing. Every fifth step exchanges
#: two atoms, every seventh looks at the grade.
WALK = """
import json, sys
from pathlib import Path
import numpy as np
from aiida_pace.engines.ace import AceModel
from aiida_pace.engines.trajectory import TrajectoryModel
from aiida_pace.frames import Frames
yaml, asi = (Path(sys.argv[1], name).read_bytes() for name in ('potential.yaml', 'active_set.asi'))
frames = Frames.load(Path(sys.argv[1], 'dataset.npz'))

def walk(periodic, moves_cell):
    numbers, positions, cell = frames.numbers[:8].copy(), frames.positions[:8].copy(), frames.cells[0]
    fresh, model = AceModel(yaml, asi), TrajectoryModel(AceModel(yaml, asi), skin=0.6)
    rng = np.random.default_rng(1)
    worst, graded = {}, []
    for step in range(60):
        positions += rng.normal(scale=0.005, size=positions.shape)
        if moves_cell:
            strain = np.eye(3) + np.tril(rng.normal(scale=0.001, size=(3, 3)))
            positions, cell = positions @ strain, cell @ strain
        if step % 5 == 4:
            positions[[0, 1]], numbers[[0, 1]] = positions[[1, 0]], numbers[[1, 0]]
        found = model.evaluate(numbers, positions, cell, np.array(periodic), grade=step % 7 == 0)
        expected = fresh.compute(numbers, positions, cell, np.array(periodic))
        pairs = {'energy': (found.energy, expected.energy), 'forces': (found.forces, expected.forces)}
        if any(periodic):
            pairs['stress'] = -found.virial[[0, 1, 2, 5, 4, 3]] / np.linalg.det(cell), expected.stress
        if found.grade is not None:
            graded.append(step)
            pairs['grade'] = found.grade, expected.grade
        for name, pair in pairs.items():
            worst[name] = max(worst.get(name, 0.0), np.max(np.abs(np.subtract(*pair)) / (1 + np.abs(pair[1]))))
    return {'worst': worst, 'builds': model.builds, 'graded': graded}

print(json.dumps([walk(*case) for case in json.loads(sys.argv[2])]))
"""

PERIODS = ([True, True, True], [True, True, False], [False, False, False])


def test_steps_with_kept_neighbours_are_those_with_new_ones(
    sic_potential_files: Path, engine: Callable[[str], Path]
) -> None:
    cases = [(periodic, moves_cell) for periodic in PERIODS for moves_cell in (False, True)]
    command = [engine('python'), '-c', WALK, sic_potential_files, json.dumps(cases)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    for (periodic, moves_cell), found in zip(cases, json.loads(result.stdout), strict=True):
        # The matrix of the active set, an inverse, blows up the rounding.
        assert found['worst'].pop('grade') < 1e-6
        assert max(found['worst'].values()) < 1e-10
        assert found['graded'] == list(range(0, 60, 7))
        # Exchanged atoms call for new lists (12 times, and 1 at the start), small moves alone hardly ever. A cell that
        # moves calls for new ones at each step only where it is not periodic.
        assert found['builds'] == 60 if moves_cell and not all(periodic) else 13 <= found['builds'] < 30


def test_position_that_is_not_finite_is_refused(si_potential_files: Path, engine: Callable[[str], Path]) -> None:
    code = """
import sys
from pathlib import Path
import numpy as np
from aiida_pace.engines.ace import AceModel, EvaluationError
from aiida_pace.engines.trajectory import TrajectoryModel
model = TrajectoryModel(AceModel(Path(sys.argv[1], 'potential.yaml').read_bytes()))
arguments = np.array([14, 14]), np.eye(3) * 6, np.ones(3, dtype=bool)
positions = np.array([[0, 0, 0], [2.4, 0, 0]])
for broken, grade in ((np.nan, False), (0.0, False), (2.4, True)):
    positions[1, 0] = broken
    try:
        model.evaluate(arguments[0], positions, *arguments[1:], grade=grade)
    except EvaluationError as exception:
        print(exception)
"""
    result = subprocess.run(
        [engine('python'), '-c', code, si_potential_files], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.stdout.splitlines() == [
        'the position of an atom is not finite',
        'pyace refuses the structure: Encountered very small distance. Stopping.',
        'grades need an active set',
    ], result.stderr
