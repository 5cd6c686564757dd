"""Calcfunctions from structures to the frames that tell their properties, and from these to a comparison with DFT."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from ase import Atoms

from aiida_pace.config import PropertyTolerances, ValidationConfig
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames
from aiida_pace.metrics.properties import PropertyError
from aiida_pace.metrics.validation import compare_properties, crystal_properties, equilibrium, judge_properties
from aiida_pace.structures.crystal import SpaceGroup, standard_primitive
from aiida_pace.structures.deformations import response_frames, volume_frames
from aiida_pace.structures.fingerprint import duplicate_indices
from aiida_pace.structures.kpoints import steady_distance

__all__ = ('choose_kpoints_distance', 'make_response_frames', 'make_volume_frames', 'summarise_validation')

#: Units of the deviations that gates judge.
UNITS = {'lattice_constant': '%', 'bulk_modulus': '%', 'elastic_constants': '%', 'phonons': 'THz'}


@calcfunction
def make_volume_frames(parameters: orm.Dict, **structures: orm.StructureData) -> AtomsDatasetData:
    """Return the frames of the equations of state of all structures.

    :param parameters: settings of ``ValidationConfig``.
    :param structures: by ``structure__<name>``.
    """
    config = ValidationConfig.model_validate(parameters.get_dict())
    crystals = _crystals(structures, config)
    return _dataset({name: volume_frames(crystal, config) for name, crystal in crystals.items()})


@calcfunction
def choose_kpoints_distance(
    parameters: orm.Dict, kpoints_distance: orm.Float, **structures: orm.StructureData
) -> orm.Float:
    """Return a distance between k-points, at most the given one, at which all frames of a crystal have one mesh.

    :param parameters: settings of ``ValidationConfig``.
    :param structures: by ``structure__<name>``.
    """
    config = ValidationConfig.model_validate(parameters.get_dict())
    stretch = 1 - (1 - config.volume_range) ** (1 / 3) + config.strain
    return orm.Float(steady_distance(_crystals(structures, config).values(), kpoints_distance.value, stretch))


@calcfunction
def make_response_frames(
    parameters: orm.Dict, labels: AtomsDatasetData, **structures: orm.StructureData
) -> dict[str, AtomsDatasetData]:
    """Return as ``dataset`` the strained and displaced frames of all structures at their volume of lowest energy.

    Structures whose labels tell no equation of state are left out; without any there is no data set.

    :param parameters: settings of ``ValidationConfig``.
    :param labels: labelled frames of `make_volume_frames`.
    :param structures: by ``structure__<name>``.
    """
    config = ValidationConfig.model_validate(parameters.get_dict())
    images = {}
    for name, crystal in _crystals(structures, config).items():
        at_rest = _at_rest(crystal, config, labels.frames)
        images[name] = [] if at_rest is None else response_frames(at_rest, config)
    return {'dataset': _dataset(images)} if any(images.values()) else {}


@calcfunction
def summarise_validation(parameters: orm.Dict, tolerances: orm.Dict, **nodes: t.Any) -> dict[str, orm.Dict]:
    """Return the properties of all structures under both methods as ``output_parameters``, and the ``gates``.

    :param parameters: settings of ``ValidationConfig``.
    :param tolerances: settings of ``PropertyTolerances``.
    :param nodes: ``structure__<name>``; and of the steps ``volumes`` and ``responses``, as far as there are any,
        ``frames__<step>``, their ``labels__<step>`` and ``account__<step>``, and their ``evaluation__<step>``.
    """
    config = ValidationConfig.model_validate(parameters.get_dict())
    limits = PropertyTolerances.model_validate(tolerances.get_dict())
    labels = {step: nodes[f'labels__{step}'].frames for step in ('volumes', 'responses') if f'labels__{step}' in nodes}
    evaluated = {
        step: _evaluated(nodes[f'frames__{step}'].frames, nodes[f'evaluation__{step}'])
        for step in ('volumes', 'responses')
        if f'evaluation__{step}' in nodes
    }
    report: dict[str, t.Any] = {}
    gates: dict[str, t.Any] = {}
    for name, crystal in _crystals(nodes, config).items():
        at_rest = _at_rest(crystal, config, labels['volumes'])
        dft, potential = (
            crystal_properties(crystal, config, frames['volumes'], at_rest, frames.get('responses'))
            for frames in (labels, evaluated)
        )
        comparison = compare_properties(dft, potential)
        gates[name] = judge_properties(comparison, limits, config)
        report[name] = {
            'formula': crystal.get_chemical_formula(),
            'space_group': SpaceGroup.of(crystal, config.symmetry_tolerance).name,
            **comparison,
            'errors': {'dft': dft.errors, 'potential': potential.errors},
        }
    summary: dict[str, t.Any] = {'structures': report}
    summary['core_seconds'] = sum(node['core_seconds'] for key, node in nodes.items() if key.startswith('account__'))
    grades = [float(frames.grade.max()) for frames in evaluated.values() if frames.grade is not None]
    if grades:
        summary['max_grade'] = max(grades)
    failed = [
        _sentence(name, prop, gate) for name, each in gates.items() for prop, gate in each.items() if not gate['passed']
    ]
    return {
        'output_parameters': orm.Dict(summary),
        'gates': orm.Dict({'passed': not failed, 'failed': failed, 'structures': gates}),
    }


def _crystals(nodes: Mapping[str, t.Any], config: ValidationConfig) -> dict[str, Atoms]:
    """Return the primitive cells of the structures among ``nodes``, by name."""
    structures = {key.removeprefix('structure__'): nodes[key] for key in sorted(nodes) if key.startswith('structure__')}
    return {name: standard_primitive(node.get_ase(), config.symmetry_tolerance) for name, node in structures.items()}


def _at_rest(crystal: Atoms, config: ValidationConfig, labels: Frames) -> Atoms | None:
    """Return the crystal at its volume of lowest energy by DFT, or None when the labels tell no such."""
    try:
        return equilibrium(crystal, config, labels)
    except PropertyError:
        return None


def _dataset(images: Mapping[str, list[Atoms]]) -> AtomsDatasetData:
    """Return one data set of the frames of all structures; what two of them share is there once."""
    parts = [
        Frames.from_atoms(atoms).replace(origin=[f'validation/{name}/{one.info["origin"]}' for one in atoms])
        for name, atoms in images.items()
        if atoms
    ]
    frames = Frames.concatenate(parts)
    return AtomsDatasetData(frames.take(np.setdiff1d(np.arange(len(frames)), duplicate_indices(frames))))


def _evaluated(frames: Frames, evaluation: orm.ArrayData) -> Frames:
    """Return the frames with what a potential says of them as labels."""
    names = [name for name in ('energy', 'forces', 'stress', 'grade') if name in evaluation.get_arraynames()]
    return frames.replace(**{name: evaluation.get_array(name) for name in names})


def _sentence(name: str, prop: str, gate: Mapping[str, t.Any]) -> str:
    """Return what a gate found that did not pass."""
    unit = UNITS[prop]
    found = 'unknown' if gate['deviation'] is None else f'off by {gate["deviation"]:.2g} {unit}'
    return f'{name}: {prop.replace("_", " ")} {found}, allowed are {gate["tolerance"]:g} {unit}'
