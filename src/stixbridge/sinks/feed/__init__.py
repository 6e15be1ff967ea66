"""The feed sink: a MISP feed folder, its signature, and a server for it."""
