"""The conversion: our own engine in `to_misp`, and the official converter in `misp_stix`."""
