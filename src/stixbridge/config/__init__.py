"""The configuration: read, checked, and built into running parts."""
