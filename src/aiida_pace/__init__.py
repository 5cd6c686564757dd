"""AiiDA plugin that makes a reliable ACE interatomic potential with the least DFT, unattended."""

__version__ = '0.1.0'
