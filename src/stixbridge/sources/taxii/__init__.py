"""TAXII 2.0 and 2.1.

The client that both share, each version's paging, and presets of public servers.
"""
