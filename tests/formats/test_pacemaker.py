"""Files of pacemaker: what we write it can read, and what it wrote we understand."""

from __future__ import annotations

import gzip
import io
import json
import pickletools
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.neighborlist import neighbor_list

from aiida_pace.config import TrainingConfig
from aiida_pace.formats.pacemaker import (
    METRICS_COLUMNS,
    accepted_cells,
    last_exception,
    parse_log,
    parse_metrics,
    potential_sections,
    without_repulsion,
    write_dataframe,
    write_input,
)
from aiida_pace.frames import Frames

RECORDED = Path(__file__).parent / 'pacemaker'


def labelled(weight: float = 1.0) -> Frames:
    images = []
    for count, length in ((2, 4.0), (3, 5.0), (3, 5.5)):
        rng = np.random.default_rng(count)
        atoms = Atoms(f'SiC{count - 1}', positions=rng.uniform(0, length, (count, 3)), cell=[length] * 3, pbc=True)
        atoms.set_array('force_weight', np.linspace(0, 1, count))
        atoms.info['weight'] = weight
        atoms.calc = SinglePointCalculator(atoms, energy=-3.0 * count, forces=rng.normal(size=(count, 3)))
        images.append(atoms)
    return Frames.from_atoms(images, origin='augmented')


class TestWriteInput:
    @staticmethod
    def written(**settings: object) -> dict[str, dict[str, object]]:
        config = TrainingConfig.model_validate(settings)
        (potential,) = potential_sections(config, ['C', 'Si'], dict.fromkeys(('C', 'Si'), config.functions_of('C')))
        text = write_input(config, potential, {'C': -9.0, 'Si': -101.5}, dataset='df.pckl.gzip')
        return dict(yaml.safe_load(text))

    def test_settings_arrive_where_pacemaker_looks_for_them(self) -> None:
        settings = self.written(
            cutoff=4.25, order=2, functions_per_element=33, batch_size=7, max_epochs=11, kappa=0.6, l1=1e-6, l2=2e-6
        )
        potential = settings['potential']
        assert potential['elements'] == ['C', 'Si']
        assert potential['bonds']['ALL']['rcut'] == 4.25
        assert potential['functions']['number_of_functions_per_element'] == 33
        assert potential['functions']['UNARY'] == {'nradmax_by_orders': [15, 6], 'lmax_by_orders': [0, 3]}
        assert settings['backend'] == {'evaluator': 'tensorpot', 'batch_size': 7, 'display_step': 20}
        assert settings['fit']['loss'] == {'kappa': 0.6, 'L1_coeffs': 1e-6, 'L2_coeffs': 2e-6}
        assert settings['fit']['maxiter'] == 11
        assert settings['data'] == {'filename': 'df.pckl.gzip', 'reference_energy': {'C': -9.0, 'Si': -101.5}}

    def test_a_linear_fit_has_one_density_and_no_l1(self) -> None:
        settings = self.written(evaluator='linear')
        assert settings['potential']['embeddings']['ALL']['ndensity'] == 1
        assert settings['fit']['loss']['L1_coeffs'] == 0

    def test_repulsion_can_be_left_out(self) -> None:
        assert self.written()['fit']['repulsion'] == 'auto'
        assert 'repulsion' not in self.written(repulsion=False)['fit']

    def test_numbers_survive_the_stricter_yaml_of_pacemaker(self) -> None:
        # YAML 1.1 and 1.2 read `1e-08` differently: only with a point is it a number in both.
        assert 'L2_coeffs: 1.0e-08' in write_input(TrainingConfig(), {}, {'Si': 0.0}, dataset='x')


class TestWriteDataframe:
    def test_frames_come_back_exactly(self) -> None:
        frames = labelled(weight=0.25)
        stream = io.BytesIO()
        write_dataframe(frames, stream)
        stream.seek(0)
        dataframe = pd.read_pickle(stream, compression='gzip')
        for index, row in dataframe.iterrows():
            part = frames.atoms_slice(int(index))
            assert np.array_equal(row.ase_atoms.positions, frames.positions[part])
            assert np.array_equal(row.ase_atoms.cell.array, frames.cells[int(index)])
            assert np.array_equal(row.ase_atoms.numbers, frames.numbers[part])
            assert np.array_equal(row.forces, frames.forces[part])
            assert np.array_equal(row.w_forces, frames.force_weight[part])
            assert row.energy == frames.energy[int(index)]
            assert row.w_energy == 0.25
            assert row['name'] == f'frame_{index}'

    def test_frames_without_labels_have_no_columns_for_them(self) -> None:
        stream = io.BytesIO()
        write_dataframe(labelled().replace(energy=None, forces=None), stream)
        stream.seek(0)
        assert list(pd.read_pickle(stream, compression='gzip').columns) == ['ase_atoms', 'name']

    def test_the_pickle_names_nothing_that_some_version_lacks(self) -> None:
        """numpy 1 has no `numpy._core`, numpy 2 warns of `numpy.core`, and inner parts of pandas come and go."""
        stream = io.BytesIO()
        write_dataframe(labelled(), stream)
        texts = [argument for _, argument, _ in pickletools.genops(gzip.decompress(stream.getvalue()))]
        modules = {text for text in texts if isinstance(text, str) and re.match(r'(numpy|pandas|ase)\b', text)}
        assert modules <= {'numpy', 'pandas', 'pandas.core.frame', 'ase.atoms'}

    @pytest.mark.engines
    def test_the_pandas_of_the_engines_reads_it(self, engine: Callable[[str], Path], tmp_path: Path) -> None:
        frames = labelled()
        write_dataframe(frames, tmp_path / 'df.pckl.gzip')
        script = (
            'import json, pandas; d = pandas.read_pickle("df.pckl.gzip", compression="gzip"); '
            'print(json.dumps([pandas.__version__, list(d.columns), d.energy.tolist(), d.forces[2].tolist(), '
            'd.ase_atoms[1].positions.tolist(), d.query("not name.str.startswith(\'augmented\')").shape[0]]))'
        )
        done = subprocess.run(
            [engine('python'), '-c', script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
        )
        version, columns, energies, forces, positions, kept = json.loads(done.stdout)
        assert version.split('.')[0] != pd.__version__.split('.')[0], 'the two environments have the same pandas'
        assert columns == ['ase_atoms', 'name', 'energy', 'forces', 'w_energy', 'w_forces']
        assert energies == frames.energy.tolist()
        assert forces == frames.forces[frames.atoms_slice(2)].tolist()
        assert positions == frames.positions[frames.atoms_slice(1)].tolist()
        assert kept == 3

    def test_ten_thousand_frames_take_less_than_three_seconds(self, tmp_path: Path) -> None:
        count, size = 10_000, 64
        rng = np.random.default_rng(1)
        frames = Frames(
            offsets=np.arange(count + 1) * size,
            numbers=np.full(count * size, 14),
            positions=rng.random((count * size, 3)),
            cells=np.tile(np.eye(3) * 11, (count, 1, 1)),
            pbc=np.ones((count, 3), dtype=bool),
            force_weight=np.ones(count * size),
            weight=np.ones(count),
            origin=np.full(count, 'bulk'),
            label_uuid=np.full(count, ''),
            energy=rng.random(count),
            forces=rng.random((count * size, 3)),
        )
        start = time.process_time()  # of this process alone: other tests may run beside it
        write_dataframe(frames, tmp_path / 'df.pckl.gzip')
        assert time.process_time() - start < 3


class TestAcceptedCells:
    CELL = np.array([[4.0, 0, 0], [0.5, 5.0, 0], [0.2, -0.3, 6.0]])

    @staticmethod
    def distances(cell: np.ndarray, pbc: bool | list[bool]) -> np.ndarray:
        atoms = Atoms('Si2', [[0.3, 0.2, 0.1], [1.9, 1.2, 9.4]], cell=cell, pbc=pbc)
        return np.sort(neighbor_list('d', atoms, 8.0))

    @pytest.mark.parametrize(
        'cell',
        [
            CELL,
            CELL[[1, 0, 2]],
            CELL @ np.diag([1, -1, 1]),
            np.array([[1, 60, 0], [0, 1, 0], [0, 0, 1]]) @ CELL,
        ],
        ids=['as it is', 'left-handed', 'mirrored', 'skewed'],
    )
    def test_the_lattice_stays(self, cell: np.ndarray) -> None:
        frames = Frames.from_atoms([Atoms('Si', cell=cell, pbc=True)])
        cells, pbc = accepted_cells(frames)
        assert pbc.tolist() == [True]
        assert np.linalg.det(cells[0]) > 0
        np.testing.assert_allclose(self.distances(cells[0], True), self.distances(cell, True))
        lengths = np.linalg.norm(cells[0], axis=1)
        assert np.linalg.det(cells[0]) > 0.5 * np.prod(lengths)

    @pytest.mark.parametrize('pbc', [[True, True, False], [False, True, False], [True, False, True]])
    def test_a_missing_period_becomes_empty_space(self, pbc: list[bool]) -> None:
        atoms = Atoms('Si2', [[0.3, 0.2, 0.1], [1.9, 1.2, 9.4]], cell=self.CELL, pbc=pbc)
        cells, periodic = accepted_cells(Frames.from_atoms([atoms]))
        assert periodic.tolist() == [True]
        np.testing.assert_allclose(self.distances(cells[0], True), self.distances(self.CELL, pbc))

    def test_most_cells_are_left_alone(self) -> None:
        frames = Frames.from_atoms([Atoms('Si', cell=self.CELL, pbc=True)])
        assert np.array_equal(accepted_cells(frames)[0], frames.cells)

    def test_a_molecule_gets_a_cell_though_it_has_none(self) -> None:
        cells, periodic = accepted_cells(Frames.from_atoms([Atoms('Si')]))
        assert periodic.tolist() == [False]
        assert np.linalg.det(cells[0]) > 0


class TestParseMetrics:
    def test_recorded_metrics(self) -> None:
        metrics = parse_metrics((RECORDED / 'metrics.txt').read_text())
        assert tuple(metrics) == METRICS_COLUMNS
        assert metrics['iter_num'].tolist() == list(range(21))
        assert metrics['loss'][0] == 30.922375418778653
        assert metrics['rmse_f_comp'][-1] == 0.2283088203144897

    def test_a_row_cut_short_is_left_out(self) -> None:
        text = (RECORDED / 'metrics.txt').read_text()
        assert len(parse_metrics(text[: text.rindex('1.1387')])['loss']) == 20

    def test_a_header_alone_has_no_rows(self) -> None:
        header = (RECORDED / 'metrics.txt').read_text().splitlines()[0]
        assert len(parse_metrics(header)['loss']) == 0

    @pytest.mark.parametrize('text', ['', 'no metrics at all\n1 2 3 4'])
    def test_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match='no header'):
            parse_metrics(text)


class TestParseLog:
    def test_recorded_log(self) -> None:
        log = parse_log((RECORDED / 'log.txt').read_text())
        assert log.is_done
        assert not log.is_converged
        assert log.message == 'Maximum number of iterations has been exceeded.'
        assert log.evaluations == 27
        assert log.wall_time_seconds == 15

    def test_only_the_last_run_in_the_log_counts(self) -> None:
        text = (RECORDED / 'log.txt').read_text()
        assert not parse_log(text + '2026-11-21 04:00:00,000 I - Start pacemaker\n').is_done

    @pytest.mark.parametrize(
        ('result', 'converged'),
        [
            ('success=True, status=0, message=Optimization terminated successfully., nfev=3, njev=3', True),
            ('success=False, status=2, message=Desired error not necessarily achieved due to precision loss., '
             'nfev=96, njev=84', True),
            ('success=False, status=1, message=STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT, nfev=9, njev=9', False),
        ],
    )  # fmt: skip
    def test_an_optimizer_that_stops_by_itself_has_converged(self, result: str, converged: bool) -> None:
        assert parse_log(f'2026-11-21 04:00:00,000 I - Optimization result({result})').is_converged is converged

    def test_an_empty_log_is_not_done(self) -> None:
        log = parse_log('')
        assert (log.is_done, log.is_converged, log.wall_time_seconds) == (False, False, 0.0)


class TestLastException:
    def test_the_last_one_is_named(self) -> None:
        text = (
            'Traceback (most recent call last):\n  File "a"\nKeyError: 1\n\nDuring handling ...\n\n'
            'Traceback (most recent call last):\n  File "b", line 3, in main\n    f()\nValueError: no `energy` column\n'
        )
        assert last_exception('2026 I - start\n' + text + 'srun: error\n') == 'ValueError: no `energy` column'

    def test_there_may_be_none(self) -> None:
        assert last_exception('all is well') is None

    def test_a_refused_command_line_counts(self) -> None:
        text = 'usage: pacemaker [-h]\npacemaker: error: unrecognized arguments: --nonsense\n'
        assert last_exception(text) == 'unrecognized arguments: --nonsense'


class TestWithoutRepulsion:
    FITTED = Path(__file__).parents[1] / 'parsers' / 'train' / 'output_potential.yaml'

    def test_the_rest_of_the_potential_stays(self) -> None:
        fitted = self.FITTED.read_text()
        plain = without_repulsion(fitted)
        assert 'r_in: 1.88' in fitted
        changed = [new for old, new in zip(fitted.splitlines(), plain.splitlines(), strict=True) if old != new]
        assert changed == [
            '    rho_core_cut: 100000',
            '    drho_core_cut: 250',
            '    r_in: 0',
            '    delta_in: 0',
            '    inner_cutoff_type: distance',
            '    core-repulsion: [0, 0]',
        ]
        assert without_repulsion(plain) == plain

    def test_the_note_of_a_finished_fit_goes(self) -> None:
        assert without_repulsion('metadata:\n  _fit_cycles: 1\n  user: x\n') == 'metadata:\n  user: x\n'
