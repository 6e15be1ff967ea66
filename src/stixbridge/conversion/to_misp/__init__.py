"""STIX objects to MISP events. `engine` drives; the other modules are its stages."""
