"""Calcfunctions that make the structures that are labelled first."""

from __future__ import annotations

import typing as t

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_pace.config import InitialSetConfig, TrainingConfig
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.structures.initial import (
    atoms_per_element,
    choose_from_pool,
    generate_pool,
    recipe_counts,
)
from aiida_pace.structures.recipes import ALWAYS

__all__ = ('choose_initial', 'make_initial_pool')


@calcfunction
def make_initial_pool(
    elements: orm.List,
    count: orm.Int,
    parameters: orm.Dict,
    seed: orm.Int,
    *,
    closest: orm.Float,
    fit: orm.Dict,
    **structures: orm.StructureData,
) -> dict[str, t.Any]:
    """Return what an initial set of ``count`` frames is chosen from.

    :param parameters: settings of ``InitialSetConfig``.
    :param closest: share of the sum of the covalent radii that no distance is below.
    :param fit: settings of ``TrainingConfig``: dimers and trimers reach out to its cutoff.
    :param structures: those of the user, their names with ``structures__`` before them.
    :returns: ``pool`` and ``account``: how many frames it holds and how many are left out as duplicates, by recipe.
    """
    config = InitialSetConfig.model_validate(parameters.get_dict())
    pool = generate_pool(
        elements.get_list(),
        count.value,
        seed=seed.value,
        config=config,
        structures=[structure.get_ase() for _, structure in sorted(structures.items())],
        closest=closest.value,
        cutoff=TrainingConfig.model_validate(fit.get_dict()).cutoff,
    )
    account = orm.Dict({'pool': recipe_counts(pool.frames), 'duplicates': pool.duplicates})
    return {'pool': AtomsDatasetData(pool.frames), 'account': account}


@calcfunction
def choose_initial(
    pool: AtomsDatasetData, account: orm.Dict, count: orm.Int, seed: orm.Int, selection: orm.Dict | None = None
) -> dict[str, t.Any]:
    """Return the initial set, and what became of the pool.

    :param account: of the pool.
    :param selection: ``indices`` of the frames of the pool that are preferred, the first ones most.
    :returns: ``dataset``; ``output_parameters``: the account, ``kept`` by recipe, how many of these were ``selected``,
        not taken for their recipe or at random, and ``atoms`` with neighbours by element.
    """
    ranked = selection['indices'] if selection is not None else []
    indices = choose_from_pool(pool.frames, count.value, seed=seed.value, ranked=ranked)
    frames = pool.frames.take(indices)
    clusters = np.isin(pool.frames.origin, ALWAYS)
    numbers = {
        'kept': recipe_counts(frames),
        'selected': len(set(indices) & set(ranked) - set(np.flatnonzero(clusters).tolist())),
        'atoms': atoms_per_element(frames),
    }
    return {'dataset': AtomsDatasetData(frames), 'output_parameters': orm.Dict(account.get_dict() | numbers)}
