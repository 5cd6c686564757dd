"""Labels from calculators: batches, reuse, causes of single frames, and what is warned of."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from aiida_pace.calculations.functions.labels import OUTCOMES
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.data.potential import AcePotentialData
from aiida_pace.frames import Frames
from aiida_pace.workflows.graph import children
from aiida_pace.workflows.label.base import LabelWorkChain
from aiida_pace.workflows.label.calculator import CalculatorLabeller
from aiida_pace.workflows.label.reuse import LABELS_EXTRA
from tests.fixtures.nodes import recorded_potential

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')

REPOSITORY = Path(__file__).parents[3]
Inputs = dict[str, t.Any]
InputsOf = Callable[..., Inputs]


@pytest.fixture
def inputs_of(aiida_code_installed: Callable[..., orm.InstalledCode], engine: Callable[[str], Path]) -> InputsOf:
    """Return a factory of inputs of a labelling by a calculator, which may be one of the tests."""
    code = aiida_code_installed(
        label='pace-label',
        default_calc_job_plugin='pace.label_calculator',
        filepath_executable=str(engine('pace-label')),
        prepend_text=f'export PYTHONPATH={REPOSITORY} OMP_NUM_THREADS=1',
    )

    def factory(calculator: str = 'ase.calculators.emt:EMT', frames: int = 100, **kwargs: t.Any) -> Inputs:
        parameters = orm.Dict({'calculator': calculator, 'kwargs': kwargs})
        given = {'code': code, 'parameters': parameters, 'max_frames_per_job': orm.Int(frames)}
        return {'calculator': given, 'max_concurrent': orm.Int(2)}

    return factory


def copper(*scales: float) -> list[Atoms]:
    return [bulk('Cu', a=3.6 * scale) for scale in scales]


def counts(account: t.Any) -> dict[str, int]:
    """Return what became of the frames; it must add up."""
    ends = {name: account[name] for name in OUTCOMES if account[name]}
    assert account['requested'] == sum(ends.values())
    return ends


@pytest.mark.engines
def test_batches(inputs_of: InputsOf) -> None:
    """Two batches in two lanes; a frame that the calculator does not know fails alone; nothing is computed twice."""
    images = [Atoms('Cu', cell=[9, 9, 9]), *copper(1.0, 0.97), bulk('Si'), *copper(1.03), Atoms('Cu')]
    dataset = AtomsDatasetData(Frames.from_atoms(images))
    results, node = run_get_node(LabelWorkChain, dataset=dataset, **inputs_of(frames=3))
    assert node.is_finished_ok, node.exit_message
    account = results['output_parameters'].get_dict()
    assert counts(account) == {'labelled': 5, 'failed': 1}
    assert account['failures'] == {'NotImplementedError: No EMT-potential for Si': ['frame_00003']}
    assert account['warnings'] == []
    assert account['core_seconds'] > 0
    batches = children(node)['split_batches'].outputs
    assert {name: batches[name].count for name in batches} == {'batch_001': 3, 'batch_002': 3}
    frames = results['dataset'].frames
    known = [image for image in images if 'Si' not in image.symbols]
    for index, atoms in enumerate(known):
        atoms.calc = EMT()
        assert frames.energy[index] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(frames.forces[frames.atoms_slice(index)], atoms.get_forces(), atol=1e-9)
        stress = atoms.get_stress() if atoms.pbc.any() else np.zeros(6)
        np.testing.assert_allclose(frames.stress[index], stress, atol=1e-9)
    jobs = [run for lane in node.called if 'Lane' in lane.process_label for run in lane.called]
    assert {str(uuid) for uuid in frames.label_uuid} == {job.outputs.labels.uuid for job in jobs}

    dataset = AtomsDatasetData(Frames.from_atoms(copper(0.95, 1.03, 1.0)))
    again, node = run_get_node(LabelWorkChain, dataset=dataset, **inputs_of())
    assert counts(again['output_parameters']) == {'labelled': 1, 'reused': 2}
    assert again['dataset'].frames.energy[1:].tolist() == [frames.energy[3], frames.energy[1]]

    # AiiDA's own cache is another way not to compute.
    with enable_caching(identifier='aiida.calculations:pace.label_calculator'):
        for outcome in ('labelled', 'cached'):
            found, _ = run_get_node(LabelWorkChain, dataset=dataset, reuse=orm.Bool(False), **inputs_of())
            account = found['output_parameters'].get_dict()
            assert counts(account) == {outcome: 3}
            assert (account['core_seconds_cached'] > 0) == (outcome == 'cached') == (account['core_seconds'] == 0)


@pytest.mark.engines
def test_batch_of_a_killed_labelling_is_reused(inputs_of: InputsOf) -> None:
    """Frame by frame, each with its own label."""
    dataset = AtomsDatasetData(Frames.from_atoms(copper(1.0, 1.02, 1.04)))
    first, node = run_get_node(LabelWorkChain, dataset=dataset, **inputs_of())
    # What a kill leaves: the labels were never collected. The node is sealed, hence by the back door.
    node.backend_entity.set_attribute('process_state', 'killed')
    first['dataset'].base.extras.delete(LABELS_EXTRA)
    dataset = AtomsDatasetData(Frames.from_atoms(copper(1.04, 1.0)))
    second, node = run_get_node(LabelWorkChain, dataset=dataset, **inputs_of())
    assert counts(second['output_parameters']) == {'reused': 2}
    assert second['dataset'].frames.energy.tolist() == first['dataset'].frames.energy[[2, 0]].tolist()
    assert not [child for child in node.called if isinstance(child, orm.WorkChainNode)]


@pytest.mark.engines
def test_warnings(inputs_of: InputsOf) -> None:
    """An energy that depends on the description of the cell, and a calculator without stress."""
    dataset = AtomsDatasetData(Frames.from_atoms(copper(1.0, 1.02)))
    inputs = inputs_of('tests.fixtures.odd_calculators:Gamma')
    results, node = run_get_node(LabelWorkChain, dataset=dataset, **inputs)
    assert node.is_finished_ok, node.exit_message
    first, second = results['output_parameters']['warnings']
    assert 'twice the cell differs by -50.0 meV/atom' in first
    assert 'no stress for 2 periodic frames' in second
    assert results['dataset'].frames.stress is None
    assert results['dataset'].is_labelled


@pytest.mark.engines
def test_time_limit_gives_a_second_try(inputs_of: InputsOf) -> None:
    """The frame that hangs is given up with its cause; those after it are labelled in another job."""
    inputs = inputs_of('tests.fixtures.odd_calculators:Odd', how='hangs')
    inputs['calculator']['metadata'] = {'options': {'max_wallclock_seconds': 20}}
    images = [Atoms(f'Ar{count}', [(4.2 * i, 0, 0) for i in range(count)]) for count in (2, 3, 4)]
    results, node = run_get_node(
        LabelWorkChain,
        dataset=AtomsDatasetData(Frames.from_atoms(images)),
        max_failed_fraction=orm.Float(0.5),
        **inputs,
    )
    assert node.is_finished_ok, node.exit_message
    account = results['output_parameters'].get_dict()
    assert counts(account) == {'labelled': 2, 'failed': 1}
    (cause,) = account['failures']
    assert 'time limit' in cause
    assert {label for label in children(node) if 'lane' in label} == {'lane_1', 'robust_lane_1'}
    assert children(children(node)['robust_lane_1'])['batch_001_again'].inputs.dataset.count == 1


def test_settings_by_content(inputs_of: InputsOf) -> None:
    """Calculator, keyword arguments and the content of the teacher decide; how the jobs run does not."""

    def digest(**changed: t.Any) -> str:
        inputs = {**inputs_of()['calculator'], **changed}
        if 'potential' in changed:
            del inputs['parameters']
        return CalculatorLabeller(inputs).settings.digest

    yaml = recorded_potential().get_yaml()
    different = [
        digest(),
        digest(parameters=orm.Dict({'calculator': 'ase.calculators.emt:EMT', 'kwargs': {'asap_cutoff': True}})),
        digest(parameters=orm.Dict({'calculator': 'ase.calculators.lj:LennardJones'})),
        digest(potential=AcePotentialData(yaml)),
        digest(potential=AcePotentialData(yaml, reference_energies={'Si': -1.0})),
    ]
    assert len(set(different)) == len(different)
    assert digest(max_frames_per_job=orm.Int(7)) == digest()
    assert digest(parameters=orm.Dict({'calculator': 'ase.calculators.emt:EMT'})) == digest()
    assert digest(potential=AcePotentialData(yaml)) == digest(potential=AcePotentialData(yaml))


def test_shares_are_even(inputs_of: InputsOf) -> None:
    """No more frames in a job than allowed, and no more jobs than that takes."""
    labeller = CalculatorLabeller(inputs_of(frames=4)['calculator'])
    frames = Frames.from_atoms(copper(*np.linspace(1, 1.1, 11)))
    shares = labeller.shares(frames, [0, 1, 2, 3, 5, 6, 7, 8, 9, 10], 2)
    assert list(shares.values()) == [[0, 1, 2, 3], [5, 6, 7], [8, 9, 10]]


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'calculator': None}, 'no labeller is given: give the inputs of exactly one labeller, `pw` or `calculator`'),
        ({'pw': 'also'}, '`pw` and `calculator` are given: give the inputs of exactly one labeller'),
        ({'parameters': {'calculator': 'EMT'}}, '`parameters`: setting `calculator`'),
        ({'parameters': {'calculator': 'a.b:C', 'kwarg': {}}}, 'unknown setting `kwarg`'),
        ({'parameters': {'calculator': 'a.b:C', 'kwargs': [1]}}, 'setting `kwargs`'),
        ({'potential': recorded_potential}, 'give either `parameters`.*or `potential`'),
        ({'teacher': recorded_potential}, '`dataset` holds Cu, `potential` is for Si'),
        ({'max_frames_per_job': 0}, '`max_frames_per_job` is 0'),
    ],
)
def test_refuses(
    inputs_of: InputsOf, label_inputs: Callable[..., Inputs], changed: dict[str, t.Any], message: str
) -> None:
    inputs = inputs_of()
    given = inputs['calculator']
    for name, value in changed.items():
        if name == 'calculator':
            del inputs['calculator']
        elif name == 'pw':
            inputs['pw'] = label_inputs()['pw']
        elif name == 'teacher':
            del given['parameters']
            given['potential'] = value()
        else:
            given[name] = value() if callable(value) else orm.to_aiida_type(value)
    with pytest.raises(ValueError, match=message):
        run_get_node(LabelWorkChain, dataset=AtomsDatasetData(Frames.from_atoms(copper(1.0))), **inputs)
