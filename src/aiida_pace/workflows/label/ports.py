"""Inputs, outputs and exit codes of `LabelWorkChain`."""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Mapping

from aiida import orm
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_pace.config import CLOSEST
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.workflows.label.labeller import Labeller, choose_labeller
from aiida_pace.workflows.validators import validate_fraction, validate_positive

__all__ = ('define_ports',)


def define_ports(spec: WorkChainSpec, labellers: Mapping[str, type[Labeller]]) -> None:
    """Declare the ports of a labelling.

    :param labellers: that can be chosen from, by the namespace of their inputs.
    """
    spec.input('dataset', valid_type=AtomsDatasetData, help='The frames to label.')
    spec.input(
        'max_concurrent',
        valid_type=orm.Int,
        default=lambda: orm.Int(2),
        validator=validate_positive,
        help='Number of jobs that run at the same time. `core.direct` has no queue: give at most the number of cores '
        'there.',
    )
    spec.input(
        'max_failed_fraction',
        valid_type=orm.Float,
        default=lambda: orm.Float(0.3),
        validator=validate_fraction,
        help='Share of the frames that may fail before the whole step counts as failed.',
    )
    spec.input(
        'reuse',
        valid_type=orm.Bool,
        default=lambda: orm.Bool(True),
        help='Whether to reuse labels of the same frames with the same settings in this profile; give False to '
        'compare runs.',
    )
    spec.input(
        'closest',
        valid_type=orm.Float,
        default=lambda: orm.Float(CLOSEST),
        validator=validate_fraction,
        help='Frames with a distance below this times the sum of the two covalent radii are rejected; 0 accepts all '
        'distances.',
    )
    spec.input(
        'duplicate_tolerance',
        valid_type=orm.Float,
        default=lambda: orm.Float(0.0),
        validator=validate_not_negative,
        help='In Å: of frames whose distances between neighbours agree to this, but for rotation, reflection and the '
        'order of atoms, only the first is labelled. With 0, the default, every frame is, as finite differences '
        'need; a campaign takes 0.01.',
    )
    spec.input(
        'max_force',
        valid_type=orm.Float,
        default=lambda: orm.Float(100.0),
        validator=validate_not_negative,
        help='In eV/Å: a label with a larger force on any atom is put into quarantine. O2 at 0.7 of its bond, one '
        'of the stiffest dimers of an initial set, has 79 eV/Å.',
    )
    spec.input(
        'min_energy',
        valid_type=orm.Float,
        default=lambda: orm.Float(-20.0),
        help='In eV/atom, relative to what most labels with these settings say of the elements: a label with a lower '
        'energy is put into quarantine. No solid binds as strongly.',
    )
    spec.input(
        'max_energy',
        valid_type=orm.Float,
        default=lambda: orm.Float(50.0),
        help='In eV/atom, relative to what most labels with these settings say of the elements: a label with a higher '
        'energy is put into quarantine.',
    )
    for labeller in labellers.values():
        labeller.define(spec)
    spec.inputs.validator = functools.partial(validate_inputs, labellers)
    spec.output(
        'dataset',
        valid_type=AtomsDatasetData,
        required=False,
        help='The labelled frames without audit frames; absent when there are none.',
    )
    spec.output(
        'audit',
        valid_type=AtomsDatasetData,
        required=False,
        help='The labelled frames of the origin `audit`: no potential is trained on them.',
    )
    spec.output(
        'quarantined',
        valid_type=AtomsDatasetData,
        required=False,
        help='The frames with implausible labels; do not train on them.',
    )
    spec.output(
        'output_parameters',
        valid_type=orm.Dict,
        help='The account: frames requested = reused + cached + labelled + failed + rejected, `failures` and '
        '`rejections` by cause, `core_seconds` spent (CPU time where the code measures it, else wall time of '
        'its cores), `core_seconds_cached` and `core_seconds_reused` saved, `warnings` on labels to inspect.',
    )
    spec.exit_code(
        410,
        'ERROR_LABELS_FAILED',
        message='{failed} of {requested} frames could not be labelled, more than `max_failed_fraction` = {limit} '
        'allows ({causes}). Run `verdi process report` on one of the failed runs, fix the cause and run again.',
    )


def validate_not_negative(node: orm.Float | None, port: t.Any) -> str | None:
    """Refuse a number below zero."""
    if node is not None and not node.value >= 0:
        return f'`{port.name}` is {node.value}: give a number that is not negative.'
    return None


def validate_inputs(labellers: Mapping[str, type[Labeller]], value: t.Any, namespace: t.Any) -> str | None:
    """Refuse none or two labellers, settings that give no label, and an element that cannot be labelled."""
    try:
        labeller = choose_labeller(value, labellers)
    except ValueError as exception:
        return str(exception)
    if error := labeller.validate():
        return error
    if 'min_energy' in value and 'max_energy' in value and not value['min_energy'].value < value['max_energy'].value:
        return '`min_energy` is not below `max_energy`: every label would be put into quarantine.'
    if 'dataset' not in namespace or 'dataset' not in value:
        return None
    return labeller.validate_elements(value['dataset'].elements)
