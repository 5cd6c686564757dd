"""The group of all commands and the options they share; modules of commands import nothing heavy at their top."""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Callable

import click
from aiida.cmdline.groups.verdi import VerdiCommandGroup
from aiida.cmdline.params import options, types

from aiida_pace import __version__

__all__ = ('CommandGroup', 'cmd_root', 'profile_option', 'verbose_option', 'with_profile')


class CommandGroup(VerdiCommandGroup):
    """AiiDA's group: it knows the profiles and suggests commands; with our own ``--verbose`` in place of a level."""

    @staticmethod
    def add_verbosity_option(cmd: click.Command) -> click.Command:
        """Leave the command as it is."""
        return cmd


#: Eager: the profile is there before an argument looks for a node. The default one is loaded by `with_profile`.
profile_option = options.PROFILE(
    type=types.ProfileParamType(load_profile=True), default=None, expose_value=False, is_eager=True
)
verbose_option = click.option('-v', '--verbose', is_flag=True, help='Show more detail.')


P = t.ParamSpec('P')
R = t.TypeVar('R')


def with_profile(command: Callable[P, R]) -> Callable[P, R]:
    """Load the profile, the default one unless another was named, before the command runs.

    AiiDA's `with_dbenv`, but what is wrong becomes one sentence with a remedy.
    """

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        from aiida.cmdline.utils.decorators import load_backend_if_not_loaded
        from aiida.common.exceptions import AiidaException, ConfigurationError

        try:
            load_backend_if_not_loaded()
        except ConfigurationError as exception:
            raise click.ClickException(
                f'no profile could be loaded ({exception}): set AIIDA_PATH to the folder with your profiles, name one '
                'with `-p`, or make one with `verdi presto --use-zeromq`.'
            ) from exception
        except AiidaException as exception:
            raise click.ClickException(f'the profile could not be loaded: {exception}') from exception
        return command(*args, **kwargs)

    return wrapper


@click.group('aiida-pace', cls=CommandGroup, context_settings={'help_option_names': ['-h', '--help']})
@profile_option
@click.version_option(__version__, '--version', prog_name='aiida-pace')
def cmd_root() -> None:
    """Check, follow and harvest campaigns that make ACE interatomic potentials."""
