"""Thin calcfunctions: they link data to data, the work is done by pure functions."""
