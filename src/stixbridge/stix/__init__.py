"""Reading STIX 2: shapes, versions, times, patterns. One canonical model, STIX 2.1, comes out."""
