"""MISP's side: types, templates and galaxies, the values it accepts, and its event format."""
