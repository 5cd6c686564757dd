"""Plain values of a protocol or of its overrides, put into the ports of a builder."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from aiida import orm
from plumpy import PortNamespace

__all__ = ('fill_values', 'merge_values')


def fill_values(builder: t.Any, values: Mapping[str, t.Any], path: str = '') -> None:
    """Put plain ``values``, nested like the ports, into the builder.

    :param path: of the builder's namespace in the whole, with a dot at its end, for messages.
    :raises ValueError: when there is no such port.
    """
    ports = builder._port_namespace
    for name, value in values.items():
        # The namespace of a job takes anything by AiiDA's rules: only one without any ports of its own means it.
        if name not in ports and (len(ports) or not ports.dynamic):
            raise ValueError(f'`{path}{name}` is not an input; the inputs are: {", ".join(sorted(ports))}')
        port = ports.get(name)
        if isinstance(port, PortNamespace):
            if not isinstance(value, Mapping):
                raise ValueError(f'`{path}{name}` is {value!r}: give a mapping, because the input is a namespace')
            fill_values(builder[name], value, f'{path}{name}.')
        elif port is None or port.non_db or port.is_metadata or isinstance(value, orm.Node):
            builder[name] = value
        else:
            valid_type = port.valid_type if isinstance(port.valid_type, tuple) else (port.valid_type,)
            builder[name] = orm.to_aiida_type(float(value) if orm.Float in valid_type else value)


def merge_values(left: Mapping[str, t.Any], right: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return both nested mappings in one; where both have a value, that of ``right``."""
    merged = dict(left)
    for key, value in right.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge_values(merged[key], value) if both else value
    return merged
