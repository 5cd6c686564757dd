"""Cheap questions to the provenance graph around one campaign: rows of plain values, no nodes are loaded."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence

from aiida import orm
from aiida.common.links import LinkType
from aiida.orm.nodes.caching import NodeCaching

__all__ = (
    'ENDED',
    'FAILED',
    'OPEN',
    'STATE',
    'STATUS',
    'Rows',
    'cached_runs',
    'called',
    'inputs_of_called',
    'outputs_of_called',
    'restart_uuid',
    'restarted_from',
)

CALLS = [LinkType.CALL_CALC.value, LinkType.CALL_WORK.value]
STATE, STATUS = 'attributes.process_state', 'attributes.exit_status'

#: States of processes that came to their end.
ENDED = ('finished', 'excepted', 'killed')

#: Filters of processes that went wrong, and of those that have not come to an end.
FAILED: dict[str, t.Any] = {'or': [{STATE: {'in': ['excepted', 'killed']}}, {STATUS: {'>': 0}}]}
OPEN: dict[str, t.Any] = {STATE: {'!in': list(ENDED)}}

Rows = list[list[t.Any]]


def _calls(
    pk: int, depth: int, filters: dict[str, t.Any] | None = None, labels: Mapping[int, str] | None = None
) -> orm.QueryBuilder:
    """Return a query for the processes ``depth`` calls below the process ``pk``, tagged ``process_1``, ...

    They come in the order in which they were made: keys say nothing of that after the import of an archive.

    :param labels: patterns, in SQL's ``LIKE``, of the labels of the calls, by their depth.
    """
    query = orm.QueryBuilder().append(orm.ProcessNode, filters={'id': pk}, tag='process_0')
    for level in range(1, depth + 1):
        query.append(
            orm.ProcessNode,
            with_incoming=f'process_{level - 1}',
            tag=f'process_{level}',
            edge_tag=f'call_{level}',
            edge_filters={'type': {'in': CALLS}, 'label': {'like': (labels or {}).get(level, '%')}},
            filters=filters if level == depth else None,
        )
    return query.order_by({f'process_{depth}': {'ctime': 'asc'}})


def called(
    pk: int,
    depth: int,
    filters: dict[str, t.Any] | None,
    project: Sequence[str],
    labels: Mapping[int, str] | None = None,
) -> Rows:
    """Return one row per process ``depth`` calls below ``pk``: the labels of those calls, then what is projected.

    :param labels: patterns, in SQL's ``LIKE``, of the labels of the calls, by their depth.
    """
    query = _calls(pk, depth, filters, labels)
    columns = [(f'call_{level}', 'label') for level in range(1, depth + 1)]
    return _rows(query, columns + [(f'process_{depth}', name) for name in project])


def outputs_of_called(
    pk: int, depth: int, labels: Sequence[str], project: Sequence[str], calls: Mapping[int, str] | None = None
) -> Rows:
    """Return, per output of a process ``depth`` calls below ``pk``: key of the process, label, and what is projected.

    :param labels: of the outputs.
    :param calls: patterns, in SQL's ``LIKE``, of the labels of the calls, by their depth.
    """
    query = _calls(pk, depth, None, calls)
    links = [LinkType.CREATE.value, LinkType.RETURN.value]
    edge_filters = {'label': {'in': list(labels)}, 'type': {'in': links}}
    query.append(orm.Data, with_incoming=f'process_{depth}', edge_tag='output', edge_filters=edge_filters, tag='data')
    return _rows(query, [(f'process_{depth}', 'id'), ('output', 'label'), *(('data', name) for name in project)])


def inputs_of_called(
    pk: int, depth: int, label: str, project: Sequence[str], calls: Mapping[int, str] | None = None
) -> Rows:
    """Return, per input of a process ``depth`` calls below ``pk``: key of the process, label, and what is projected.

    :param label: pattern, in SQL's ``LIKE``, of the labels of the inputs.
    :param calls: the same of the labels of the calls, by their depth.
    """
    query = _calls(pk, depth, None, calls)
    links = [LinkType.INPUT_CALC.value, LinkType.INPUT_WORK.value]
    edge_filters = {'label': {'like': label}, 'type': {'in': links}}
    query.append(orm.Data, with_outgoing=f'process_{depth}', edge_tag='input', edge_filters=edge_filters, tag='data')
    return _rows(query, [(f'process_{depth}', 'id'), ('input', 'label'), *(('data', name) for name in project)])


def cached_runs(pk: int) -> Rows:
    """Return step and run, by key, of every calculation four calls below ``pk`` that came from the cache."""
    query = _calls(pk, 4, {'extras': {'has_key': NodeCaching.CACHED_FROM_KEY}})
    return _rows(query, [('process_1', 'id'), ('process_3', 'id')])


def restart_uuid(pk: int) -> str | None:
    """Return the UUID of the campaign that the campaign ``pk`` goes on from."""
    return next((uuid for *_, uuid in inputs_of_called(pk, 0, 'restart_from', ['attributes.value'])), None)


def restarted_from(pk: int) -> int | None:
    """Return the key of the campaign that the campaign ``pk`` goes on from; None also when the profile lacks it."""
    if (uuid := restart_uuid(pk)) is None:
        return None
    query = orm.QueryBuilder().append(orm.ProcessNode, filters={'uuid': uuid}, project='id')
    return t.cast('int | None', query.first(flat=True))


def _rows(query: orm.QueryBuilder, columns: Sequence[tuple[str, str]]) -> Rows:
    """Return the answer as rows of ``columns``, each a tag and a field: the builder has an order of its own."""
    for tag in dict(columns):
        query.add_projection(tag, [field for other, field in columns if other == tag])
    return [[row[tag][field] for tag, field in columns] for row in query.dict()]
