"""Parsers: the mirror of the calculations."""
