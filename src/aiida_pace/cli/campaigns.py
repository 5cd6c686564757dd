"""Which campaign a command is about."""

from __future__ import annotations

import typing as t

import click

if t.TYPE_CHECKING:
    from aiida import orm

__all__ = ('find_campaign',)


def find_campaign(identifier: str | None) -> orm.WorkChainNode:
    """Return the campaign with this PK or UUID, the newest one when there is none.

    :raises click.ClickException: when there is no such campaign.
    """
    from aiida import orm
    from aiida.common.exceptions import MultipleObjectsError, NotExistent

    from aiida_pace.report.campaign import PROCESS_TYPE

    if identifier is None:
        query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'process_type': PROCESS_TYPE}, tag='campaign')
        newest = query.order_by({'campaign': {'ctime': 'desc'}}).first(flat=True)
        if newest is None:
            raise click.ClickException(
                'this profile has no campaign: submit one (see examples/silicon/submit_loop.py), or give another '
                'profile with `-p`.'
            )
        return t.cast(orm.WorkChainNode, newest)
    try:
        node = orm.load_node(identifier)
    except (MultipleObjectsError, NotExistent, ValueError) as exception:
        raise click.ClickException(
            f'`{identifier}` is not the PK or UUID of exactly one node: leave it out for the newest campaign, or take '
            'a PK from `verdi process list -a`.'
        ) from exception
    if not isinstance(node, orm.WorkChainNode) or node.process_type != PROCESS_TYPE:
        raise click.ClickException(
            f'{type(node).__name__}<{node.pk}> is not a campaign: give the PK of an ActiveLearningWorkChain, as '
            '`verdi process list -a` shows it.'
        )
    return node
