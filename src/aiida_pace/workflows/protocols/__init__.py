"""From a protocol's plain values to the inputs of a campaign."""

from __future__ import annotations

import functools
import operator
import typing as t
from collections.abc import Mapping

from aiida import orm
from aiida.engine import ProcessBuilder
from aiida_quantumespresso.workflows.protocols.utils import ProtocolMixin

from aiida_pace.workflows.label.labeller import Labeller
from aiida_pace.workflows.label.labellers import LABELLERS
from aiida_pace.workflows.values import fill_values

__all__ = ('CODES', 'ProtocolMixin', 'fill_builder', 'protocol_inputs')

#: The codes of a campaign by the executable they run, and the ports that each belongs to; a labeller has one more.
CODES = {
    'pacemaker': ('train.fit.code', 'initial.basis.code'),
    'pace_yaml2yace': ('train.fit.yace_code',),
    'pace_activeset': ('train.active_set.code',),
    'lammps': ('explore.lammps.code',),
    'pace_embed': ('select.embed.code',),
    'pace_swarm': ('select.swarm.code',),
    'pace_evaluate': ('evaluate.code',),
    'pace_select': ('select.maxvol.code', 'initial.maxvol.code'),
}

#: Inputs of earlier releases by their path, and what takes their place: the end of a sentence.
RENAMED = {
    'initial.select': '`initial.maxvol`',
    'label.closest': '`closest`, one for all steps of the campaign',
    'select.evaluate': '`evaluate`, one for all steps of the campaign',
    'select.select': '`select.maxvol`',
    **{
        f'label.{name}': f'`label.pw.{name}`'
        for name in ('clean_workdir', 'kpoints_distance', 'kpoints_force_parity', 'max_iterations', 'pseudo_family')
    },
    **{
        f'label.pw.{name}': f'`label.pw.pw.{name}`'
        for name in ('hubbard_file', 'parallelization', 'parameters', 'pseudos', 'settings', 'vdw_table')
    },
}


def protocol_inputs(
    process: type[ProtocolMixin], protocol: str | None, overrides: Mapping[str, t.Any] | None
) -> dict[str, t.Any]:
    """Return the plain values of a protocol and its overrides, with those of one labeller.

    :raises ValueError: when the overrides name an input of an earlier release, or more than one labeller.
    """
    overrides = dict(overrides or {})
    for old, new in RENAMED.items():
        value: t.Any = overrides
        for part in old.split('.'):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            raise ValueError(f'`{old}` is now {new}.')
    inputs: dict[str, t.Any] = process.get_protocol_inputs(protocol, overrides)
    chosen = [name for name in LABELLERS if name in overrides.get('label', {})] or [next(iter(LABELLERS))]
    if len(chosen) > 1:
        raise ValueError(f'`label` has {" and ".join(f"`{name}`" for name in chosen)}: give just one of them.')
    inputs['label'] = {key: value for key, value in inputs['label'].items() if key not in {*LABELLERS} - {*chosen}}
    return inputs


def fill_builder(
    builder: t.Any,
    codes: Mapping[str, orm.AbstractCode | str],
    structures: Mapping[str, orm.StructureData],
    inputs: dict[str, t.Any],
    options: dict[str, t.Any],
) -> ProcessBuilder:
    """Return ``builder``, of ``ActiveLearningWorkChain``, filled with the protocol's ``inputs``.

    :param inputs: from `protocol_inputs`.
    :raises ValueError: when a code is missing or unknown, or a pseudopotential is not installed.
    """
    labeller: type[Labeller] = next(LABELLERS[name] for name in LABELLERS if name in inputs['label'])
    needed = [labeller.code, *CODES]
    if set(codes) != set(needed):
        missing, unknown = sorted(set(needed) - set(codes)), sorted(set(codes) - set(needed))
        raise ValueError(f'`codes` needs one code for each of {", ".join(needed)}; {missing=}, {unknown=}')
    loaded = {name: orm.load_code(code) if isinstance(code, str) else code for name, code in codes.items()}
    elements = {symbol for structure in structures.values() for symbol in structure.get_symbols_set()}
    inputs.setdefault('initial', {}).setdefault('elements', sorted(elements))
    builder.explore.structures = dict(structures)
    labeller.fill_builder(
        builder.label[labeller.name],
        loaded[labeller.code],
        inputs['label'].pop(labeller.name),
        inputs['initial']['elements'],
        options,
    )
    for name, paths in CODES.items():
        for path in paths:
            *namespaces, port = path.split('.')
            namespace = functools.reduce(operator.getitem, namespaces, builder)
            namespace[port] = loaded[name]
            if options and port == 'code':
                namespace.metadata.options = options
    fill_values(builder, inputs)
    return t.cast(ProcessBuilder, builder)
