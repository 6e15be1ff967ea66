"""Reads STIX 2: documents, versions, references, patterns. The result is always STIX 2.1."""
