from __future__ import annotations

import pytest

from aiida_pace.formats.lammps_log import parse_log

HEADER = '   Step          Temp          Press          PotEng         Volume       c_max_grade  \n'
LOG = (
    'LAMMPS (22 Jul 2025 - Update 4)\nrun 0\n'
    + HEADER
    + '         0   300   18600.5   -34.6   160.1   0.9\n'
    + 'Loop time of 1.2e-06 on 1 procs for 0 steps with 8 atoms\n'
    + '         5   1     1         1       1       7\n'
    + 'run ${steps}\n'
    + HEADER
    + '         0   300   18600.5   -34.6   160.1   0.9\n'
    + 'WARNING: something between the rows\n'
    + '        10   280   15000     -34.5   160.2   11.5\n'
    + 'Fix halt condition for fix-id halt met on step 10 with value 11.5\n'
    + 'Loop time of 0.2 on 1 procs for 10 steps with 8 atoms\n'
)


def test_thermo_of_all_runs_each_step_once() -> None:
    log = parse_log(LOG)
    assert log.version == '22 Jul 2025 - Update 4'
    assert log.thermo['step'].tolist() == [0, 10]
    assert log.thermo['temperature'].tolist() == [300, 280]
    assert log.thermo['pressure'].tolist() == [18600.5, 15000]
    assert log.thermo['potential_energy'].tolist() == [-34.6, -34.5]
    assert log.thermo['volume'].tolist() == [160.1, 160.2]
    assert log.thermo['max_grade'].tolist() == [0.9, 11.5]


def test_total_wall_time_tells_that_the_run_ended() -> None:
    assert parse_log(LOG).wall_time_seconds is None
    assert parse_log(LOG + 'Total wall time: 1:02:03\n').wall_time_seconds == 3723


@pytest.mark.parametrize(
    ('line', 'error'),
    [
        ('ERROR: Lost atoms: original 8 current 7 (src/thermo.cpp:494)', 'Lost atoms: original 8 current 7'),
        ('ERROR: Unknown pair style pace/extrapolation (../force.cpp:275)', 'Unknown pair style pace/extrapolation'),
        ('ERROR: Unknown command: walk ((library):0)', 'Unknown command: walk'),
        ('ERROR: Illegal fix halt (bondmax) command', 'Illegal fix halt (bondmax) command'),
        ('ERROR on proc 0: pace-lmp: the potential failed at step 7', 'pace-lmp: the potential failed at step 7'),
    ],
)
def test_error(line: str, error: str) -> None:
    log = parse_log(f'{LOG}{line}\nLast input line: run ${{steps}}\n')
    assert log.error == error
    assert parse_log(LOG).error == ''


def test_rows_that_are_not_finite_are_left_out() -> None:
    cut = HEADER + ' 0 300 1 -34.6 160.1 0.9\n 10 nan 1 -34.6 160.1 0.9\n 20 300 1 -34.6 160.1 inf\n 30 30'
    assert parse_log(cut).thermo['step'].tolist() == [0]


def test_log_without_anything() -> None:
    log = parse_log('')
    assert (log.version, log.error, log.wall_time_seconds) == ('', '', None)
    assert all(column.shape == (0,) for column in log.thermo.values())
