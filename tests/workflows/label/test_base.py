"""Labelling, with the real pw.x."""

from __future__ import annotations

import re
import subprocess
import typing as t
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from aiida.plugins import DataFactory
from ase import Atoms
from ase.build import bulk

from aiida_pace.calculations.functions.labels import OUTCOMES, quarantine_labels, separate_labels, split_structures
from aiida_pace.config import TrainingConfig
from aiida_pace.formats.quantumespresso import settings as pw_settings
from aiida_pace.formats.quantumespresso.output import cpu_seconds
from aiida_pace.frames import AUDIT, Frames
from aiida_pace.structures.fingerprint import exact_fingerprints
from aiida_pace.training.training_set import training_set
from aiida_pace.workflows.graph import children, jobs_of
from aiida_pace.workflows.label.base import LabelWorkChain
from aiida_pace.workflows.label.quantumespresso import PwLabeller
from aiida_pace.workflows.label.reuse import LABELS_EXTRA, index_labels, stored_labels

AtomsDatasetData = DataFactory('pace.dataset')
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


def counts(account: t.Any) -> tuple[int, dict[str, int]]:
    """Return how many frames were requested, and what became of them; they must add up."""
    ends = {name: account[name] for name in OUTCOMES if account[name]}
    assert account['requested'] == sum(ends.values())
    return account['requested'], ends


def dft_runs(node: orm.WorkChainNode) -> list[orm.WorkChainNode]:
    return [run for lane in node.called if 'Lane' in lane.process_label for run in lane.called]


@pytest.mark.engines
def test_label(label_inputs: LabelInputs) -> None:
    """Frames that work are labelled, in order; one that fails is counted and named, and sinks no other."""
    atom = Atoms('Si', cell=[6.0, 6.0, 6.0], positions=[[3, 3, 3]])
    # The shortest that the initial set has: 0.7 of the bond.
    dimer = Atoms('Si2', cell=[6.0, 6.0, 7.6], positions=[[3, 3, 3], [3, 3, 4.64]])
    images = [atom, silicon(0.92), overlapping(), silicon(1.06, displacement=0.2), dimer]
    dataset = AtomsDatasetData(
        Frames.from_atoms(images, origin=['isolated_atom', 'small', 'overlap', 'large', 'dimer'])
    )
    results, node = run_get_node(LabelWorkChain, dataset=dataset, closest=orm.Float(0.0), **label_inputs())

    assert node.is_finished_ok, node.exit_message
    labelled = results['dataset'].frames
    assert list(labelled.origin) == ['isolated_atom', 'small', 'large', 'dimer']
    np.testing.assert_array_equal(labelled.positions, dataset.frames.take([0, 1, 3, 4]).positions)

    account = results['output_parameters'].get_dict()
    assert counts(account) == (5, {'labelled': 4, 'failed': 1})
    assert list(account['failures'].values()) == [['frame_00002']]
    assert account['core_seconds'] > 0
    assert (account['core_seconds_cached'], account['core_seconds_reused']) == (0, 0)
    # What pw.x refuses is no matter of the SCF: no second try.
    assert not [label for label in children(node) if label.startswith('robust')]

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


def all_electron_spin_energy(element: str, shell: str, folder: Path) -> float:
    """Energy in eV that spin takes off a spherical atom in the local density approximation, with all electrons.

    By ld1.x of Quantum ESPRESSO: radial equations, no pseudopotential, no box.
    """
    energies = []
    for spin in (0, 1):
        text = f"&input title='{element}', atom='{element}', iswitch=1, dft='PZ', lsd={spin}, config='{shell}' /\n"
        done = subprocess.run(['ld1.x'], input=text, cwd=folder, capture_output=True, text=True, check=True, timeout=60)
        energies.append(float(re.findall(r'Etot =.* (\S+) eV', done.stdout)[-1]))
    return energies[1] - energies[0]


@pytest.mark.engines
@pytest.mark.slow
def test_isolated_atoms_have_the_spin_of_the_free_atom(label_inputs: LabelInputs, tmp_path: Path) -> None:
    """With spin the energy is lower by what all electrons say, and it is what the training pins."""
    elements = {'Si': '[Ne] 3s2 3p2', 'Al': '[Ne] 3s2 3p1'}
    atoms = [Atoms(element, cell=[9.0, 9.0, 9.0], positions=[[4.5, 4.5, 4.5]]) for element in elements]
    dataset = AtomsDatasetData(Frames.from_atoms([*atoms, bulk('Si', a=5.4)], origin='isolated_atom'))
    inputs = label_inputs('Al', 'Si')
    results, node = run_get_node(LabelWorkChain, dataset=dataset, **inputs)
    assert node.is_finished_ok, node.exit_message
    # Without spin when the user says so.
    parameters = inputs['pw']['pw']['parameters'].get_dict()
    parameters['SYSTEM'] = parameters['SYSTEM'] | {'nspin': 1}
    inputs['pw']['pw']['parameters'] = orm.Dict(parameters)
    unpolarised, _ = run_get_node(LabelWorkChain, dataset=dataset, **inputs)
    energies, without = results['dataset'].frames.energy, unpolarised['dataset'].frames.energy
    assert energies is not None
    assert without is not None
    for index, (element, shell) in enumerate(elements.items()):
        expected = all_electron_spin_energy(element, shell, tmp_path)
        assert energies[index] - without[index] == pytest.approx(expected, abs=0.06), element
    assert energies[2] == pytest.approx(without[2], abs=1e-4), 'the crystal must run as before'

    chosen = training_set(results['dataset'].frames, TrainingConfig())
    assert chosen.reference_energies == {'Al': energies[1], 'Si': energies[0]}

    jobs = jobs_of(lane for label, lane in children(node).items() if label.startswith('lane'))
    for key in ('frame_00000', 'frame_00001'):
        runs = [job for job in jobs[key].called if isinstance(job, orm.CalcJobNode)]
        assert len(runs) == 1, 'the check of the bands must not ask for a second run'
        assert runs[0].inputs.kpoints.get_kpoints_mesh()[0] == [1, 1, 1]


@pytest.mark.engines
def test_label_too_many_failures(label_inputs: LabelInputs) -> None:
    """Above the limit the step fails with the causes, and still hands over what was labelled."""
    dataset = AtomsDatasetData(Frames.from_atoms([silicon(), overlapping()]))
    inputs = label_inputs()
    results, node = run_get_node(
        LabelWorkChain, dataset=dataset, max_failed_fraction=orm.Float(0.4), closest=orm.Float(0.0), **inputs
    )
    assert node.exit_status == LabelWorkChain.exit_codes.ERROR_LABELS_FAILED.status
    assert '1 of 2 frames' in node.exit_message
    assert results['dataset'].count == 1


@pytest.mark.engines
def test_no_label_is_computed_twice(label_inputs: LabelInputs) -> None:
    """By another labelling with other nodes of the same content: not even one that was put into quarantine."""
    known, implausible, new = silicon(), silicon(1.06, displacement=0.3), silicon(0.95)
    dataset = AtomsDatasetData(Frames.from_atoms([known, implausible]))
    first, node = run_get_node(LabelWorkChain, dataset=dataset, max_force=orm.Float(0.5), **label_inputs())
    assert node.is_finished_ok
    account = first['output_parameters'].get_dict()
    assert counts(account) == (2, {'labelled': 1, 'rejected': 1})
    assert account['rejections'] == {'implausible force': ['frame_00001']}
    assert (first['dataset'].count, first['quarantined'].count) == (1, 1)
    assert first['quarantined'].frames.positions[0, 0] == 0.3
    spent = account['core_seconds']

    dataset = AtomsDatasetData(Frames.from_atoms([implausible, new, known], origin=['implausible', 'new', 'known']))
    second, node = run_get_node(LabelWorkChain, dataset=dataset, **label_inputs())
    account = second['output_parameters'].get_dict()
    assert counts(account) == (3, {'labelled': 1, 'reused': 2})
    assert account['core_seconds_reused'] == pytest.approx(spent)
    assert [run.inputs.pw.structure.get_ase().cell[0, 1] for run in dft_runs(node)] == [pytest.approx(2.7 * 0.95)]
    frames = second['dataset'].frames
    assert frames.origin.tolist() == ['implausible', 'new', 'known']
    np.testing.assert_array_equal(frames.forces[:2], first['quarantined'].frames.forces)
    assert frames.energy[2] == first['dataset'].frames.energy[0]
    # The link to the origin.
    reuse = next(child for child in node.called if child.process_label == 'reuse_labels')
    assert {first['dataset'].uuid, first['quarantined'].uuid} <= {link.node.uuid for link in links_to(reuse)}
    assert second['dataset'].creator.inputs.reused == reuse.outputs.result
    assert frames.label_uuid[2] == first['dataset'].frames.label_uuid[0]

    third, node = run_get_node(LabelWorkChain, dataset=dataset, **label_inputs())
    assert node.is_finished_ok
    account = third['output_parameters'].get_dict()
    assert counts(account) == (3, {'reused': 3})
    assert account['core_seconds'] == 0
    assert account['core_seconds_reused'] > spent
    assert not [child for child in node.called if isinstance(child, orm.WorkChainNode)]
    np.testing.assert_array_equal(third['dataset'].frames.forces, frames.forces)

    # AiiDA's own cache is another way not to compute.
    with enable_caching(identifier='aiida.calculations:quantumespresso.pw'):
        fourth, node = run_get_node(LabelWorkChain, dataset=dataset, reuse=orm.Bool(False), **label_inputs())
    account = fourth['output_parameters'].get_dict()
    assert counts(account) == (3, {'cached': 3})
    assert account['core_seconds'] == 0
    assert account['core_seconds_cached'] == pytest.approx(third['output_parameters']['core_seconds_reused'])


def links_to(node: orm.ProcessNode) -> list[t.Any]:
    return node.base.links.get_incoming(node_class=orm.Data).all()


@pytest.mark.engines
def test_runs_of_a_killed_labelling_are_reused(label_inputs: LabelInputs) -> None:
    """A labelling that was killed has no data set: the runs that it finished count all the same."""
    dataset = AtomsDatasetData(Frames.from_atoms([silicon(), silicon(1.03)]))
    first, node = run_get_node(LabelWorkChain, dataset=dataset, **label_inputs())
    # What a kill leaves: the labels were never collected. The node is sealed, hence by the back door.
    node.backend_entity.set_attribute('process_state', 'killed')
    first['dataset'].base.extras.delete(LABELS_EXTRA)

    dataset = AtomsDatasetData(Frames.from_atoms([silicon(1.03), silicon(0.97)]))
    second, node = run_get_node(LabelWorkChain, dataset=dataset, **label_inputs())
    account = second['output_parameters'].get_dict()
    assert counts(account) == (2, {'labelled': 1, 'reused': 1})
    assert account['core_seconds_reused'] > 0
    assert second['dataset'].frames.energy[0] == first['dataset'].frames.energy[1]
    collect = second['dataset'].creator
    assert collect.inputs.frame_00000.uuid == first['dataset'].frames.label_uuid[1]


@pytest.mark.engines
@pytest.mark.parametrize('mended', [True, False])
def test_second_try(label_inputs: LabelInputs, monkeypatch: pytest.MonkeyPatch, mended: bool) -> None:
    """An SCF that is given too few steps fails, for real; the second try converges, or is named as the second."""
    if not mended:
        monkeypatch.setitem(pw_settings.ROBUST_ELECTRONS, 'electron_maxstep', 1)
    inputs = label_inputs()
    parameters = inputs['pw']['pw']['parameters'].get_dict()
    parameters['ELECTRONS']['electron_maxstep'] = 1
    inputs['pw'] |= {'pw': {**inputs['pw']['pw'], 'parameters': orm.Dict(parameters)}, 'max_iterations': orm.Int(1)}
    dataset = AtomsDatasetData(Frames.from_atoms([silicon()]))
    results, node = run_get_node(LabelWorkChain, dataset=dataset, **inputs)
    account = results['output_parameters'].get_dict()
    first, second = dft_runs(node)
    assert not first.is_finished_ok
    electrons = second.inputs.pw.parameters['ELECTRONS']
    assert (electrons['diagonalization'], electrons['mixing_beta']) == ('cg', 0.2)
    assert second.inputs.pw.parameters['SYSTEM'] == parameters['SYSTEM']
    if mended:
        assert node.is_finished_ok
        assert counts(account) == (1, {'labelled': 1})
        # The same settings as far as labels go: it is found as one of theirs.
        assert stored_labels(PwLabeller(inputs['pw']).settings, dataset.frames, [0])
    else:
        assert node.exit_status == LabelWorkChain.exit_codes.ERROR_LABELS_FAILED.status
        assert counts(account) == (1, {'failed': 1})
        (cause,) = account['failures']
        assert cause.endswith('(after two tries)')
        assert 'did not reach self-consistency' in cause
    jobs = [job for run in (first, second) for job in run.called if isinstance(job, orm.CalcJobNode)]
    seconds = [cpu_seconds(job.outputs.retrieved.base.repository.get_object_content('aiida.out')) for job in jobs]
    assert account['core_seconds'] == pytest.approx(sum(seconds))


def test_frames_unfit_for_dft_are_rejected(label_inputs: LabelInputs) -> None:
    """Before any DFT, counted by cause; a step whose frames are all rejected is no failure."""
    turned = silicon()
    turned.rotate(30, 'z', rotate_cell=True)
    dataset = AtomsDatasetData(Frames.from_atoms([overlapping(), turned, silicon(), silicon(1.01)]))
    frames = dataset.frames
    placeholder = AtomsDatasetData(
        frames.replace(energy=np.full(4, -200.0), forces=np.zeros((8, 3)), stress=np.zeros((4, 6)))
    ).store()
    inputs = label_inputs()
    costs = {digest.hex(): 1.0 for digest in exact_fingerprints(frames)}
    index_labels(placeholder, PwLabeller(inputs['pw']).settings, costs)  # so that what passes needs no DFT
    results, node = run_get_node(LabelWorkChain, dataset=dataset, duplicate_tolerance=orm.Float(0.005), **inputs)
    assert node.is_finished_ok
    account = results['output_parameters'].get_dict()
    assert counts(account) == (4, {'reused': 2, 'rejected': 2})
    assert account['rejections'] == {'near duplicate': ['frame_00002'], 'short distance': ['frame_00000']}

    dataset = AtomsDatasetData(Frames.from_atoms([overlapping()]))
    results, node = run_get_node(LabelWorkChain, dataset=dataset, **inputs)
    assert node.is_finished_ok
    assert counts(results['output_parameters']) == (1, {'rejected': 1})
    assert 'dataset' not in results


def test_label_refuses_element_without_pseudo(label_inputs: LabelInputs) -> None:
    dataset = AtomsDatasetData(Frames.from_atoms([bulk('Al')]))
    with pytest.raises(ValueError, match='no pseudopotential for Al'):
        run_get_node(LabelWorkChain, dataset=dataset, **label_inputs())


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('max_concurrent', 0),
        ('max_failed_fraction', 1.5),
        ('closest', 2.0),
        ('duplicate_tolerance', -0.1),
        ('max_force', -1.0),
        ('min_energy', 60.0),
    ],
)
def test_label_refuses_senseless_numbers(label_inputs: LabelInputs, name: str, value: float) -> None:
    dataset = AtomsDatasetData(Frames.from_atoms([silicon()]))
    with pytest.raises(ValueError, match=f'`{name}` is'):
        run_get_node(LabelWorkChain, **{**label_inputs(), 'dataset': dataset, name: orm.to_aiida_type(value)})


def test_label_refuses_what_moves_the_atoms(label_inputs: LabelInputs) -> None:
    """The last step of a relaxation is the label of another frame."""
    inputs = label_inputs()
    parameters = inputs['pw']['pw']['parameters'].get_dict()
    parameters['CONTROL']['calculation'] = 'relax'
    inputs['pw']['pw']['parameters'] = orm.Dict(parameters)
    with pytest.raises(ValueError, match='a label needs scf'):
        run_get_node(LabelWorkChain, dataset=AtomsDatasetData(Frames.from_atoms([silicon()])), **inputs)


def test_split_structures() -> None:
    frames = Frames.from_atoms([silicon(1.01, 0.1), Atoms('Si', cell=[6.0, 6.0, 6.0])])
    structures = split_structures(AtomsDatasetData(frames), orm.List([0, 1]))
    assert sorted(structures) == ['frame_00000', 'frame_00001']
    crystal, atom = structures['frame_00000'].get_ase(), structures['frame_00001'].get_ase()
    # AiiDA rounds the numbers of a `StructureData` to 14 digits.
    np.testing.assert_allclose(crystal.positions, frames.positions[:2], rtol=1e-13)
    np.testing.assert_allclose(crystal.cell.array, frames.cells[0], rtol=1e-13)
    assert not atom.pbc.any()


def test_labels_of_an_audit_come_apart() -> None:
    """In one step, so that no label is stored twice; also where some are put into quarantine."""
    images = [silicon(scale) for scale in (1.0, 1.02, 1.04, 1.06)]
    frames = Frames.from_atoms(images, origin=['halt', AUDIT, 'random', AUDIT])
    frames = frames.replace(energy=-np.arange(4.0), forces=np.zeros((8, 3)))
    labels = separate_labels(AtomsDatasetData(frames))
    assert {name: node.frames.energy.tolist() for name, node in labels.items()} == {
        'dataset': [0.0, -2.0],
        'audit': [-1.0, -3.0],
    }
    # The order is that of the names: first the two of the audit.
    parts = quarantine_labels(orm.List([0, 1, 3]), **labels)
    assert {name: node.frames.energy.tolist() for name, node in parts.items()} == {
        'quarantined': [-1.0, -3.0, -2.0],
        'dataset': [0.0],
    }
