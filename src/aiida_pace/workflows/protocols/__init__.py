"""From a protocol's plain values to the inputs of a campaign."""

from __future__ import annotations

import functools
import operator
import typing as t
from collections.abc import Mapping

from aiida import orm
from aiida.engine import ProcessBuilder
from aiida.plugins import WorkflowFactory
from aiida_quantumespresso.workflows.protocols.utils import recursive_merge
from plumpy import PortNamespace

from aiida_pace.workflows.check.trials import CODES

PwBaseWorkChain: t.Any = WorkflowFactory('quantumespresso.pw.base')

__all__ = ('fill_builder',)


def fill_builder(
    builder: t.Any,
    codes: Mapping[str, orm.AbstractCode | str],
    structures: Mapping[str, orm.StructureData],
    inputs: dict[str, t.Any],
    options: dict[str, t.Any],
) -> ProcessBuilder:
    """Return ``builder``, of ``ActiveLearningWorkChain``, filled with the protocol's ``inputs``.

    :raises ValueError: when a code is missing or unknown, or a pseudopotential is not installed.
    """
    if set(codes) != set(CODES):
        missing, unknown = sorted(set(CODES) - set(codes)), sorted(set(codes) - set(CODES))
        raise ValueError(f'`codes` needs one code for each of {", ".join(CODES)}; {missing=}, {unknown=}')
    elements = {symbol for structure in structures.values() for symbol in structure.get_symbols_set()}
    inputs['initial'].setdefault('elements', sorted(elements))
    builder.explore.structures = dict(structures)
    _fill_label(builder.label, codes['pw'], inputs['label'], inputs['initial']['elements'], options)
    for name, paths in CODES.items():
        code = codes[name]
        for path in paths:
            *namespaces, port = path.split('.')
            namespace = functools.reduce(operator.getitem, namespaces, builder)
            namespace[port] = orm.load_code(code) if isinstance(code, str) else code
            if port == 'code' and name != 'pw':
                for option, value in options.items():  # one by one: the others, such as `resources`, have defaults
                    namespace.metadata.options[option] = value
    _fill(builder, inputs)
    return builder


def _fill(builder: t.Any, values: Mapping[str, t.Any], path: str = '') -> None:
    """Put plain ``values``, nested like the ports, into the builder.

    :raises ValueError: when there is no such port.
    """
    ports = builder._port_namespace
    for name, value in values.items():
        if name not in ports:
            raise ValueError(f'`{path}{name}` is no input; there are: {", ".join(sorted(ports))}')
        port = ports[name]
        if isinstance(port, PortNamespace):
            _fill(builder[name], value, f'{path}{name}.')
        elif port.non_db:
            builder[name] = value
        else:
            is_float = orm.Float in (port.valid_type if isinstance(port.valid_type, tuple) else (port.valid_type,))
            builder[name] = orm.to_aiida_type(float(value) if is_float else value)


def _fill_label(
    label: t.Any, code: orm.AbstractCode | str, inputs: dict[str, t.Any], elements: list[str], options: dict[str, t.Any]
) -> None:
    """Fill the namespace ``label`` with what the protocol of ``PwBaseWorkChain`` gives for all ``elements``.

    What is used here is taken out of ``inputs``.
    """
    # Only its kinds count: they decide which pseudopotentials are taken, and with which cutoffs.
    kinds = orm.StructureData(cell=[[10.0 * len(elements), 0, 0], [0, 10, 0], [0, 0, 10]])
    for number, element in enumerate(elements):
        kinds.append_atom(position=(10.0 * number, 0, 0), symbols=element)
    overrides = {key: inputs.pop(key) for key in ('pseudo_family', 'kpoints_distance', 'pw')}
    pw_options = recursive_merge(options, overrides['pw'].pop('metadata', {}).pop('options', {}))
    pw_base = PwBaseWorkChain.get_builder_from_protocol(code, kinds, overrides=overrides, options=pw_options)
    for port in ('code', 'pseudos', 'parameters', 'metadata'):
        label.pw[port] = pw_base.pw[port]
    for port in ('kpoints_distance', 'kpoints_force_parity', 'max_iterations'):
        label[port] = pw_base[port]
