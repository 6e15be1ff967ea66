"""What two converters say of one bundle, and the reviewed list of where they differ."""
