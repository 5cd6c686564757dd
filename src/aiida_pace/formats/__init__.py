"""Text and files of the engines to Python and back; no AiiDA."""
