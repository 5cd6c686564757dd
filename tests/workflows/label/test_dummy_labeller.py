"""What it takes to add a labeller: one class, its ports and its process; here Lennard-Jones in a work chain."""

from __future__ import annotations

import hashlib
import json
import typing as t
from collections.abc import Mapping

import numpy as np
import pytest
from aiida import orm
from aiida.engine import WorkChain, calcfunction, run_get_node
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from aiida_pace.calculations.functions.labels import Label, frame_key, labelled_dataset
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames
from aiida_pace.workflows.graph import cause_of, children
from aiida_pace.workflows.label.base import LabelWorkChain
from aiida_pace.workflows.label.labeller import Labeller, Result
from aiida_pace.workflows.label.labellers import LABELLERS
from aiida_pace.workflows.label.reuse import Settings
from aiida_pace.workflows.lane.label import LabelLaneWorkChain

pytestmark = pytest.mark.usefixtures('aiida_profile_clean')


@calcfunction
def lennard_jones(structure: orm.StructureData, parameters: orm.Dict) -> orm.ArrayData:
    atoms = structure.get_ase()
    atoms.calc = LennardJones(**parameters.get_dict())
    return orm.ArrayData({'energy': np.array(atoms.get_potential_energy()), 'forces': atoms.get_forces()})


class LennardJonesWorkChain(WorkChain):
    """The program: it knows argon alone."""

    @classmethod
    def define(cls, spec: t.Any) -> None:
        super().define(spec)
        spec.input('structure', valid_type=orm.StructureData)
        spec.input('parameters', valid_type=orm.Dict)
        spec.output('arrays', valid_type=orm.ArrayData)
        spec.exit_code(410, 'ERROR_NO_ARGON', message='it is not argon')
        spec.outline(cls.compute)

    def compute(self) -> t.Any:
        if self.inputs.structure.get_symbols_set() != {'Ar'}:
            return self.exit_codes.ERROR_NO_ARGON
        self.out('arrays', lennard_jones(self.inputs.structure, self.inputs.parameters))
        return None


@calcfunction
def collect(
    dataset: AtomsDatasetData, picks: orm.Dict, reused: AtomsDatasetData | None = None, **sources: orm.ArrayData
) -> AtomsDatasetData:
    chosen = {key: sources[name] for key, (name, _) in picks.get_dict().items()}
    labels = {
        index: Label(float(node.get_array('energy')), node.get_array('forces'), None, node.uuid)
        for index in range(dataset.count)
        if (node := chosen.get(frame_key(index)))
    }
    return labelled_dataset(dataset, labels, reused)


class LennardJonesLabeller(Labeller):
    """The labeller."""

    name = 'lj'
    code = 'none'
    process_class = LennardJonesWorkChain

    @classmethod
    def define(cls, spec: t.Any) -> None:
        options = {'required': False, 'populate_defaults': False}
        spec.expose_inputs(LennardJonesWorkChain, namespace='lj', exclude=('structure',), namespace_options=options)

    @property
    def settings(self) -> Settings:
        return Settings(hashlib.sha256(json.dumps(self.inputs['parameters'].get_dict()).encode()).hexdigest())

    def job_inputs(self, node: orm.StructureData) -> dict[str, t.Any]:
        return {**self.inputs, 'structure': node}

    def results(self, run: orm.ProcessNode, count: int) -> list[Result]:
        return [Result(None if run.is_finished_ok else cause_of(run), costs={'computed': 1.0})]

    def label_node(self, run: orm.ProcessNode) -> orm.Data:
        return run.outputs.arrays

    def collect(self, dataset: t.Any, picks: orm.Dict, reused: t.Any, sources: Mapping[str, t.Any]) -> AtomsDatasetData:
        return collect(dataset, picks, reused, **sources)


class LennardJonesLane(LabelLaneWorkChain):
    """A lane with the labeller."""

    labellers = {**LABELLERS, 'lj': LennardJonesLabeller}  # noqa: RUF012


class LabelWithLennardJones(LabelWorkChain):
    """A labelling with the labeller."""

    labellers = LennardJonesLane.labellers
    lane = LennardJonesLane


def test_another_labeller() -> None:
    """Guards, lanes, reuse, causes and the account come with it."""
    images = [bulk('Ar', a=5.3), bulk('Ne', a=4.4), Atoms('Ar2', [(0, 0, 0), (0, 0, 3.8)]), Atoms('Ar2')]
    dataset = AtomsDatasetData(Frames.from_atoms(images))
    parameters = {'sigma': 3.4, 'epsilon': 0.0104, 'rc': 8.0}
    inputs = {'lj': {'parameters': orm.Dict(parameters)}, 'max_concurrent': orm.Int(2)}
    results, node = run_get_node(LabelWithLennardJones, dataset=dataset, **inputs)
    assert node.is_finished_ok, node.exit_message
    account = results['output_parameters'].get_dict()
    assert (account['requested'], account['labelled'], account['failed'], account['rejected']) == (4, 2, 1, 1)
    assert account['failures'] == {'it is not argon': ['frame_00001']}
    assert account['core_seconds'] == 3.0
    assert {'lane_1', 'lane_2'} <= set(children(node))
    frames = results['dataset'].frames
    for index, atoms in enumerate((images[0], images[2])):
        atoms.calc = LennardJones(**parameters)
        assert frames.energy[index] == pytest.approx(atoms.get_potential_energy())

    again, _ = run_get_node(LabelWithLennardJones, dataset=results['dataset'], **inputs)
    assert again['output_parameters']['reused'] == 2


def test_just_one_labeller() -> None:
    dataset = AtomsDatasetData(Frames.from_atoms([bulk('Ar')]))
    with pytest.raises(ValueError, match=r'no labeller is given: .*`pw` or `calculator` or `lj`'):
        run_get_node(LabelWithLennardJones, dataset=dataset)
