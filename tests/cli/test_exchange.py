"""`aiida-pace import` and `aiida-pace export`."""

from __future__ import annotations

import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from click.testing import CliRunner, Result

from aiida_pace.cli import cmd_root
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.formats.exchange import read_frames, write_frames
from aiida_pace.frames import Frames
from tests.fixtures.campaigns import Campaign, dataset
from tests.fixtures.frames import assert_identical, random_frames

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cmd_root, [str(argument) for argument in arguments], catch_exceptions=False)


def rows(result: Result) -> list[list[str]]:
    """Return the cells of the tables, without their heads."""
    lines = [re.split(r' {2,}', line.strip()) for line in result.output.splitlines()]
    tables = [
        line for line in lines if not line[0].startswith(('Atoms', 'Stresses', 'Implausible', '──', 'Left out, '))
    ]
    return [line for line in tables if line != [''] and line[-1] != 'frames, counted from 0']


def cells(count: int) -> Frames:
    """Return labelled cells of two atoms, all plausible."""
    images = []
    for index in range(count):
        atoms = bulk('Si', a=5.4 + 0.1 * index)
        atoms.rattle(0.05, seed=index)
        atoms.calc = SinglePointCalculator(atoms, energy=-8.0 + index, forces=np.array([[0.5, 0, 0], [-0.5, 0, 0]]))
        images.append(atoms)
    return Frames.from_atoms(images)


def stored(frames: Frames) -> AtomsDatasetData:
    return AtomsDatasetData(frames).store()


def all_datasets() -> list[AtomsDatasetData]:
    return orm.QueryBuilder().append(AtomsDatasetData).all(flat=True)


class TestImport:
    @pytest.mark.parametrize('suffix', ['.extxyz', '.db'])
    def test_what_is_in_the_file_is_in_the_node(self, tmp_path: Path, suffix: str) -> None:
        frames = random_frames((2, 1, 3), numbers=(13, 14), labelled=True, graded=True)
        path = tmp_path / f'frames{suffix}'
        write_frames(frames, path)
        result = run('import', path, '--label', 'thesis', '--no-guards')
        assert result.exit_code == 0
        (node,) = all_datasets()
        assert_identical(node.frames, frames)
        assert node.label == 'thesis'
        assert str(path) in node.description
        low, high = (bound(frames.stress[:, :3]) * 160.2176634 for bound in (np.min, np.max))
        assert result.output == (
            f'AtomsDatasetData<{node.pk}>: 3 frames with energies, forces and stresses, 6 atoms of Al, Si.\n'
            f'Stresses xx, yy, zz from {low:.4g} to {high:.4g} GPa, negative under compression.\n'
        )

    def test_what_is_not_taken_is_listed_by_cause(self, tmp_path: Path) -> None:
        good = cells(2)
        write_frames(good.take([0, 0, 1, 0, 0]), tmp_path / 'a.xyz')
        text = (tmp_path / 'a.xyz').read_text()
        (tmp_path / 'a.xyz').write_text(text + '1\n\nQq 0 0 0\n1\n\nSi 0 0 0\n')
        write_frames(good.take([1]), tmp_path / 'b.db')
        result = run('import', tmp_path / 'a.xyz', tmp_path / 'b.db', '--skip-faulty')
        assert result.exit_code == 0
        (node,) = all_datasets()
        assert_identical(node.frames, good)
        assert rows(result) == [
            ['1', 'unknown element `Qq`', 'a.xyz: 5'],
            ['line 23: `Qq 0 0 0`'],
            ['1', 'in all'],
            ['1', 'no energy and forces, which other frames have', 'a.xyz: 6'],
            ['line 25'],
            ['4', 'repeats an earlier frame', 'a.xyz: 1, 3-4'],
            ['b.db: 0'],
            ['line 6'],
            ['5', 'in all'],
        ]

    def test_of_a_faulty_file_nothing_is_stored_unless_asked_for(self, tmp_path: Path) -> None:
        write_frames(cells(3), tmp_path / 'a.xyz')
        text = (tmp_path / 'a.xyz').read_text()
        (tmp_path / 'a.xyz').write_text(text[: -len(text.splitlines()[-1]) - 1])
        result = run('import', tmp_path / 'a.xyz')
        assert result.exit_code == 1
        assert 'the file ends within the frame' in result.output
        assert 'nothing is stored: 1 faulty frame.' in result.output
        assert '--skip-faulty' in result.output
        assert all_datasets() == []
        assert run('import', tmp_path / 'a.xyz', '--skip-faulty').exit_code == 0
        assert all_datasets()[0].count == 2

    def test_implausible_frames_are_set_apart_unless_asked_for(self, tmp_path: Path) -> None:
        frames = cells(3)
        forces = frames.forces.copy()  # type: ignore[union-attr]
        forces[2] = 5000
        write_frames(frames.replace(forces=forces), tmp_path / 'a.xyz')
        result = run('import', tmp_path / 'a.xyz')
        assert result.exit_code == 0
        assert all_datasets()[0].count == 2
        assert rows(result)[:2] == [['1', 'a force above 100 eV/Å', 'a.xyz: 1'], ['line 6; atom 0, 8660 eV/Å']]
        assert '`--no-guards` takes them' in result.output
        result = run('import', tmp_path / 'a.xyz', '--no-guards')
        assert 'set apart' not in result.output
        assert {node.count for node in all_datasets()} == {2, 3}

    def test_terminal_escapes_are_shown_as_text(self, tmp_path: Path) -> None:
        atoms = '1\nevil\x1b[=1 energy=-1 \x1b]=2\nSi 0 0 0\n1\nred\x1b=1 energy=-1\nSi 0 0 1\n'
        (tmp_path / 'a\x1b[2J.xyz').write_text(atoms)
        result = run('import', tmp_path / 'a\x1b[2J.xyz', '--skip-faulty', '--label', 'red\x1b[31m')
        assert result.exit_code == 0
        assert '\x1b' not in result.output
        assert r'red\x1b (1)' in result.output
        (node,) = all_datasets()
        assert node.label == r'red\x1b[31m'
        assert '\x1b' not in node.description

    def test_many_runs_of_refused_frames_are_cut_short_unless_asked_for(self, tmp_path: Path) -> None:
        bad = '1\n\nQq 0 0 0\n'
        (tmp_path / 'a.xyz').write_text(''.join(f'1\n\nSi 0 0 {index}\n{bad}' for index in range(12)))
        assert 'a.xyz: 1, 3, 5, 7, 9, 11, 13, 15 and 4 more' in run('import', tmp_path / 'a.xyz').output
        output = run('import', tmp_path / 'a.xyz', '--verbose').output
        assert '17, 19, 21, 23' in ' '.join(output.split())
        assert output.count('`Qq 0 0 0`') == 12

    def test_nothing_to_take_is_a_failure_and_nothing_is_stored(self, tmp_path: Path) -> None:
        write_frames(random_frames((2, 1)), tmp_path / 'a.xyz')
        result = run('import', tmp_path / 'a.xyz', '--labelled')
        assert result.exit_code == 1
        assert 'a.xyz: 0-1' in result.output
        assert 'no energy and forces' in result.output
        assert 'nothing is stored' in result.output
        assert all_datasets() == []

    def test_an_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / 'a.xyz').touch()
        assert run('import', tmp_path / 'a.xyz').exit_code == 1
        assert all_datasets() == []

    def test_one_file_that_cannot_be_read_stops_all(self, tmp_path: Path) -> None:
        write_frames(random_frames((2, 1)), tmp_path / 'a.xyz')
        write_frames(random_frames((3,)), tmp_path / 'b.pckl.gzip')
        result = run('import', tmp_path / 'a.xyz', tmp_path / 'b.pckl.gzip')
        assert result.exit_code == 1
        assert 'can run any code when it is read' in result.output
        assert all_datasets() == []

    def test_labels_left_behind(self, tmp_path: Path) -> None:
        write_frames(random_frames((2, 1), labelled=True), tmp_path / 'a.xyz')
        result = run('import', tmp_path / 'a.xyz', '--unlabelled', '--origin', 'thesis')
        assert 'Left out, with the number of frames that had it: energy (2), forces (2), stress (2).' in result.output
        (node,) = all_datasets()
        assert not node.is_labelled
        assert node.frames.origin.tolist() == ['recipe0', 'recipe1']

    @pytest.mark.parametrize('options', [[], ['--energy-key', 'REF_energy', '--forces-key', 'REF_forces']])
    def test_names_of_labels(self, tmp_path: Path, options: list[str]) -> None:
        atoms = bulk('Si')
        atoms.info['REF_energy'] = -8.5
        atoms.set_array('REF_forces', np.full((2, 3), 0.25))
        ase.io.write(tmp_path / 'mace.xyz', atoms, format='extxyz')
        result = run('import', tmp_path / 'mace.xyz', *options, '--origin', 'x')
        assert result.exit_code == 0
        assert 'Labels: energy from `REF_energy`, forces from `REF_forces`.' in result.output
        (node,) = all_datasets()
        assert node.frames.energy == [-8.5]
        assert np.all(node.frames.forces == 0.25)
        assert node.frames.origin == ['x']

    def test_virials(self, tmp_path: Path) -> None:
        atoms = bulk('Si')
        atoms.info |= {'energy': -8.5, 'virial': np.diag([1.0, 2, 3])}
        atoms.set_array('forces', np.full((2, 3), 0.25))
        ase.io.write(tmp_path / 'gap.xyz', atoms, format='extxyz')
        assert 'Virials become stresses with `--virial-key virial`' in run('import', tmp_path / 'gap.xyz').output
        result = run('import', tmp_path / 'gap.xyz', '--virial-key', 'virial')
        assert 'made from virials: minus virial over volume' in result.output
        stress = max(all_datasets(), key=lambda node: node.pk or 0).frames.stress
        np.testing.assert_allclose(stress, [np.array([-1.0, -2, -3, 0, 0, 0]) / atoms.get_volume()])
        result = run('import', tmp_path / 'gap.xyz', '--virial-key', 'virial', '--no-stress')
        assert result.exit_code == 2
        assert 'give one of' in result.output


class TestExport:
    @pytest.mark.parametrize('suffix', ['.xyz', '.extxyz', '.db'])
    def test_what_is_in_the_node_is_in_the_file(self, tmp_path: Path, suffix: str) -> None:
        node = stored(random_frames((2, 1, 3), labelled=True, graded=True))
        path = tmp_path / f'frames{suffix}'
        result = run('export', node.pk, path)
        assert result.exit_code == 0
        assert_identical(read_frames([path], guards=False).frames, node.frames)
        assert result.output == f'{path}: 3 frames with energies, forces and stresses, 6 atoms of Si.\n'

    def test_pacemaker_has_no_place_for_everything(self, tmp_path: Path) -> None:
        node = stored(random_frames((2, 1), labelled=True))
        result = run('export', node.uuid, tmp_path / 'frames.pckl.gzip')
        assert result.exit_code == 0
        assert 'has no place for it: label_uuid, origin, stress.' in result.output
        assert 'stresses' not in result.output
        assert (tmp_path / 'frames.pckl.gzip').exists()

    def test_all_labels_of_a_campaign_once(self, campaign: Campaign, tmp_path: Path) -> None:
        """A frame that two data sets hold is written once, with the labels it had first; a stress only if all have."""
        given = random_frames((2, 1), labelled=True)
        initial = random_frames((3, 1), labelled=True, seed=1)
        again = Frames.concatenate([given.take([1]), random_frames((4,), labelled=True, seed=2)])
        again = again.replace(energy=[99.0, 1.0], stress=None)
        sets = {'given': given, 'cycle_01': again, 'initial': initial}
        campaign.converge(**{f'datasets__{name}': AtomsDatasetData(frames) for name, frames in sets.items()})
        result = run('export', campaign.node.pk, tmp_path / 'all.db')
        assert result.exit_code == 0
        assert 'as an earlier data set has the same structures: 1 frame.' in result.output
        assert 'no place for it: stress.' in result.output
        frames = read_frames([tmp_path / 'all.db'], guards=False).frames
        assert sorted(frames.sizes.tolist()) == [1, 1, 2, 3, 4]
        assert frames.stress is None
        assert sorted(frames.energy.tolist()) == sorted([*given.energy, *initial.energy, 1.0])  # type: ignore

    def test_a_campaign_that_still_runs(self, tmp_path: Path) -> None:
        """What it was given and has labelled so far, but for the audit, which nobody may train on."""
        campaign = Campaign(given=2)
        initial, first = (random_frames((3, 1), labelled=True, seed=seed) for seed in (1, 2))
        for step, frames in {'initial': initial, 'cycle_01': first}.items():
            node, _ = campaign.label(step, 2)
            campaign.returns(node, 'output_parameters', campaign.account(2))
            campaign.returns(node, 'dataset', AtomsDatasetData(frames))
            campaign.returns(node, 'audit', AtomsDatasetData(dataset(1, first=6.0).frames))
        campaign.label('cycle_02', 3)
        result = run('export', campaign.node.pk, tmp_path / 'all.xyz')
        assert result.exit_code == 0
        frames = read_frames([tmp_path / 'all.xyz'], guards=False).frames
        expected = [dataset(2, first=4.0).frames, initial, first]
        assert_identical(frames, Frames.concatenate(expected))

    def test_a_campaign_without_labels_yet(self, campaign: Campaign, tmp_path: Path) -> None:
        campaign.label('initial', 3)
        result = run('export', campaign.node.pk, tmp_path / 'all.xyz')
        assert result.exit_code == 1
        assert 'has no labelled frames yet' in result.output
        assert list(tmp_path.iterdir()) == []

    def test_a_file_that_is_there(self, tmp_path: Path) -> None:
        one, other = stored(random_frames((2,))), stored(random_frames((1, 1)))
        path = tmp_path / 'frames.db'
        assert run('export', one.pk, path).exit_code == 0
        result = run('export', other.pk, path)
        assert result.exit_code == 1
        assert 'already exists' in result.output
        assert_identical(read_frames([path], guards=False).frames, one.frames)
        assert run('export', other.pk, path, '--overwrite').exit_code == 0
        assert_identical(read_frames([path], guards=False).frames, other.frames)

    def test_an_unknown_suffix(self, tmp_path: Path) -> None:
        result = run('export', stored(random_frames((2,))).pk, tmp_path / 'frames.cif')
        assert result.exit_code == 1
        assert 'known ones are .xyz, .extxyz, .db, .pckl.gzip' in result.output

    def test_what_is_no_data_set(self, tmp_path: Path) -> None:
        for identifier, words in (
            (orm.Int(1).store().pk, 'neither a data set nor a campaign'),
            (0, 'exactly one node'),
        ):
            result = run('export', identifier, tmp_path / 'frames.xyz')
            assert result.exit_code == 1
            assert words in result.output
        assert list(tmp_path.iterdir()) == []
