"""Pure functions that make and judge structures: Atoms in, Atoms out; no AiiDA."""
