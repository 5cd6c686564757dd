"""Labelling, with the real pw.x."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import DataFactory, WorkflowFactory
from ase import Atoms
from ase.build import bulk

from aiida_pace.calculations.functions.labels import collect_labels, split_structures, voigt_stress
from aiida_pace.frames import Frames
from aiida_pace.workflows.lane import children, jobs_of

AtomsDatasetData = DataFactory('pace.dataset')
LabelWorkChain = WorkflowFactory('pace.label')
LabelInputs = Callable[..., dict[str, t.Any]]

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


def silicon(scale: float = 1.0, displacement: float = 0.0) -> Atoms:
    atoms = bulk('Si', a=5.4 * scale)
    atoms.positions[0, 0] += displacement
    return atoms


def overlapping() -> Atoms:
    """Two atoms in one place: pw.x itself refuses this one."""
    atoms = silicon()
    atoms.positions[1] = atoms.positions[0]
    return atoms


@pytest.mark.engines
def test_label(label_inputs: LabelInputs) -> None:
    """Frames that work are labelled, in order; one that fails is counted and named, and sinks no other."""
    atom = Atoms('Si', cell=[6.0, 6.0, 6.0], positions=[[3, 3, 3]])
    images = [atom, silicon(0.92), overlapping(), silicon(1.06, displacement=0.2)]
    dataset = AtomsDatasetData(Frames.from_atoms(images, origin=['isolated_atom', 'small', 'overlap', 'large']))
    results, node = run_get_node(LabelWorkChain, dataset=dataset, closest=orm.Float(0.0), **label_inputs())

    assert node.is_finished_ok, node.exit_message
    labelled = results['dataset'].frames
    assert list(labelled.origin) == ['isolated_atom', 'small', 'large']
    np.testing.assert_array_equal(labelled.positions, dataset.frames.take([0, 1, 3]).positions)

    account = results['output_parameters'].get_dict()
    assert (account['requested'], account['labelled'], account['failed']) == (4, 3, 1)
    assert list(account['failures'].values()) == [['frame_00002']]
    assert account['core_seconds'] > 0

    # The stress has ASE's sign: compressed silicon is negative, stretched silicon positive.
    assert labelled.stress is not None
    assert labelled.stress[1, :3].max() < -0.01
    assert labelled.stress[2, :3].min() > 0.01
    # An atom pushed along +x towards its neighbours is pushed back, and the forces add up to zero.
    assert labelled.forces is not None
    forces = labelled.forces[labelled.atoms_slice(2)]
    assert forces[0, 0] < -0.5
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-3)

    runs = jobs_of(lane for label, lane in children(node).items() if label.startswith('lane'))
    assert labelled.energy is not None
    # AiiDA rounds the numbers of a `Dict` to 14 digits.
    assert labelled.energy[2] == pytest.approx(runs['frame_00003'].outputs.output_parameters['energy'], rel=1e-13)
    assert orm.load_node(str(labelled.label_uuid[2])) == runs['frame_00003'].outputs.output_trajectory
    # A frame without periodic directions is sampled at Gamma only.
    kpoints = next(job for job in runs['frame_00000'].called if isinstance(job, orm.CalcJobNode)).inputs.kpoints
    assert kpoints.get_kpoints_mesh()[0] == [1, 1, 1]


@pytest.mark.engines
def test_label_too_many_failures(label_inputs: LabelInputs) -> None:
    """Above the limit the step fails with the causes, and still hands over what was labelled."""
    dataset = AtomsDatasetData(Frames.from_atoms([silicon(), overlapping()]))
    inputs = label_inputs()
    results, node = run_get_node(LabelWorkChain, dataset=dataset, max_failed_fraction=orm.Float(0.4), closest=orm.Float(0.0), **inputs)
    assert node.exit_status == LabelWorkChain.exit_codes.ERROR_LABELS_FAILED.status
    assert '1 of 2 frames' in node.exit_message
    assert results['dataset'].count == 1


def test_label_refuses_element_without_pseudo(label_inputs: LabelInputs) -> None:
    dataset = AtomsDatasetData(Frames.from_atoms([bulk('Al')]))
    with pytest.raises(ValueError, match='no pseudopotential for Al'):
        run_get_node(LabelWorkChain, dataset=dataset, **label_inputs())


@pytest.mark.parametrize(('name', 'value'), [('max_concurrent', 0), ('max_failed_fraction', 1.5)])
def test_label_refuses_senseless_numbers(label_inputs: LabelInputs, name: str, value: float) -> None:
    dataset = AtomsDatasetData(Frames.from_atoms([silicon()]))
    with pytest.raises(ValueError, match=f'`{name}` is'):
        run_get_node(LabelWorkChain, **{**label_inputs(), 'dataset': dataset, name: orm.to_aiida_type(value)})


def test_split_structures() -> None:
    frames = Frames.from_atoms([silicon(1.01, 0.1), Atoms('Si', cell=[6.0, 6.0, 6.0])])
    structures = split_structures(AtomsDatasetData(frames), orm.List([0, 1]))
    assert sorted(structures) == ['frame_00000', 'frame_00001']
    crystal, atom = structures['frame_00000'].get_ase(), structures['frame_00001'].get_ase()
    # AiiDA rounds the numbers of a `StructureData` to 14 digits.
    np.testing.assert_allclose(crystal.positions, frames.positions[:2], rtol=1e-13)
    np.testing.assert_allclose(crystal.cell.array, frames.cells[0], rtol=1e-13)
    assert not atom.pbc.any()


def test_voigt_stress() -> None:
    """Against ASE's own conversion of the full tensor."""
    tensor = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]])
    np.testing.assert_allclose(voigt_stress(tensor) * 160.21766208, -np.array([1, 4, 6, 5, 3, 2]), rtol=1e-7)


def test_collect_labels_keeps_the_last_step() -> None:
    """A trajectory may hold several steps: the last one is the frame's."""
    dataset = AtomsDatasetData(Frames.from_atoms([silicon(), silicon(1.1)]))
    trajectory = orm.ArrayData()
    trajectory.set_array('energy', np.array([-1.0, -2.0]))
    trajectory.set_array('forces', np.stack([np.zeros((2, 3)), np.ones((2, 3))]))
    trajectory.set_array('stress', np.stack([np.zeros((3, 3)), np.eye(3)]))
    labelled = collect_labels(dataset, frame_00001=trajectory).frames
    assert len(labelled) == 1
    assert labelled.energy is not None
    assert labelled.energy[0] == -2.0
    np.testing.assert_array_equal(labelled.positions, dataset.frames.take([1]).positions)
    assert labelled.label_uuid[0] == trajectory.uuid
