"""What the labelled data sets of a campaign hold for a fit, by UUID: read once, as no data set ever changes."""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Iterable

from aiida import orm

from aiida_pace.campaign.records import DataSet
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import AUDIT
from aiida_pace.training.training_set import learned_environments
from aiida_pace.workflows.label.reuse import label_costs

__all__ = ('learned_atoms', 'training_cost')


def learned_atoms(datasets: Iterable[DataSet], cutoff: float) -> dict[str, int]:
    """Return, by element, the number of atoms that a fit learns from; see `learned_environments`."""
    atoms: dict[str, int] = {}
    for dataset in datasets:
        for element, count in _learned_atoms(dataset.uuid, cutoff):
            atoms[element] = atoms.get(element, 0) + count
    return atoms


def training_cost(datasets: Iterable[DataSet]) -> float:
    """Return what the labels of the data sets cost when they were computed, in core-seconds; 0 where nobody knows."""
    return sum(_training_cost(dataset.labels) for dataset in datasets if dataset.labels is not None)


@functools.lru_cache(maxsize=4096)
def _learned_atoms(uuid: str, cutoff: float) -> tuple[tuple[str, int], ...]:
    return tuple(learned_environments(_load(uuid).frames, cutoff).items())


@functools.lru_cache(maxsize=4096)
def _training_cost(uuid: str) -> float:
    """Return what the labels of one data set cost, those of audit frames aside."""
    labels = _load(uuid)
    return sum(cost for cost, origin in zip(label_costs(labels), labels.frames.origin, strict=True) if origin != AUDIT)


def _load(uuid: str) -> AtomsDatasetData:
    return t.cast(AtomsDatasetData, orm.load_node(uuid))
