"""What becomes of the cell of a frame on its way to DFT."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import DataFactory
from ase import Atoms
from ase.build import bulk, molecule

from aiida_pace.calculations.functions.labels import VACUUM, split_structures
from aiida_pace.frames import Frames
from aiida_pace.workflows.graph import children, jobs_of
from aiida_pace.workflows.label.base import LabelWorkChain

AtomsDatasetData = DataFactory('pace.dataset')

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


def silicon(combination: tuple[int, int, int] = (0, 0, 1)) -> Atoms:
    """Return displaced silicon whose third vector is a combination of those of its primitive cell."""
    atoms = bulk('Si', a=5.3)
    atoms.positions[1] += [0.15, 0.05, 0.02]
    cell = atoms.cell.array
    atoms.set_cell([cell[0], cell[1], np.array(combination) @ cell])
    return atoms


def test_structures_have_the_lattice_and_the_places_of_their_frames() -> None:
    plain, skewed = silicon(), silicon((4, -5, 1))
    frames = Frames.from_atoms([plain, skewed, molecule('SiH4')])
    structures = split_structures(AtomsDatasetData(frames), orm.List([0, 1, 2]))
    first, second, third = (structures[key].get_ase() for key in sorted(structures))
    np.testing.assert_allclose(first.cell.array, plain.cell.array, rtol=1e-13)
    # AiiDA rounds the numbers of a `StructureData` to 14 digits.
    np.testing.assert_allclose(second.positions, skewed.positions, rtol=1e-13)
    assert second.cell.lengths() == pytest.approx(plain.cell.lengths())
    change = second.cell.array @ np.linalg.inv(skewed.cell.array)
    np.testing.assert_allclose(change, np.rint(change), atol=1e-9)
    assert not third.pbc.any()
    assert third.cell.lengths() == pytest.approx(np.ptp(molecule('SiH4').positions, axis=0) + VACUUM)


@pytest.mark.engines
def test_labels_of_a_skewed_cell_and_of_a_molecule_without_one(label_inputs: Callable[..., dict[str, t.Any]]) -> None:
    """The same crystal in two cells has the same label, from the same mesh; a molecule is labelled in a box."""
    dimer = Atoms('Si2', positions=[[0, 0, 0], [0, 0, 2.3]])
    dataset = AtomsDatasetData(Frames.from_atoms([silicon(), silicon((4, -5, 1)), dimer]))
    results, node = run_get_node(LabelWorkChain, dataset=dataset, **label_inputs())
    assert node.is_finished_ok, node.exit_message
    labelled = results['dataset'].frames
    np.testing.assert_array_equal(labelled.cells, dataset.frames.cells)
    assert labelled.energy is not None
    assert labelled.forces is not None
    assert labelled.stress is not None
    assert np.abs(labelled.forces[0]).max() > 0.5
    assert labelled.energy[1] == pytest.approx(labelled.energy[0], abs=1e-4)
    np.testing.assert_allclose(labelled.forces[2:4], labelled.forces[:2], atol=1e-3)
    np.testing.assert_allclose(labelled.stress[1], labelled.stress[0], atol=1e-4)
    # The molecule pulls or pushes along its axis only.
    np.testing.assert_allclose(labelled.forces[4:, :2], 0, atol=1e-3)
    np.testing.assert_allclose(labelled.forces[4], -labelled.forces[5], atol=1e-3)
    runs = jobs_of(lane for label, lane in children(node).items() if label.startswith('lane'))
    jobs = {key: next(job for job in run.called if isinstance(job, orm.CalcJobNode)) for key, run in runs.items()}
    meshes = [jobs[key].inputs.kpoints.get_kpoints_mesh()[0] for key in sorted(jobs)]
    assert np.prod(meshes[0]) == np.prod(meshes[1])
    assert meshes[2] == [1, 1, 1]
