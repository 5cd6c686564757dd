"""All settings: what no number may be, whichever model it is in."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiida_pace import config
from aiida_pace.config import Config, InitialSetConfig, TrainingConfig, config_error

MODELS = sorted(
    (model for model in vars(config).values() if isinstance(model, type) and issubclass(model, Config)),
    key=lambda model: model.__name__,
)
MODELS.remove(Config)

#: What models need that have settings without a default.
NEEDED: dict[str, dict[str, t.Any]] = {
    'CalculatorConfig': {'calculator': 'ase.calculators.emt:EMT'},
    'StageConfig': {'temperature': 300.0},
}


class Number(t.NamedTuple):
    """A place for a number in a model, and the settings around a value that is put there."""

    model: type[Config]
    name: str
    kind: str
    settings: t.Callable[[object], dict[str, t.Any]]

    def error(self, value: object) -> str:
        return str(config_error(self.model, NEEDED.get(self.model.__name__, {}) | self.settings(value)) or '')


def key_of(model: type[Config], name: str) -> str:
    """Return a key that the model takes in a setting that is a dictionary."""
    default = model.model_fields[name].default
    return next(iter(default)) if isinstance(default, dict) and default else 'Si'


def numbers_of(model: type[Config], name: str, schema: dict[str, t.Any]) -> Iterator[Number]:
    """Iterate over the places for numbers of one setting, found in the JSON schema of its model."""
    for part in schema.get('anyOf', [schema]):
        kind = part.get('type')
        if kind in ('number', 'integer'):
            yield Number(model, name, kind, lambda value: {name: value})
        elif kind == 'object' and 'type' in part['additionalProperties']:
            key = key_of(model, name)
            yield Number(
                model,
                f'{name}.{key}',
                part['additionalProperties']['type'],
                lambda value, key=key: {name: {key: value}},
            )
        elif kind == 'array' and 'prefixItems' in part:
            kinds = [item['type'] for item in part['prefixItems']]
            yield Number(model, f'{name}.0', kinds[0], lambda value, kinds=kinds: {name: [value] * len(kinds)})


NUMBERS = [
    number
    for model in MODELS
    for name, schema in model.model_json_schema()['properties'].items()
    for number in numbers_of(model, name, schema)
]
each_number = pytest.mark.parametrize('number', NUMBERS, ids=[f'{n.model.__name__}.{n.name}' for n in NUMBERS])


def test_the_numbers_of_all_models_are_looked_at() -> None:
    places = {(number.model.__name__, number.name) for number in NUMBERS}
    assert len(places) > 60
    assert {
        ('TrainingConfig', 'l1'),
        ('TrainingConfig', 'functions_per_element.Si'),
        ('TrainingConfig', 'reference_energies.Si'),
        ('InitialSetConfig', 'volumes.0'),
        ('ValidationConfig', 'supercell.0'),
        ('SwarmConfig', 'shares.rattle'),
        ('PropertyTolerances', 'phonons'),
    } <= places


@each_number
@pytest.mark.parametrize('value', [float('inf'), -float('inf'), float('nan'), True, False, 'inf', '1', '5.0'])
def test_only_finite_numbers_are_numbers(number: Number, value: object) -> None:
    assert f'setting `{number.name.partition(".")[0]}' in number.error(value)


@each_number
def test_no_machine_can_do_any_number(number: Number) -> None:
    """Every number has an upper limit."""
    error = number.error(10**30 if number.kind == 'integer' else 1e30)
    assert f'setting `{number.name.partition(".")[0]}' in error
    assert 'less than' in error


@each_number
@given(value=st.floats(0.01, 0.99))
def test_integers_have_no_decimals(number: Number, value: float) -> None:
    if number.kind == 'integer':
        assert f'setting `{number.name.partition(".")[0]}' in number.error(value)


@pytest.mark.parametrize('model', MODELS)
def test_settings_survive_a_dictionary_node(model: type[Config]) -> None:
    """A dictionary node, like JSON, knows lists but no tuples."""
    settings = model.model_validate(NEEDED.get(model.__name__, {}))
    assert model.model_validate(settings.model_dump(mode='json')) == settings


@pytest.mark.parametrize(
    ('model', 'name', 'message'),
    [
        *(
            (model, 'closest', 'setting `closest` is now the input `closest`, one for all steps of a campaign')
            for model in (InitialSetConfig, config.GuardConfig, config.SwarmConfig, config.EmbeddingConfig)
        ),
        (InitialSetConfig, 'cutoff', 'setting `cutoff` is now `cutoff` of the fit'),
    ],
)
def test_old_settings_are_refused_with_their_new_names(model: type[Config], name: str, message: str) -> None:
    assert str(config_error(model, {name: 0.7})).startswith(message)


def test_the_key_is_named_where_several_types_are_allowed() -> None:
    error = config_error(TrainingConfig, {'reference_energies': {'Si': True}})
    assert error == 'setting `reference_energies.Si`: Input should be a valid number'
