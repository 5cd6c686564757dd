"""`pace.active_set`: which atoms make the set, by the real engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory
from ase import Atoms

from aiida_pace.calculations.active_set import PaceActiveSetCalculation
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.frames import Frames
from tests.fixtures.frames import random_frames
from tests.fixtures.nodes import recorded_potential

PaceCode = Callable[[str, str], orm.InstalledCode]


@pytest.fixture
def silicon(si_potential_files: Path) -> AcePotentialData:
    return AcePotentialData((si_potential_files / 'potential.yaml').read_bytes())


@pytest.fixture
def frames(si_potential_files: Path) -> Frames:
    return Frames.load(si_potential_files / 'dataset.npz').take(range(40))


def active_set(
    pace_code: PaceCode, potential: AcePotentialData, *parts: Frames
) -> tuple[dict[str, orm.Data], orm.CalcJobNode]:
    return run_get_node(
        PaceActiveSetCalculation,
        code=pace_code('pace.active_set', 'pace_activeset'),
        potential=potential,
        datasets={f'part_{index}': AtomsDatasetData(part) for index, part in enumerate(parts)},
    )


def test_entry_point() -> None:
    assert CalculationFactory('pace.active_set') is PaceActiveSetCalculation


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_all_data_sets_make_the_set(pace_code: PaceCode, silicon: AcePotentialData, frames: Frames) -> None:
    outputs, node = active_set(pace_code, silicon, frames.take(range(20)), frames.take(range(20, 40)))
    assert node.is_finished_ok, node.exit_message
    together, node = active_set(pace_code, silicon, frames)
    assert outputs['active_set'].ranks == {'Si': 60}
    assert outputs['active_set'].matches(silicon)
    assert outputs['active_set'].get_asi() == together['active_set'].get_asi()


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_badly_fitted_atoms_stay_and_atoms_nothing_is_learned_from_go(
    pace_code: PaceCode, silicon: AcePotentialData, frames: Frames
) -> None:
    # A box of which the core is learned and the buffer, which the core does not see, is not.
    core, buffer = (Atoms('Si3', [[0, 0, 0], [2.1, 0, 0], [0, length, 0]]) for length in (2.2, 1.9))
    buffer.translate([50.0, 0, 0])
    labels = {'energy': [0.0], 'stress': np.zeros((1, 6))}
    alone = Frames.from_atoms([core]).replace(forces=np.zeros((3, 3)), **labels)
    whole = Frames.from_atoms([core + buffer]).replace(forces=np.zeros((6, 3)), **labels)
    box = whole.replace(weight=[0.0], force_weight=[1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    # The force of an outlier does not matter.
    outlier = frames.replace(forces=frames.forces + 100 * (np.arange(len(frames.numbers)) == 5)[:, None])

    def made_of(*parts: Frames) -> bytes:
        return active_set(pace_code, silicon, *parts)[0]['active_set'].get_asi()

    expected = made_of(frames, alone)
    assert made_of(outlier, box) == expected
    assert made_of(frames, whole) != expected
    assert made_of(frames) != expected


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_too_few_atoms(pace_code: PaceCode, silicon: AcePotentialData, frames: Frames) -> None:
    few = frames.take(range(8))
    force_weight = np.ones(64)
    force_weight[:8] = 0
    weight = np.ones(8)
    weight[0] = 0
    outputs, node = active_set(pace_code, silicon, few.replace(force_weight=force_weight, weight=weight))
    assert node.exit_status == PaceActiveSetCalculation.exit_codes.ERROR_ENVIRONMENTS_INSUFFICIENT.status
    assert 'hold 56 atoms of Si that the fit learns from, `potential` has 60 functions' in node.exit_message
    assert 'active_set' not in outputs


@pytest.mark.usefixtures('aiida_profile_clean')
class TestInputs:
    @pytest.fixture
    def inputs(self, aiida_code_installed: Callable[..., orm.InstalledCode]) -> dict[str, object]:
        return {
            'code': aiida_code_installed(filepath_executable='/bin/true', label='true'),
            'datasets': {'initial': AtomsDatasetData(random_frames())},
            'potential': recorded_potential(),
            'metadata': {},
        }

    @staticmethod
    def error(inputs: dict[str, object]) -> str:
        spec = PaceActiveSetCalculation.spec()
        inputs = inputs | {'metadata': dict(inputs['metadata'])}
        return str(spec.inputs.validate(spec.inputs.pre_process(inputs)) or '')

    def test_labels_are_not_needed(self, inputs: dict[str, object]) -> None:
        assert self.error(inputs) == ''

    @pytest.mark.parametrize('name', ['code', 'datasets', 'potential'])
    def test_missing_input(self, inputs: dict[str, object], name: str) -> None:
        del inputs[name]
        assert name in self.error(inputs)

    def test_elements_that_the_potential_does_not_know(self, inputs: dict[str, object]) -> None:
        inputs['datasets'] = {'initial': AtomsDatasetData(random_frames(numbers=(6, 14), sizes=(20,)))}
        error = self.error(inputs)
        assert (
            '`datasets.initial` holds C, `potential` is for Si: give the data that the potential was trained on'
            in error
        )
