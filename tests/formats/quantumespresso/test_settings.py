"""Settings of pw.x: what counts for a label, and what a second try changes."""

from __future__ import annotations

import copy
import typing as t

import pytest

from aiida_pace.formats.quantumespresso import settings as pw_settings
from aiida_pace.formats.quantumespresso.isolated_atom import isolated_atom_parameters
from aiida_pace.formats.quantumespresso.settings import label_digest, robust_parameters

PARAMETERS: dict[str, dict[str, t.Any]] = {
    'CONTROL': {'calculation': 'scf', 'tprnfor': True, 'tstress': True},
    'SYSTEM': {'ecutwfc': 30.0, 'ecutrho': 120.0, 'occupations': 'smearing', 'smearing': 'cold', 'degauss': 0.02},
    'ELECTRONS': {'conv_thr': 1e-8},
}


def changed(namelist: str, **values: t.Any) -> dict[str, dict[str, t.Any]]:
    """Return the parameters with other values; None takes one out."""
    parameters = copy.deepcopy(PARAMETERS)
    parameters.setdefault(namelist, {}).update(values)
    parameters[namelist] = {key: value for key, value in parameters[namelist].items() if value is not None}
    return parameters


@pytest.mark.parametrize(
    'parameters',
    [
        changed('CONTROL', verbosity='high', max_seconds=3600, restart_mode='restart', etot_conv_thr=1e-5),
        changed('CONTROL', calculation=None),
        changed('ELECTRONS', mixing_beta=0.2, mixing_mode='local-TF', electron_maxstep=300, diagonalization='cg'),
        changed('ELECTRONS', startingpot='file', diago_full_acc=True),
        changed('SYSTEM', ecutwfc=30, degauss=2e-2, smearing='Marzari-Vanderbilt'),
        changed('SYSTEM', ecutrho=None),  # norm-conserving: pw.x takes four times ecutwfc
        changed('IONS', ion_dynamics='bfgs'),
        robust_parameters(PARAMETERS),
        {name.lower(): {key.upper(): value for key, value in values.items()} for name, values in PARAMETERS.items()},
    ],
)
def test_settings_that_give_the_same_label(parameters: dict[str, t.Any]) -> None:
    assert label_digest(parameters, 0.25) == label_digest(PARAMETERS, 0.25)


@pytest.mark.parametrize(
    'parameters',
    [
        changed('SYSTEM', ecutwfc=40.0),
        changed('SYSTEM', ecutrho=240.0),
        changed('SYSTEM', degauss=0.01),
        changed('SYSTEM', smearing='gaussian'),
        changed('SYSTEM', smearing=None),
        changed('SYSTEM', input_dft='pbe'),
        changed('SYSTEM', nspin=1),  # an isolated atom stays unpolarised only when this is given
        changed('SYSTEM', starting_magnetization={'Si': 0.5}),
        changed('SYSTEM', vdw_corr='dft-d3'),
        changed('SYSTEM', a_key_of_the_future=1),
        changed('SYSTEM', tot_charge=1),
        changed('ELECTRONS', conv_thr=1e-10),
        changed('CONTROL', tefield=True),
        changed('FCP', fcp_mu=1.0),
    ],
)
def test_settings_that_give_another_label(parameters: dict[str, t.Any]) -> None:
    assert label_digest(parameters, 0.25) != label_digest(PARAMETERS, 0.25)


def test_k_points_and_other_settings_count() -> None:
    others = [
        label_digest(PARAMETERS, 0.2),
        label_digest(PARAMETERS, 0.25, True),
        label_digest(PARAMETERS, 0.25, other={'vdw_table': 'abc'}),
    ]
    assert len({label_digest(PARAMETERS, 0.25), *others}) == 4
    assert label_digest(PARAMETERS, 0.25, False) == label_digest(PARAMETERS, 0.25)


def test_the_rules_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = label_digest(PARAMETERS, 0.25)
    monkeypatch.setattr(pw_settings, 'RULES_VERSION', pw_settings.RULES_VERSION + 1)
    assert label_digest(PARAMETERS, 0.25) != before


def test_rules_of_isolated_atoms_are_those_of_this_version() -> None:
    """Whoever changes what an isolated atom runs with has to raise `RULES_VERSION`, and these numbers."""
    assert pw_settings.RULES_VERSION == 1
    assert isolated_atom_parameters(PARAMETERS, 'Si', 4)['SYSTEM'] == {
        **PARAMETERS['SYSTEM'],
        'smearing': 'gaussian',
        'degauss': 0.001,
        'nspin': 2,
        'starting_magnetization': {'Si': 0.5},
        'tot_magnetization': 2,
    }


def test_the_second_try_is_never_less_careful() -> None:
    parameters = changed('ELECTRONS', mixing_beta=0.05, electron_maxstep=500)
    electrons = robust_parameters(parameters)['ELECTRONS']
    assert (electrons['mixing_beta'], electrons['electron_maxstep'], electrons['conv_thr']) == (0.05, 500, 1e-8)
    assert robust_parameters(PARAMETERS)['ELECTRONS']['mixing_beta'] < 0.7
    assert robust_parameters(PARAMETERS)['SYSTEM'] == PARAMETERS['SYSTEM']
    assert parameters == changed('ELECTRONS', mixing_beta=0.05, electron_maxstep=500)
