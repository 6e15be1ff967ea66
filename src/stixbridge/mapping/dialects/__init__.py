"""Types and properties that producers add to STIX: OpenCTI, ATT&CK, and STIX that MISP exported."""
