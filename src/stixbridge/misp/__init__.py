"""MISP's side: what it knows (types, templates, galaxies), which values it takes, and its event format."""
