from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory
from ase.build import bulk

from aiida_pace.calculations.embed import PaceEmbedCalculation
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.frames import Frames
from tests.fixtures.frames import random_frames
from tests.fixtures.nodes import recorded_active_set, recorded_potential


def test_entry_point() -> None:
    assert CalculationFactory('pace.embed') is PaceEmbedCalculation


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_a_large_frame_becomes_a_small_box_and_a_small_one_passes(
    pace_code: Callable[[str, str], orm.InstalledCode], si_potential_files: Path
) -> None:
    potential = AcePotentialData((si_potential_files / 'potential.yaml').read_bytes())
    large, small = bulk('Si', cubic=True).repeat(3), bulk('Si', cubic=True)
    large.rattle(0.15, seed=1)
    outputs, node = run_get_node(
        PaceEmbedCalculation,
        code=pace_code('pace.embed', 'pace-embed'),
        dataset=AtomsDatasetData(Frames.from_atoms([small, large], origin=['sample', 'halt'])),
        potential=potential,
        active_set=AceActiveSetData((si_potential_files / 'active_set.asi').read_bytes(), potential=potential),
        parameters=orm.Dict({'max_dft_atoms': 40}),
    )
    assert node.is_finished_ok, node.exit_message
    frames = outputs['dataset'].frames
    assert frames.origin.tolist() == ['sample', 'embedded/halt']
    assert frames.sizes[1] <= 40
    account = outputs['output_parameters'].get_dict()
    assert account['parents'] == [0, 1]
    row = account['frames'][0]
    assert row['atoms_before'] == 216
    assert row['grade_after'] == pytest.approx(row['grade_before'], rel=1e-6)


@pytest.mark.usefixtures('aiida_profile_clean')
def test_inputs_that_are_refused(aiida_code_installed: Callable[..., orm.InstalledCode]) -> None:
    potential = recorded_potential()
    inputs = {
        'code': aiida_code_installed(filepath_executable='/bin/true', label='true'),
        'dataset': AtomsDatasetData(random_frames()),
        'potential': potential,
        'active_set': recorded_active_set(potential),
    }
    spec = PaceEmbedCalculation.spec()

    def error(**changed: object) -> str:
        given = {key: node for key, node in {**inputs, 'metadata': {}, **changed}.items() if node is not None}
        return str(spec.inputs.validate(spec.inputs.pre_process(given)) or '')

    assert error() == ''
    assert 'active_set' in error(active_set=None)
    assert '`parameters`: setting `max_dft_atoms`' in error(parameters=orm.Dict({'max_dft_atoms': 7}))
    assert '`parameters`: unknown setting `margin`' in error(parameters=orm.Dict({'margin': 1.0}))
