"""Queries on the store: the place of a value, the state of pipelines, dead letters, overlaps."""
