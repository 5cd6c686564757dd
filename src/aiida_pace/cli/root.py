"""The group of all commands and the options they share; modules of commands import nothing heavy at their top."""

from __future__ import annotations

import click
from aiida.cmdline.groups.verdi import VerdiCommandGroup
from aiida.cmdline.params import options, types

from aiida_pace import __version__

__all__ = ('CommandGroup', 'cmd_root', 'profile_option', 'verbose_option')


class CommandGroup(VerdiCommandGroup):
    """AiiDA's group: it knows the profiles and suggests commands; with our own ``--verbose`` in place of a level."""

    @staticmethod
    def add_verbosity_option(cmd: click.Command) -> click.Command:
        """Leave the command as it is."""
        return cmd


#: Eager, so that the profile is loaded before an argument looks for a node; the default one is loaded by `with_dbenv`.
profile_option = options.PROFILE(
    type=types.ProfileParamType(load_profile=True), default=None, expose_value=False, is_eager=True
)
verbose_option = click.option('--verbose', is_flag=True, help='Say more.')


@click.group('aiida-pace', cls=CommandGroup, context_settings={'help_option_names': ['-h', '--help']})
@profile_option
@click.version_option(__version__, '--version', prog_name='aiida-pace')
def cmd_root() -> None:
    """Follow campaigns that make ACE interatomic potentials, and take their potentials home."""
