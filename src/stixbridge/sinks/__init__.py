"""Where events go: a MISP by its REST API, a feed folder, plain files."""
