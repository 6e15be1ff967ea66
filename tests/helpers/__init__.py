"""What several test modules share: STIX to send, a bridge that polls, a MISP that is a double or a
real one.
"""
