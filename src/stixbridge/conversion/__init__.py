"""From STIX objects to MISP events: `engine` drives, the other modules are its stages in the order it names them."""
