"""Readers and writers of the files of engines and other programs; no AiiDA."""
