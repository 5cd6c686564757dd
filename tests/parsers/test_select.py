"""Parser of `pace.select`: frames found again in the pool, whatever the order of their atoms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import ExitCode
from ase import Atoms

from aiida_pace.calculations.select import PaceSelectCalculation
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames
from tests.fixtures.frames import random_frames
from tests.fixtures.jobs import parse

Parse = Callable[[str, Mapping[str, Atoms | str]], tuple[dict[str, orm.Data], ExitCode]]

DONE = '2026-11-21 04:00:00,000 I - Saving selected structures to selected/*.POSCAR\n2026-11-21 04:00:01,000 I - Done\n'
#: Frames 1 and 2 are the same atoms in two cells, 3 and 4 the same places with other elements.
POOL = Frames.concatenate(
    [
        random_frames((4,), numbers=(6, 14), seed=1),
        Frames.from_atoms([Atoms('Si', cell=[2.5, 2.5, 2.5], pbc=True), Atoms('Si', cell=[2.4, 2.5, 2.5], pbc=True)]),
        Frames.from_atoms(
            [Atoms(symbols, [[0, 0, 0], [0, 0, 2]], cell=[5, 5, 5], pbc=True) for symbols in ('SiC', 'CSi')]
        ),
    ]
)


@pytest.fixture
def parsed(aiida_localhost: orm.Computer, tmp_path: Path) -> Parse:
    """Return a factory of what the parser makes of an output and of selected files."""

    def factory(output: str, files: Mapping[str, Atoms | str]) -> tuple[dict[str, orm.Data], ExitCode]:
        folder = tmp_path / 'selected'
        folder.mkdir()
        for name, atoms in files.items():
            if isinstance(atoms, str):
                (folder / name).write_text(atoms)
            else:
                atoms.write(folder / name, format='vasp', sort=True)
        return parse(
            'pace.select',
            aiida_localhost,
            inputs={'dataset': AtomsDatasetData(POOL).store()},
            retrieved={'pace_select.out': output.encode()} if output else {},
            temporary=tmp_path,
        )

    return factory


def shuffled(index: int) -> Atoms:
    atoms = POOL.atoms(index)
    return atoms[np.random.default_rng(0).permutation(len(atoms))]


def status(name: str) -> int:
    return int(PaceSelectCalculation.exit_codes[name].status)


@pytest.mark.usefixtures('aiida_profile_clean')
class TestPaceSelectParser:
    def test_frames_are_found_in_the_order_of_their_rank(self, parsed: Parse) -> None:
        ranked = [4, 2, 0, 3, 1]
        # More than ten files: 10 must not come before 2.
        files = {f'{rank}.POSCAR': shuffled(index) for rank, index in zip((0, 1, 2, 10, 11), ranked, strict=True)}
        outputs, code = parsed(DONE, files)
        assert code.status == 0
        assert outputs['output_parameters']['indices'] == ranked
        selected = outputs['selected'].frames
        assert np.array_equal(selected.positions, POOL.take(ranked).positions)
        assert np.array_equal(selected.origin, POOL.take(ranked).origin)

    @pytest.mark.parametrize('broken', ['nonsense', ''])
    def test_a_file_that_is_no_structure(self, parsed: Parse, broken: str) -> None:
        outputs, code = parsed(DONE, {'0.POSCAR': shuffled(0), '1.POSCAR': broken})
        assert code.status == status('ERROR_SELECTION_UNUSABLE')
        assert '`1.POSCAR`' in code.message
        assert outputs == {}

    def test_a_structure_that_is_not_in_the_pool(self, parsed: Parse) -> None:
        atoms = shuffled(0)
        atoms.positions[2] += 1e-4
        _, code = parsed(DONE, {'0.POSCAR': atoms})
        assert code.status == status('ERROR_SELECTION_UNUSABLE')
        assert 'no frame has these 4 atoms in these places' in code.message

    def test_nothing_selected(self, parsed: Parse) -> None:
        outputs, code = parsed(DONE, {})
        assert code.status == status('ERROR_SELECTION_EMPTY')
        assert outputs['output_parameters']['indices'] == []

    def test_a_failure(self, parsed: Parse) -> None:
        _, code = parsed('Traceback (most recent call last):\n  File "aceselect.py"\nRuntimeError: no\n', {})
        assert code.status == status('ERROR_SELECTION_FAILED')
        assert 'RuntimeError: no' in code.message

    @pytest.mark.parametrize('output', [DONE.rpartition('2026')[0], ''])
    def test_cut_short(self, parsed: Parse, output: str) -> None:
        outputs, code = parsed(output, {'0.POSCAR': shuffled(0)})
        assert code.status == status('ERROR_ENGINE_INTERRUPTED')
        assert outputs == {}
