"""Extended XYZ: a writer without rounding, and a reader frame by frame; no AiiDA."""

from aiida_pace.formats.extxyz.read import read_extxyz
from aiida_pace.formats.extxyz.write import write_extxyz

__all__ = ('read_extxyz', 'write_extxyz')
