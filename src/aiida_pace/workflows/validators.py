"""Port validators shared by the work chains: one sentence that names the input and the remedy, or None."""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Callable, Iterable, Iterator, Mapping

from aiida import orm
from aiida.common.exceptions import AiidaException
from ase.data import chemical_symbols

from aiida_pace.config import Config, InitialSetConfig, TrainingConfig, config_error
from aiida_pace.data.dataset import AtomsDatasetData
from aiida_pace.formats.training import TrainingSetError, training_set
from aiida_pace.frames import Frames
from aiida_pace.structures.initial import atoms_per_element

__all__ = (
    'missing_executable',
    'missing_pseudos',
    'missing_references',
    'unfit_campaign',
    'unfit_data',
    'validate_config',
    'validate_elements',
    'validate_fraction',
    'validate_labelled',
    'validate_positive',
    'validate_seed',
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


def unfit_campaign(inputs: Mapping[str, t.Any]) -> str | None:
    """Refuse inputs of a campaign that do not fit each other."""
    if not inputs['explore'].get('structures'):
        return '`explore.structures` is empty: give at least one structure to start a walker from.'
    if inputs['max_cycles'].value < inputs['quiet_rounds'].value:
        return '`max_cycles` is below `quiet_rounds`, such a campaign cannot converge: raise it.'
    datasets, initial = inputs.get('datasets'), inputs['initial']
    if datasets:
        elements = {element for dataset in datasets.values() for element in dataset.elements}
    elif 'elements' in initial:
        elements = set(initial['elements'])
        if initial['count'].value <= len(elements):
            return f'`initial.count` is {initial["count"].value}: give more frames than there are elements.'
    else:
        return 'neither `datasets` nor `initial.elements` are given: give labelled frames, or elements to make some of.'
    walkers = {
        symbol for structure in inputs['explore']['structures'].values() for symbol in structure.get_symbols_set()
    }
    if unknown := sorted(walkers - elements):
        return (
            f'`explore.structures` contain {", ".join(unknown)}, which the initial data do not: add it to '
            '`initial.elements` or to `datasets`.'
        )
    return (
        missing_references(inputs, elements)
        or missing_pseudos(elements, inputs['label']['pw']['pseudos'])
        or missing_executable(inputs)
    )


def missing_references(inputs: Mapping[str, t.Any], elements: set[str]) -> str | None:
    """Refuse ``elements`` for which the settings of the training give no reference energy."""
    config = TrainingConfig.model_validate(inputs['train']['fit']['parameters'].get_dict())
    if inputs.get('datasets'):
        error = unfit_data(inputs['datasets'], config)
        return f'`datasets`: {error}.' if error else None
    if isinstance(config.reference_energies, dict):
        known = set(config.reference_energies)
    else:
        makes_atoms = InitialSetConfig.model_validate(inputs['initial']['parameters'].get_dict()).isolated_atoms
        known = elements if makes_atoms else set()
    if missing := sorted(elements - known):
        return (
            f'no reference energy for {", ".join(missing)}: give it in `train.fit.parameters.reference_energies`, or '
            'have an isolated atom of it in the initial data.'
        )
    return None


def unfit_data(datasets: Mapping[str, AtomsDatasetData], config: TrainingConfig) -> str | None:
    """Return why labelled data make no fit and active set with the settings ``config``, or None when they do."""
    if not datasets:
        return 'there are none'
    frames = Frames.concatenate([dataset.frames for dataset in datasets.values()])
    try:
        training_set(frames, config)
    except TrainingSetError as exception:
        return str(exception)
    counts = atoms_per_element(frames)
    for element in frames.elements:
        if counts.get(element, 0) <= config.functions_per_element:
            return (
                f'they hold {counts.get(element, 0)} atoms of {element} with neighbours, the basis has '
                f'{config.functions_per_element} functions for it'
            )
    return None


def missing_pseudos(elements: Iterable[str], pseudos: Iterable[str]) -> str | None:
    """Refuse elements that have no pseudopotential."""
    missing = sorted(set(elements) - set(pseudos))
    if missing:
        return f'no pseudopotential for {", ".join(missing)}: add it to `pw.pseudos`, keyed by the element.'
    return None


def missing_executable(inputs: Mapping[str, t.Any]) -> str | None:
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
