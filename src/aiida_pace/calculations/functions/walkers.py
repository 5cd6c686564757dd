"""Calcfunctions about the walkers of a round."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

__all__ = ('summarise_walkers',)


@calcfunction
def summarise_walkers(failures: orm.Dict, **walkers: orm.Dict) -> orm.Dict:
    """Return one summary of the walkers of a round: which came to their end, halted or failed, and the highest grade.

    :param failures: cause of each walker that did not finish well, by its name.
    :param walkers: ``output_parameters`` of each walker that has some, by its name.
    """
    results = {key: node.get_dict() for key, node in sorted(walkers.items())}
    halted = [key for key, result in results.items() if result['halted']]
    failed = {key: cause for key, cause in failures.get_dict().items() if key not in halted}
    completed = [
        key
        for key, result in results.items()
        if key not in {*halted, *failed} and result['steps'] >= result['target_steps']
    ]
    return orm.Dict(
        {
            'completed': completed,
            'halted': halted,
            'failed': failed,
            'max_grade': max((result['max_grade'] for result in results.values()), default=None),
            'steps': sum(result['steps'] for result in results.values()),
        }
    )
