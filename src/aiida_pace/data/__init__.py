"""Data nodes: data sets of frames, potentials, active sets."""
