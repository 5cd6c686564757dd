"""Calcfunctions of the training: a basis sized to the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiida import orm
from aiida.engine import calcfunction

from aiida_pace.config import TrainingConfig
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames
from aiida_pace.training.growth import affordable_functions
from aiida_pace.training.training_set import learned_environments

__all__ = ('affordable_parameters', 'environments', 'functions_for')


@calcfunction
def affordable_parameters(parameters: orm.Dict, **datasets: AtomsDatasetData) -> orm.Dict:
    """Return the settings of a fit with no more functions per element than the data carry.

    :param parameters: settings of ``TrainingConfig``.
    :param datasets: all that is fitted.
    """
    config = TrainingConfig.model_validate(parameters.get_dict())
    functions = functions_for(config, environments(config, datasets.values()))
    return orm.Dict({**parameters.get_dict(), 'functions_per_element': functions})


def environments(config: TrainingConfig, datasets: Iterable[AtomsDatasetData]) -> dict[str, int]:
    """Return the number of atoms with neighbours that a fit learns from, by element."""
    return learned_environments(Frames.concatenate([dataset.frames for dataset in datasets]), config.cutoff)


def functions_for(config: TrainingConfig, atoms: Mapping[str, int]) -> dict[str, int]:
    """Return the number of functions by element: as wanted, but fewer than its atoms."""
    functions: dict[str, int] = {}
    for element, count in atoms.items():
        functions |= affordable_functions(config.functions_of(element), {element: count})
    if config.evaluator == 'tensorpot':  # it needs the same number for all, see `training_plan`
        functions = dict.fromkeys(functions, min(functions.values()))
    return functions
