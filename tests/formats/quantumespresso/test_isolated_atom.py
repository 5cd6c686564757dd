"""What an isolated atom needs of pw.x."""

from __future__ import annotations

import pytest
from ase.data import chemical_symbols

from aiida_pace.formats.quantumespresso.isolated_atom import isolated_atom_parameters

PARAMETERS = {
    'CONTROL': {'tprnfor': True},
    'SYSTEM': {'ecutwfc': 30.0, 'occupations': 'smearing', 'smearing': 'cold', 'degauss': 0.02},
    'ELECTRONS': {'conv_thr': 1e-9},
}


@pytest.mark.parametrize(
    ('element', 'valence', 'moment'), [('Si', 4, 2), ('Al', 3, 1), ('N', 5, 3), ('Fe', 16, 4), ('Cr', 14, 6)]
)
def test_open_shells_have_the_moment_of_the_free_atom(element: str, valence: int, moment: int) -> None:
    system = isolated_atom_parameters(PARAMETERS, element, valence)['SYSTEM']
    assert system['nspin'] == 2
    assert system['tot_magnetization'] == moment
    assert system['starting_magnetization'] == {element: pytest.approx(moment / valence)}


@pytest.mark.parametrize('element', ['Mg', 'Zn', 'Ar', 'Pd'])
def test_closed_shells_run_without_spin(element: str) -> None:
    system = isolated_atom_parameters(PARAMETERS, element, 10)['SYSTEM']
    assert not {'nspin', 'tot_magnetization', 'starting_magnetization'} & set(system)


@pytest.mark.parametrize(('element', 'valence'), [('Gd', 3), ('Si', None), ('Nd', 11)])
def test_a_moment_that_the_pseudopotential_cannot_have_is_left_to_the_engine(element: str, valence: int | None) -> None:
    system = isolated_atom_parameters(PARAMETERS, element, valence)['SYSTEM']
    assert system['nspin'] == 2
    assert system['starting_magnetization'] == {element: 0.5}
    assert 'tot_magnetization' not in system


def test_the_smearing_is_narrow_and_nothing_else_changes() -> None:
    parameters = isolated_atom_parameters(PARAMETERS, 'Si', 4)
    assert parameters['SYSTEM']['degauss'] == 0.001
    assert parameters['SYSTEM']['ecutwfc'] == 30.0
    assert parameters['CONTROL'] == PARAMETERS['CONTROL']
    assert parameters['ELECTRONS']['conv_thr'] == 1e-9
    assert PARAMETERS['SYSTEM']['degauss'] == 0.02, 'the settings of all structures must stay as they are'
    narrower = {'SYSTEM': {'occupations': 'smearing', 'degauss': 1e-4}, 'ELECTRONS': {'mixing_beta': 0.1}}
    parameters = isolated_atom_parameters(narrower, 'Si', 4)
    assert parameters['SYSTEM']['degauss'] == 1e-4
    assert parameters['ELECTRONS']['mixing_beta'] == 0.1


@pytest.mark.parametrize(
    'spin', [{'nspin': 1}, {'nspin': 2, 'starting_magnetization': {'Si': 0.1}}, {'noncolin': True}]
)
def test_spin_that_was_asked_for_stays(spin: dict[str, object]) -> None:
    system = isolated_atom_parameters({'SYSTEM': PARAMETERS['SYSTEM'] | spin}, 'Si', 4)['SYSTEM']
    names = ('nspin', 'starting_magnetization', 'tot_magnetization', 'noncolin')
    assert {name: system[name] for name in names if name in system} == spin


def test_fixed_occupations_stay() -> None:
    system = isolated_atom_parameters({'SYSTEM': {'occupations': 'fixed'}}, 'Si', 4)['SYSTEM']
    assert system['occupations'] == 'fixed'
    assert 'degauss' not in system


@pytest.mark.parametrize('element', chemical_symbols[1:104])
def test_every_element_has_settings(element: str) -> None:
    assert isolated_atom_parameters({}, element, 12)['SYSTEM']['occupations'] == 'smearing'
