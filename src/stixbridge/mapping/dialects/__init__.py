"""Types and properties that producers add to STIX: OpenCTI, ATT&CK, and MISP's export."""
