from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiida_pace.engines.lmp_input import InputError, commands, split_words, translate_command, translate_input

HEAD = 'units metal\npair_style pace/extrapolation\npair_coeff * * pot.yaml pot.asi Si\n'


def test_pair_style_becomes_a_placeholder() -> None:
    assert translate_command('pair_style  pace/extrapolation # mine') == ['pair_style zero 1.0']


def test_fix_pair_becomes_an_average_over_one_step_of_the_same_name() -> None:
    assert translate_command('fix g all pair ${every} pace/extrapolation gamma 1') == [
        'variable pace_lmp_every_g equal ${every}',
        'fix g all ave/atom ${every} 1 ${every} v_pace_lmp_grade',
    ]


def test_thermo_style_one_shows_the_whole_potential_energy() -> None:
    assert translate_command('thermo_style one') == ['thermo_style custom step temp pe emol etotal press']


@pytest.mark.parametrize(
    'command',
    [
        'variable x equal c_max_pace_gamma # pace/extrapolation',
        'dump 1 all custom 10 x.dump id f_pace_gamma',
        'compute p all pressure thermo_temp virial',
        'compute m all reduce max f_pace_gamma',
        'jump SELF again',
        'print "include this"',
        'thermo_style custom step pe etotal',
        '# pair_style hybrid/overlay pace/extrapolation',
        '',
    ],
)
def test_other_commands_are_left_as_they_are(command: str) -> None:
    assert translate_command(command) == [command]


@given(st.text('abc $"\'#&\t0', max_size=40).filter(lambda text: '"""' not in text))
def test_text_without_the_pair_style_is_left_as_it_is(text: str) -> None:
    assert translate_command(f'print {text}') == [f'print {text}']


@pytest.mark.parametrize(
    ('command', 'message'),
    [
        ('pair_style hybrid/overlay pace/extrapolation zbl 1 2', 'hybrid styles are not supported'),
        ('pair_style lj/cut 3', 'only the pair style `pace/extrapolation` is supported'),
        ('pair_style lj/cut 3 # not pace/extrapolation', 'only the pair style `pace/extrapolation` is supported'),
        ('pair_style ${style}', 'only the pair style `pace/extrapolation` is supported'),
        ('fix g all pair 10 pace/extrapolation gamma 0', 'only the field `gamma 1` is supported'),
        ('fix g all pair 10 pace/extrapolation gamma 1 corerep 1', 'only the field'),
        ('fix ${g} all pair 10 pace/extrapolation gamma 1', 'the name of the fix contains a variable'),
        ('if "1 > 0" then "pair_style pace/extrapolation"', 'supported in `pair_style` and `fix'),
        ('compute x all pair pace/extrapolation', 'supported in `pair_style` and `fix'),
        ('compute x all stress/atom NULL', 'energies and virials of single atoms'),
        ('compute x all pe pair', 'keyword `pair` of `compute pe`'),
        ('compute x all pressure NULL pair', 'keyword `pair` of `compute pressure`'),
        ('thermo_style multi', 'use `thermo_style custom`'),
        ('thermo_style custom step epair', '`epair` would be 0'),
        ('include other.lmp', 'commands of another file are not translated'),
        ('jump other.lmp', 'only `jump SELF LABEL`'),
        ('jump SELF', 'only `jump SELF LABEL`'),
        ('clear', 'the command would remove the potential'),
    ],
)
def test_refused_command(command: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        translate_command(command)


def test_input_is_cut_at_the_potential() -> None:
    found = translate_input(
        'units metal\npair_style pace/extrapolation\ntimestep 0.001\npair_coeff * * ${pot} pot.asi & \nSi C\n'
        'fix pace all pair 5 pace/extrapolation gamma 1\nrun 10\n'
    )
    assert found.preamble.splitlines() == [
        'units metal',
        'pair_style zero 1.0',
        'timestep 0.001',
        'thermo_style custom step temp pe emol etotal press',
    ]
    assert found.coefficients == '* * ${pot} pot.asi Si C'
    assert found.body.splitlines()[1:] == ['fix pace all ave/atom 5 1 5 v_pace_lmp_grade', 'run 10']
    assert found.grade_fixes == ('pace',)


def test_own_thermo_style_stays() -> None:
    assert translate_input('thermo_style custom step\n' + HEAD).preamble.count('thermo_style') == 1
    assert 'thermo_style' not in translate_input(HEAD + 'thermo_style custom step\n').preamble


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('units metal\nrun 0\n', 'has no `pair_style pace/extrapolation`'),
        (HEAD + 'pair_coeff * * pot.yaml pot.asi Si\n', 'line 4, .*second `pair_coeff`'),
        ('fix md all nve\n' + HEAD, 'line 1, `fix md all nve`: a fix before `pair_coeff`'),
        ('label top\n' + HEAD, 'line 1, .*cannot find a `label`'),
        (HEAD + '\n# text\nclear\n', 'line 6, `clear`'),
    ],
)
def test_refused_input(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        translate_input(text)


def test_continued_lines_and_triple_quotes_are_one_command() -> None:
    text = 'a b &\n  c &  \nd\nprint """x\ny""" z\nlast &'
    assert list(commands(text)) == [(1, 'a b   c d'), (4, 'print """x\ny""" z'), (6, 'last &')]


def test_words() -> None:
    assert split_words('print "a # b" \'c\' # d') == ['print', '"a # b"', "'c'"]
    assert split_words('fix 1 all nve#x') == ['fix', '1', 'all', 'nve']
    assert split_words('print """one\n# two""" x') == ['print', '"""one\n# two"""', 'x']
    assert split_words('  # only a comment') == []
