"""The recorded walker: 8 silicon atoms in a left-handed cell at 4000 K, halted at step 140 of 300."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import ExitCode
from ase.build import bulk

from tests.fixtures.jobs import parse
from tests.fixtures.nodes import recorded_active_set, recorded_potential

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

Parse = Callable[..., tuple[dict[str, orm.Data], ExitCode]]

RECORDED = Path(__file__).parent / 'lammps'
DUMPS = ('extrapolative.dump', 'samples.dump', 'halt.dump')
SETTINGS = {'steps': 300, 'temperature_start': 4000.0, 'timestep': 2.0, 'samples': 10}
SETTINGS |= {'collect_grade': 1.0, 'halt_grade': 1.27}

Change = Callable[[str], str | None]


@pytest.fixture
def parse_walker(aiida_localhost: orm.Computer, tmp_path: Path) -> Parse:
    """Return a function that parses the recorded files, some of them changed (None: missing)."""
    atoms = bulk('Si', cubic=True)
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])

    def parser(
        changes: dict[str, Change] | None = None, settings: dict[str, object] | None = None, output: str = ''
    ) -> tuple[dict[str, orm.Data], ExitCode]:
        contents = {name: (RECORDED / name).read_text() for name in (*DUMPS, 'log.lammps')}
        for name, change in (changes or {}).items():
            contents[name] = change(contents[name])
        for name in DUMPS:
            if contents[name] is not None:
                tmp_path.joinpath(name).write_text(contents[name])
        potential = recorded_potential()
        inputs = {
            'structure': orm.StructureData(ase=atoms),
            'potential': potential,
            'active_set': recorded_active_set(potential),
            'parameters': orm.Dict(SETTINGS | (settings or {})),
            'seed': orm.Int(1),
        }
        retrieved = {'lammps.out': output.encode()}
        if contents['log.lammps'] is not None:
            retrieved['log.lammps'] = contents['log.lammps'].encode()
        return parse(
            'pace.lammps',
            aiida_localhost,
            inputs={label: node.store() for label, node in inputs.items()},
            retrieved=retrieved,
            temporary=tmp_path,
        )

    return parser


def gone(_: str) -> None:
    return None


def empty(_: str) -> str:
    return ''


def unfinished(log: str) -> str:
    return log[: log.index('Total wall time')]


def cut_at_step(step: int) -> Change:
    return lambda log: log[: log.rindex(f'\n{step:10d} ') + 20]


def frames_until(step: int) -> Change:
    def change(dump: str) -> str:
        parts = dump.split('ITEM: TIMESTEP\n')
        return 'ITEM: TIMESTEP\n'.join(part for part in parts if not part or int(part.split()[0]) <= step)

    return change


def test_halted_walker(parse_walker: Parse) -> None:
    outputs, exit_code = parse_walker()
    assert exit_code.status == 0, exit_code
    parameters = outputs['output_parameters'].get_dict()
    assert parameters.pop('halt_grade') == parameters.pop('max_grade') == pytest.approx(1.2762, abs=1e-4)
    assert parameters == {
        'collected': 3,
        'halt_step': 140,
        'halted': True,
        'lammps_version': '22 Jul 2025 - Update 4',
        'sampled': 4,
        'steps': 140,
        'target_steps': 300,
        'wall_time_seconds': 4.0,
    }
    frames = outputs['extrapolative'].frames
    assert frames.origin.tolist() == ['extrapolative', 'extrapolative', 'halt']
    assert frames.max_grade() == pytest.approx([1.0330, 1.2523, 1.2762], abs=1e-4)
    samples = outputs['samples'].frames
    assert samples.origin.tolist() == ['sample'] * 4
    assert samples.grade is not None


def test_frames_have_the_cell_of_the_structure(parse_walker: Parse) -> None:
    outputs, _ = parse_walker()
    frames = outputs['samples'].frames
    expected = np.array([[0, 5.43, 0], [5.43, 0, 0], [0, 0, 5.43]])
    np.testing.assert_allclose(frames.cells, np.tile(expected, (4, 1, 1)), atol=1e-14)
    moved = frames.positions[:8] - bulk('Si', cubic=True).positions
    assert 0.05 < np.abs(moved).max() < 1  # after 30 steps the atoms are still near their places


def test_thermo_in_our_units(parse_walker: Parse) -> None:
    outputs, _ = parse_walker()
    thermo = {name: outputs['thermo'].get_array(name) for name in outputs['thermo'].get_arraynames()}
    assert thermo['step'].tolist() == list(range(0, 141, 10))
    assert thermo['time'].tolist() == [2.0 * step for step in range(0, 141, 10)]
    assert thermo['temperature'][0] == 4000
    assert thermo['pressure'][0] == pytest.approx(3.91233617710037)
    assert thermo['potential_energy'][0] == pytest.approx(-34.6642659)
    assert thermo['volume'] == pytest.approx(160.103007)
    assert thermo['max_grade'][-1] > 1.27
    assert set(thermo) == {'step', 'time', 'temperature', 'pressure', 'potential_energy', 'volume', 'max_grade'}


def test_walker_that_came_to_its_end(parse_walker: Parse) -> None:
    settings = {'steps': 140, 'halt_grade': 10.0, 'collect_grade': 5.0}
    outputs, exit_code = parse_walker({'extrapolative.dump': empty, 'halt.dump': empty}, settings)
    assert exit_code.status == 0
    parameters = outputs['output_parameters'].get_dict()
    assert (parameters['halted'], parameters['halt_step'], parameters['halt_grade']) == (False, None, None)
    assert parameters['max_grade'] > 1.27
    assert 'extrapolative' not in outputs
    assert outputs['samples'].count == 4


def test_samples_above_the_halting_grade_are_left_out(parse_walker: Parse) -> None:
    outputs, _ = parse_walker(settings={'halt_grade': 0.85, 'collect_grade': 0.8})
    assert outputs['output_parameters']['sampled'] == outputs['samples'].count == 2
    assert outputs['samples'].frames.max_grade().max() <= 0.85


def test_collected_frames_are_bounded_and_the_halting_one_is_kept(parse_walker: Parse) -> None:
    outputs, exit_code = parse_walker(settings={'max_collected': 2})
    assert exit_code.status == 0
    assert outputs['extrapolative'].frames.origin.tolist() == ['extrapolative', 'halt']


def test_missing_log(parse_walker: Parse) -> None:
    outputs, exit_code = parse_walker({'log.lammps': gone}, output='bash: lmp: command not found\n')
    assert exit_code.status == 310
    assert 'wrote no `log.lammps`; its last output was: "bash: lmp: command not found"' in exit_code.message
    assert not outputs


def test_interrupted_run_gives_what_it_has(parse_walker: Parse) -> None:
    changes = {'log.lammps': cut_at_step(120), 'halt.dump': empty, 'samples.dump': lambda dump: dump[:-30]}
    outputs, exit_code = parse_walker(changes | {'extrapolative.dump': frames_until(110)})
    assert exit_code.status == 400
    assert 'interrupted after 110 of 300 steps' in exit_code.message
    assert outputs['thermo'].get_array('step')[-1] == 110
    assert outputs['samples'].count == 3
    assert outputs['extrapolative'].frames.origin.tolist() == ['extrapolative']
    assert outputs['output_parameters']['wall_time_seconds'] is None
    assert not outputs['output_parameters']['halted']


def test_run_that_died_when_it_halted_is_halted(parse_walker: Parse) -> None:
    outputs, exit_code = parse_walker({'log.lammps': unfinished, 'halt.dump': gone})
    assert exit_code.status == 400
    assert outputs['output_parameters']['halt_step'] == 140
    assert outputs['extrapolative'].frames.origin.tolist() == ['extrapolative', 'extrapolative', 'halt']


@pytest.mark.parametrize(
    ('error', 'status'),
    [
        ('ERROR: Lost atoms: original 8 current 7 (src/thermo.cpp:494)', 420),
        ('ERROR: Non-numeric pressure - simulation unstable (src/fix_nh.cpp:1056)', 420),
        ('ERROR on proc 0: pace-lmp: the potential failed at step 147: pyace refuses: very small distance', 420),
        ('ERROR: Unrecognized pair style pace/extrapolation is part of the ML-PACE package', 410),
    ],
)
def test_failed_run_gives_what_it_has(parse_walker: Parse, error: str, status: int) -> None:
    # After an error in the library, LAMMPS still tells its wall time.
    outputs, exit_code = parse_walker({'log.lammps': lambda log: log.replace('Total wall', f'{error}\nTotal wall')})
    assert exit_code.status == status
    assert f': {error.split(": ", 1)[1].partition(" (src/")[0]};' in exit_code.message
    assert '140 of 300 steps' in exit_code.message
    assert outputs['extrapolative'].count == 3
    assert outputs['output_parameters']['halted']


def test_failed_run_without_a_step(parse_walker: Parse) -> None:
    changes: dict[str, Change] = dict.fromkeys(DUMPS, gone)
    changes['log.lammps'] = lambda _: 'LAMMPS (2 Aug 2023)\nERROR: Unrecognized pair style (src/force.cpp:275)\n'
    outputs, exit_code = parse_walker(changes)
    assert exit_code.status == 410
    assert 'failed after 0 of 300 steps: Unrecognized pair style' in exit_code.message
    assert not outputs


@pytest.mark.parametrize(
    ('name', 'change', 'detail'),
    [
        ('samples.dump', lambda dump: dump[:-30], 'a line does not have 6 numbers'),
        ('halt.dump', lambda dump: dump.replace('f_pace_gamma', 'f_other'), 'expected `ITEM: ATOMS'),
        ('extrapolative.dump', lambda dump: dump.replace('ITEM: TIMESTEP', 'ITEM: TIME', 1), 'line 1: expected'),
    ],
)
def test_damaged_dump(parse_walker: Parse, name: str, change: Change, detail: str) -> None:
    outputs, exit_code = parse_walker({name: change})
    assert exit_code.status == 320
    assert exit_code.message.startswith(f'`{name}` cannot be used')
    assert detail in exit_code.message
    assert outputs['samples'].count == (3 if name == 'samples.dump' else 4)


def test_dump_of_other_atoms(parse_walker: Parse) -> None:
    fewer = (RECORDED / 'samples.dump').read_text().replace('NUMBER OF ATOMS\n8', 'NUMBER OF ATOMS\n7')
    lines = [line for line in fewer.splitlines(keepends=True) if not line.startswith('8 1 ')]
    outputs, exit_code = parse_walker({'samples.dump': lambda _: ''.join(lines)})
    assert exit_code.status == 320
    assert 'the atoms are not those of the structure' in exit_code.message
    assert 'output_parameters' in outputs


def test_build_of_lammps_that_knows_no_grade(parse_walker: Parse) -> None:
    changes = {name: empty for name in DUMPS}
    changes['log.lammps'] = lambda log: '\n'.join(
        ' '.join([*line.split()[:-1], '0']) if len(line.split()) == 6 and line.split()[0].isdigit() else line
        for line in log.splitlines()
    )
    outputs, exit_code = parse_walker(changes)
    assert exit_code.status == 330
    assert 'was 0 in all 15 evaluations' in exit_code.message
    assert '22 Jul 2025' in exit_code.message
    assert not outputs
