"""Translation of a LAMMPS input with ``pace/extrapolation`` into one that stock LAMMPS reads; text in, text out.

The pair style becomes a ``pair_style zero`` of the same cutoff, with energy, forces and virial from a ``fix external``;
the ``fix pair`` that publishes the grades becomes a ``fix ave/atom`` over one step, which has the same name, the same
per-atom vector and may be used at the same steps. Other commands stay as they are, or are refused.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

__all__ = ('GRADE_VARIABLE', 'STRIDE_PREFIX', 'InputError', 'TranslatedInput', 'translate_command', 'translate_input')

STYLE = 'pace/extrapolation'

#: LAMMPS variable with the grade of each atom at this step.
GRADE_VARIABLE = 'pace_lmp_grade'

#: Prefix of the variable that holds the stride of a ``fix pair``; the name of the fix follows.
STRIDE_PREFIX = 'pace_lmp_every_'

#: Columns of ``thermo_style one``, with `pe` for the energy of the pair style: the potential is a fix, which only `pe`
#: includes.
THERMO_DEFAULT = 'step temp pe emol etotal press'

_WORD = re.compile(r'"""[\s\S]*?"""|"[^"]*"|\'[^\']*\'|[^\s#]+|#.*')
_LABEL = '`jump SELF` cannot find a `label` before `pair_coeff`: move the label after `pair_coeff`'
_FIX = 'a fix before `pair_coeff` would act before the potential: move the fix after `pair_coeff`'
_FILE = 'commands of another file are not translated: write the commands into the input'
_PER_ATOM = 'pace-lmp has no energies and virials of single atoms'
_PAIR_ONLY = 'pace-lmp does not count the potential as a pair style; use `pe`'

#: Commands that are always refused, and why.
_REFUSED = {
    'clear': 'the command would remove the potential',
    'include': _FILE,
    'mdi': 'another program cannot drive pace-lmp',
    'python': 'stock LAMMPS is built without Python',
    'pair_write': 'the potential is not a pair potential',
}

#: Styles of computes that would silently miss the potential.
_REFUSED_COMPUTES = ('centroid/stress/atom', 'heat/flux', 'pair', 'pe/atom', 'stress/atom')


class InputError(ValueError):
    """A command that cannot be emulated: the message names the line, the reason and the remedy."""


@dataclasses.dataclass(frozen=True)
class TranslatedInput:
    """A LAMMPS input, cut where the potential is attached.

    :param preamble: commands before ``pair_coeff``.
    :param coefficients: arguments of ``pair_coeff``, variables not yet replaced.
    :param body: commands after ``pair_coeff``.
    :param grade_fixes: names of the fixes that publish grades.
    """

    preamble: str
    coefficients: str
    body: str
    grade_fixes: tuple[str, ...]


def translate_input(text: str) -> TranslatedInput:
    """Translate a whole input.

    :raises InputError: at the first command that cannot be emulated.
    """
    parts: tuple[list[str], list[str]] = ([], [])
    coefficients: str | None = None
    styled, thermo, grade_fixes = False, False, []
    for number, command in commands(text):
        words = split_words(command)
        name = words[0] if words else ''
        try:
            if name == 'pair_coeff' and styled:
                if coefficients is not None:
                    raise InputError('a second `pair_coeff` is not supported')
                coefficients = ' '.join(words[1:])
                continue
            if coefficients is None and name in ('fix', 'label'):
                raise InputError(_LABEL if name == 'label' else _FIX)
            lines = translate_command(command)
        except InputError as exception:
            raise InputError(f'line {number}, `{" ".join(command.split())}`: {exception}') from exception
        styled = styled or words[:2] == ['pair_style', STYLE]
        thermo = thermo or name == 'thermo_style'
        if name == 'fix' and words[4:6][-1:] == [STYLE]:
            grade_fixes.append(words[1])
        parts[coefficients is not None].extend(lines)
    if coefficients is None:
        raise InputError(f'the input has no `pair_style {STYLE}` with a `pair_coeff`: run the input with `lmp`')
    if not thermo:
        parts[0].append(f'thermo_style custom {THERMO_DEFAULT}')
    return TranslatedInput(
        preamble='\n'.join(parts[0]) + '\n',
        coefficients=coefficients,
        body='\n'.join(parts[1]) + '\n',
        grade_fixes=tuple(dict.fromkeys(grade_fixes)),
    )


def translate_command(command: str) -> list[str]:
    """Return the commands of stock LAMMPS that replace a ``command`` of ML-PACE other than ``pair_coeff``.

    :raises InputError: when the command cannot be emulated.
    """
    match split_words(command):
        case ['pair_style', style, *_] if style == STYLE:
            # A placeholder for commands before `pair_coeff` that need a pair style; the cutoff is not known yet.
            return ['pair_style zero 1.0']
        case ['fix', name, _, 'pair', every, style, *fields] if style == STYLE:
            return _grade_fix(name, every, fields)
        case ['thermo_style', 'one', *_]:
            return [f'thermo_style custom {THERMO_DEFAULT}']
        case words:
            _check(words, command)
            return [command]


def _grade_fix(name: str, every: str, fields: list[str]) -> list[str]:
    """Return the commands for a ``fix pair`` that publishes the grades of all atoms each ``every`` steps."""
    if fields != ['gamma', '1']:
        raise InputError('only the field `gamma 1` is supported')
    if '$' in name:
        raise InputError('the name of the fix contains a variable: write the name out')
    return [
        f'variable {STRIDE_PREFIX}{name} equal {every}',
        f'fix {name} all ave/atom {every} 1 {every} v_{GRADE_VARIABLE}',
    ]


def _check(words: list[str], command: str) -> None:
    """Raise `InputError` when the command has another effect, or none, without the pair style."""
    name, arguments = (words[0], words[1:]) if words else ('', [])
    names_style = STYLE in _without_comment(command)
    if any(word.startswith('hybrid') for word in arguments) and name == 'pair_style':
        raise InputError(f'hybrid styles are not supported; use `pair_style {STYLE}` alone')
    if name == 'pair_style' and not names_style:
        raise InputError(f'only the pair style `{STYLE}` is supported, without variables')
    if names_style:
        raise InputError(f'`{STYLE}` is supported in `pair_style` and `fix ID all pair N {STYLE} gamma 1` only')
    if name in _REFUSED:
        raise InputError(f'`{name}` is not supported: {_REFUSED[name]}')
    if name == 'jump' and (arguments[:1] != ['SELF'] or len(arguments) < 2):
        raise InputError(f'only `jump SELF LABEL` is supported: {_FILE}')
    if name == 'compute':
        style, options = arguments[2:3], arguments[3:]
        if style and style[0] in _REFUSED_COMPUTES:
            raise InputError(f'`compute {style[0]}` is not supported: {_PER_ATOM}')
        if style in (['pressure'], ['pe']) and 'pair' in options:
            raise InputError(f'the keyword `pair` of `compute {style[0]}` is not supported: {_PAIR_ONLY}')
    if name == 'thermo_style' and arguments[:1] != ['custom']:
        raise InputError('use `thermo_style custom`: other styles print the energy of the pair style, which is 0')
    if name == 'thermo_style' and (found := {'epair', 'evdwl'} & set(arguments)):
        raise InputError(f'`{min(found)}` would be 0: {_PAIR_ONLY}')


def commands(text: str) -> Iterator[tuple[int, str]]:
    """Yield the commands of an input with the number of their first line, continued lines joined."""
    lines = iter(enumerate(text.splitlines(), start=1))
    for number, first in lines:
        command = first
        while command.rstrip().endswith('&') or command.count('"""') % 2:
            following = next(lines, None)
            if following is None:
                break
            continued = command.rstrip().endswith('&')
            command = (command.rstrip()[:-1] if continued else command + '\n') + following[1]
        yield number, command


def split_words(command: str) -> list[str]:
    """Return the words of a command by LAMMPS' rules: quoted text is one word, a comment has no words."""
    words = [match.group() for match in _WORD.finditer(command)]
    comment = next((index for index, word in enumerate(words) if word.startswith('#')), len(words))
    return words[:comment]


def _without_comment(command: str) -> str:
    """Return the command without its comment."""
    return ' '.join(split_words(command))
