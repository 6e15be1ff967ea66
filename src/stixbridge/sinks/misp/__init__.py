"""The MISP sink: events to a MISP server by its REST API. Start with `sink`."""
