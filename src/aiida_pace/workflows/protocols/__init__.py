"""From a protocol's plain values to the inputs of a campaign."""

from __future__ import annotations

import functools
import operator
import typing as t
from collections.abc import Mapping

from aiida import orm
from aiida.engine import ProcessBuilder
from aiida_quantumespresso.workflows.protocols.utils import ProtocolMixin

from aiida_pace.workflows.check.trials import CODES, code_names
from aiida_pace.workflows.label.labeller import Labeller
from aiida_pace.workflows.label.labellers import DEFAULT_LABELLER, LABELLERS
from aiida_pace.workflows.values import fill_values

__all__ = ('ProtocolMixin', 'fill_builder', 'protocol_inputs')

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
        for name in (
            'hubbard_file',
            'metadata.options',
            'parallelization',
            'parameters',
            'pseudos',
            'settings',
            'vdw_table',
        )
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
    chosen = [name for name in LABELLERS if name in overrides.get('label', {})] or [DEFAULT_LABELLER.name]
    if len(chosen) > 1:
        raise ValueError(f'`label` has {" and ".join(f"`{name}`" for name in chosen)}: give exactly one.')
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
    needed = code_names(labeller)
    if set(codes) != set(needed):
        missing, unknown = sorted(set(needed) - set(codes)), sorted(set(codes) - set(needed))
        raise ValueError(f'`codes` needs one code for each of {", ".join(needed)}; {missing=}, {unknown=}')
    loaded = {name: orm.load_code(code) if isinstance(code, str) else code for name, code in codes.items()}
    elements = {symbol for structure in structures.values() for symbol in structure.get_symbols_set()}
    inputs.setdefault('initial', {}).setdefault('elements', sorted(elements))
    builder.explore.structures = dict(structures)
    labeller.fill_builder(
        builder.label[labeller.name],
        loaded[labeller.trial.name],
        inputs['label'].pop(labeller.name),
        inputs['initial']['elements'],
        options,
    )
    for name in needed:
        if name == labeller.trial.name:
            continue
        for path in CODES[name]:
            *namespaces, port = path.split('.')
            namespace = functools.reduce(operator.getitem, namespaces, builder)
            namespace[port] = loaded[name]
            if port == 'code':
                for option, value in options.items():  # one by one: the others, such as `resources`, have defaults
                    namespace.metadata.options[option] = value
    fill_values(builder, inputs)
    return t.cast(ProcessBuilder, builder)
