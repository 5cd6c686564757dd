"""The command line `aiida-pace`."""

from aiida_pace.cli.check import cmd_check
from aiida_pace.cli.exchange import cmd_export, cmd_import
from aiida_pace.cli.root import cmd_root
from aiida_pace.cli.save_potential import cmd_save_potential
from aiida_pace.cli.status import cmd_status

__all__ = ('cmd_check', 'cmd_export', 'cmd_import', 'cmd_root', 'cmd_save_potential', 'cmd_status')
