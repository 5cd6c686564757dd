"""Settings of a fit: what is refused, and with which words."""

from __future__ import annotations

import typing as t

import pytest

from aiida_pace.config import TrainingConfig, config_error


def test_the_defaults_are_valid() -> None:
    config = TrainingConfig()
    assert (config.functions_per_element, config.cutoff, config.evaluator) == (100, 5.0, 'tensorpot')
    assert config_error(TrainingConfig, {}) is None


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'cutoff': 0}, 'setting `cutoff`: Input should be greater than 0'),
        ({'cutoff': -3.0}, 'setting `cutoff`: Input should be greater than 0'),
        ({'cutoff': float('nan')}, 'setting `cutoff`'),
        ({'rcut': 5.0}, 'unknown setting `rcut`; TrainingConfig knows: evaluator, cutoff'),
        ({'order': 0}, 'setting `order`'),
        ({'functions_per_element': 0}, 'setting `functions_per_element'),
        ({'functions_per_element': {'Si': 0}}, 'setting `functions_per_element'),
        ({'max_epochs': 0}, 'setting `max_epochs`'),
        ({'kappa': 1.5}, 'setting `kappa`'),
        ({'test_fraction': 1.0}, 'setting `test_fraction`'),
        ({'reference_energies': {'Si': float('nan')}}, 'finite number'),
        ({'reference_energies': 'free_atom'}, 'setting `reference_energies'),
        ({'evaluator': 'pyace'}, "Input should be 'tensorpot' or 'linear'"),
        ({'evaluator': 'linear', 'l1': 1e-6}, '`evaluator: linear` knows no `l1`, leave it out and use `l2`'),
        ({'evaluator': 'linear', 'embedding': 'finnis_sinclair'}, 'use `tensorpot`'),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, t.Any], message: str) -> None:
    error = config_error(TrainingConfig, settings)
    assert error is not None
    assert message in error
    assert '\n' not in error


def test_functions_are_for_all_elements_or_by_element() -> None:
    assert TrainingConfig(functions_per_element=30).functions_of('Al') == 30
    config = TrainingConfig(functions_per_element={'Al': 10, 'Si': 50})
    assert (config.functions_of('Al'), config.functions_of('Si')) == (10, 50)
    assert TrainingConfig.model_validate(config.model_dump()) == config
