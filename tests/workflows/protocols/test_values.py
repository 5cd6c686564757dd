"""The protocols: what they say, and which names they refuse."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterator, Mapping

import pytest
import yaml
from aiida import orm
from plumpy import PortNamespace

from aiida_pace import config
from aiida_pace.config import Config
from aiida_pace.workflows.active_learning import ActiveLearningWorkChain
from aiida_pace.workflows.protocols import RENAMED
from tests.fixtures.loop import BuilderOf

#: Ports with settings of a model.
MODELS: dict[str, type[Config]] = {
    'audit': config.AuditConfig,
    'explore.lammps.parameters': config.MdConfig,
    'growth': config.GrowthConfig,
    'label.calculator.parameters': config.CalculatorConfig,
    'initial.parameters': config.InitialSetConfig,
    'select.embed.parameters': config.EmbeddingConfig,
    'select.guards': config.GuardConfig,
    'select.swarm.parameters': config.SwarmConfig,
    'stop': config.StopConfig,
    'train.fit.parameters': config.TrainingConfig,
    'validate.parameters': config.ValidationConfig,
    'validate.tolerances': config.PropertyTolerances,
}
#: What the protocol of Quantum ESPRESSO, and no port of ours, has defaults for.
FOREIGN = ('label.pw',)
PROTOCOLS = yaml.safe_load(ActiveLearningWorkChain.get_protocol_filepath().read_text(encoding='utf-8'))


def settings_of(values: Mapping[str, t.Any], path: str = '') -> Iterator[tuple[str, t.Any]]:
    """Iterate over the settings of a protocol: what is below a port of a model counts one by one."""
    for name, value in values.items():
        whole = f'{path}.{name}'.removeprefix('.')
        if path not in MODELS and isinstance(value, dict) and not whole.startswith(FOREIGN):
            yield from settings_of(value, whole)
        elif whole != 'description':
            yield whole, value


def default_of(path: str) -> object:
    """Return the default of a setting, by its port or its model."""
    parent, _, name = path.rpartition('.')
    if parent in MODELS:
        return MODELS[parent].model_fields[name].default
    port: t.Any = ActiveLearningWorkChain.spec().inputs
    for part in path.split('.'):
        assert isinstance(port, PortNamespace)
        port = port[part]
    if not port.has_default():
        return None
    default = port.default() if callable(port.default) else port.default
    return default.value if isinstance(default, orm.Data) else default


GENERAL = dict(settings_of(PROTOCOLS['default_inputs']))
SETTINGS = [('default_inputs', path, value) for path, value in GENERAL.items()] + [
    (name, path, value) for name, values in PROTOCOLS['protocols'].items() for path, value in settings_of(values)
]


@pytest.mark.parametrize(('protocol', 'path', 'value'), SETTINGS, ids=[f'{name}:{path}' for name, path, _ in SETTINGS])
def test_a_protocol_says_only_what_differs_from_the_defaults(protocol: str, path: str, value: object) -> None:
    if path.startswith(FOREIGN):
        return
    default = GENERAL.get(path, default_of(path)) if protocol != 'default_inputs' else default_of(path)
    assert value != default


def test_the_models_of_the_settings_are_known() -> None:
    """Every dictionary of settings is compared with its model."""
    assert {path for _, path, value in SETTINGS if isinstance(value, dict)} <= {'initial.parameters.shares', 'label.pw'}


@pytest.mark.usefixtures('aiida_profile_clean')
@pytest.mark.parametrize(('path', 'new'), RENAMED.items())
def test_old_names_are_refused_with_the_new_ones(builder_of: BuilderOf, path: str, new: str) -> None:
    *namespaces, name = path.split('.')
    overrides: dict[str, t.Any] = {name: 0.7}
    ports: t.Any = ActiveLearningWorkChain.spec().inputs
    for namespace in namespaces:
        ports = ports[namespace]
    for namespace in reversed(namespaces):
        overrides = {namespace: overrides}
    with pytest.raises(ValueError, match=re.escape(f'`{path}` is now {new}')):
        builder_of(overrides)
    assert name not in ports


@pytest.mark.usefixtures('aiida_profile_clean')
def test_one_shortest_distance_for_all_steps(builder_of: BuilderOf) -> None:
    """No step has a setting of its own for it."""
    builder = builder_of({'closest': 0.8})
    assert builder.closest.value == 0.8

    def names(ports: PortNamespace, path: str = '') -> Iterator[str]:
        for name, port in ports.items():
            yield f'{path}{name}'
            if isinstance(port, PortNamespace):
                yield from names(port, f'{path}{name}.')

    found = [name for name in names(ActiveLearningWorkChain.spec().inputs) if name.endswith('closest')]
    assert found == ['closest']
