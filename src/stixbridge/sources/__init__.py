"""Where STIX comes from: files, TAXII servers."""
