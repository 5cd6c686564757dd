from collections.abc import Callable
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory
from ase.build import bulk

from aiida_pace.calculations.swarm import PaceSwarmCalculation
from aiida_pace.data.active_set import AceActiveSetData
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.frames import Frames
from tests.fixtures.frames import random_frames
from tests.fixtures.nodes import recorded_potential


def test_entry_point() -> None:
    assert CalculationFactory('pace.swarm') is PaceSwarmCalculation


@pytest.mark.engines
@pytest.mark.usefixtures('aiida_profile_clean')
def test_swarm_of_a_halted_frame(pace_code: Callable[[str, str], orm.InstalledCode], si_potential_files: Path) -> None:
    potential = AcePotentialData((si_potential_files / 'potential.yaml').read_bytes(), reference_energies={'Si': -9.0})
    halted = bulk('Si', cubic=True)
    halted.rattle(0.15, seed=1)
    other = AtomsDatasetData(Frames.from_atoms([bulk('Si', a=5.5)], origin='halt'))
    outputs, node = run_get_node(
        PaceSwarmCalculation,
        code=pace_code('pace.swarm', 'pace-swarm'),
        datasets={'one': AtomsDatasetData(Frames.from_atoms([halted, bulk('Si')], origin='halt')), 'two': other},
        indices=orm.Dict({'one': [0]}),
        potential=potential,
        active_set=AceActiveSetData((si_potential_files / 'active_set.asi').read_bytes(), potential=potential),
        parameters=orm.Dict({'count': 8, 'burst_steps': 40}),
        seed=orm.Int(7),
    )
    assert node.is_finished_ok, node.exit_message
    frames = outputs['dataset'].frames
    account = outputs['output_parameters'].get_dict()
    assert account['made'] == {'rattle': 4, 'burst': 2, 'modes': 2}
    assert account['count'] == len(frames) == 8
    assert account['parents'] == [0] * 8
    assert frames.max_grade().max() > 1
    assert outputs['retrieved'].base.repository.list_object_names() == [
        '_scheduler-stderr.txt',
        '_scheduler-stdout.txt',
        'pace-swarm.err',
    ]
    # The frames are in their data sets: the job keeps no copy of them.
    assert 'frames.npz' not in node.base.repository.list_object_names()


@pytest.mark.usefixtures('aiida_profile_clean')
@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        (
            'parameters',
            {'shares': {'shake': 1}},
            '`shares` names the unknown kind `shake`; the kinds are: rattle, burst',
        ),
        (
            'parameters',
            {'shares': {'rattle': -1, 'burst': 2}},
            'setting `shares.rattle`: Input should be greater than or equal to 0',
        ),
        ('parameters', {'shares': {'rattle': 0}}, 'at least one above 0'),
        ('parameters', {'shares': {}}, 'at least one above 0'),
        ('parameters', {'amplitude': 0}, '`parameters`: setting `amplitude`'),
        ('parameters', {'burst_steps': 0}, '`parameters`: setting `burst_steps`'),
        ('parameters', {'number': 3}, 'unknown setting `number`'),
        ('seed', -1, '`seed` is -1: give 0 or more'),
        ('closest', 0.0, '`closest` is 0.0: give a share above 0'),
        ('closest', float('nan'), '`closest` is nan: give a share above 0'),
        ('parameters', {'closest': 0.6}, 'setting `closest` is now the input `closest`'),
        ('indices', {'two': [0]}, '`indices` names `two`, which is not in `datasets`'),
        ('indices', {'one': [0, 3]}, '`indices.one` is [0, 3]: give different numbers from 0 to 2'),
        ('indices', {'one': [1, 1]}, '`indices.one` is [1, 1]: give different numbers from 0 to 2'),
        ('indices', {'one': []}, '`indices` names no frame'),
    ],
)
def test_inputs_that_are_refused(
    aiida_code_installed: Callable[..., orm.InstalledCode], name: str, value: object, message: str
) -> None:
    inputs = {
        'code': aiida_code_installed(filepath_executable='/bin/true', label='true'),
        'datasets': {'one': AtomsDatasetData(random_frames())},
        'potential': recorded_potential(),
        'seed': orm.Int(1),
    }
    spec = PaceSwarmCalculation.spec()
    assert spec.inputs.validate(spec.inputs.pre_process({**inputs, 'metadata': {}})) is None
    inputs[name] = orm.to_aiida_type(value)
    assert message in str(spec.inputs.validate(spec.inputs.pre_process({**inputs, 'metadata': {}})))
