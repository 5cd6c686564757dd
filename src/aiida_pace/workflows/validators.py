"""Port validators shared by the work chains: one sentence that names the input and the remedy, or None."""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Callable, Iterator, Mapping

from aiida import orm
from aiida.common.exceptions import AiidaException
from ase.data import chemical_symbols

from aiida_pace.config import Config, EmbeddingConfig, TrainingConfig, config_error
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.frames import Frames
from aiida_pace.training.training_set import (
    TrainingSetError,
    few_atoms,
    learned_environments,
    training_plan,
    training_set,
)

__all__ = (
    'validate_config',
    'validate_elements',
    'validate_embedding',
    'validate_executables',
    'validate_fraction',
    'validate_labelled',
    'validate_positive',
    'validate_seed',
    'validate_training_data',
)

#: Cycles and walkers add to the seed of a campaign; LAMMPS takes at most 2^31 - 1.
MAX_SEED = 2_000_000_000


def validate_positive(node: orm.Int | None, port: t.Any) -> str | None:
    """Refuse a number below one."""
    if node is not None and node.value < 1:
        return f'`{port.name}` is {node.value}: give at least 1.'
    return None


def validate_seed(node: orm.Int | None, port: t.Any) -> str | None:
    """Refuse a seed that leaves no room for those of the cycles and walkers below the largest one of LAMMPS."""
    if node is not None and not 0 <= node.value <= MAX_SEED:
        return f'`{port.name}` is {node.value}: give a number from 0 to {MAX_SEED}.'
    return None


def validate_fraction(node: orm.Float | None, port: t.Any) -> str | None:
    """Refuse a share outside zero to one."""
    if node is not None and not 0 <= node.value <= 1:
        return f'`{port.name}` is {node.value}: give a share between 0 and 1.'
    return None


def validate_elements(node: orm.List | None, port: t.Any) -> str | None:
    """Refuse an empty list and what is no chemical symbol."""
    if node is not None and (not len(node) or not set(node) <= set(chemical_symbols[1:])):
        return f'`{port.name}` is {list(node)}: give chemical symbols, such as Si.'
    return None


def validate_config(model: type[Config]) -> Callable[[orm.Dict | None, t.Any], str | None]:
    """Return a port validator of settings of ``model``."""
    return functools.partial(_validate_config, model)


def _validate_config(model: type[Config], node: orm.Dict | None, port: t.Any) -> str | None:
    error = config_error(model, node.get_dict()) if node is not None else None
    return f'`{port.name}`: {error}' if error else None


def validate_labelled(datasets: Mapping[str, AtomsDatasetData] | None, port: t.Any) -> str | None:
    """Refuse a data set without labels."""
    for name, dataset in (datasets or {}).items():
        if not dataset.is_labelled:
            return f'`{port.name}.{name}` has no labels: give frames with energies and forces.'
    return None


def validate_training_data(datasets: Mapping[str, AtomsDatasetData], config: TrainingConfig) -> str | None:
    """Return why labelled data make no fit and active set with the settings ``config``, or None when they do.

    Fewer atoms than functions are no reason: the training takes fewer functions then.
    """
    if not datasets:
        return 'there are none'
    frames = Frames.concatenate([dataset.frames for dataset in datasets.values()])
    try:
        training_set(frames, config)
        training_plan(config, frames.elements)
    except TrainingSetError as exception:
        return str(exception)
    return next(iter(few_atoms(learned_environments(frames, config.cutoff), config.order).values()), None)


def validate_embedding(structures: Mapping[str, orm.StructureData], embed: Mapping[str, t.Any]) -> str | None:
    """Refuse walkers that are too large for DFT when there is no code to embed them."""
    limit = EmbeddingConfig.model_validate(embed['parameters'].get_dict()).max_dft_atoms
    for name, structure in structures.items():
        if 'code' not in embed and len(structure.sites) > limit:
            return (
                f'`explore.structures.{name}` has {len(structure.sites)} atoms, more than '
                f'`select.embed.parameters.max_dft_atoms` = {limit}: give `select.embed.code`, or raise the limit.'
            )
    return None


def validate_executables(inputs: Mapping[str, t.Any]) -> str | None:
    """Refuse a code, anywhere in the nested ``inputs``, whose executable is not on its computer.

    Only absolute paths are looked for: others are found by the shell of the job, after its modules are loaded.
    """
    codes: dict[str, dict[str, orm.InstalledCode]] = {}
    for path, code in _installed_codes(inputs):
        if code.filepath_executable.is_absolute():
            codes.setdefault(code.computer.uuid, {})[path] = code
    for on_computer in codes.values():
        computer = next(iter(on_computer.values())).computer
        try:
            with computer.get_transport() as transport:
                for path, code in on_computer.items():
                    if not transport.isfile(str(code.filepath_executable)):
                        return (
                            f'`{path}`: code `{code.full_label}` has no executable `{code.filepath_executable}` on '
                            f'`{computer.label}`; install it there or give another code.'
                        )
        except (OSError, AiidaException) as exception:
            return f'computer `{computer.label}` cannot be reached ({exception}); try `verdi computer test`.'
    return None


def _installed_codes(inputs: Mapping[str, t.Any], prefix: str = '') -> Iterator[tuple[str, orm.InstalledCode]]:
    """Iterate over the codes in nested inputs, with the path of their port."""
    for name, value in inputs.items():
        if isinstance(value, orm.InstalledCode) and not isinstance(value, orm.ContainerizedCode):
            yield prefix + name, value
        elif isinstance(value, Mapping):
            yield from _installed_codes(value, f'{prefix}{name}.')
