"""Calcfunctions that make the structures that are labelled first."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction

from aiida_pace.config import InitialSetConfig
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.structures.initial import generate_initial_set

__all__ = ('generate_initial',)


@calcfunction
def generate_initial(elements: orm.List, count: orm.Int, parameters: orm.Dict, seed: orm.Int) -> AtomsDatasetData:
    """Return the initial set: ``count`` frames of ``elements`` for the settings of ``InitialSetConfig``."""
    config = InitialSetConfig.model_validate(parameters.get_dict())
    return AtomsDatasetData(generate_initial_set(elements.get_list(), count.value, seed=seed.value, config=config))
