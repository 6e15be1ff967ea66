"""Answers from the store: where a value went, how pipelines stand, dead letters, overlaps."""
