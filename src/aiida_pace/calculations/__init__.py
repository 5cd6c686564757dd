"""Calculation jobs, one engine each, and the thin calcfunctions."""
