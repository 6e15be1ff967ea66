"""Test doubles: servers that behave like the real ones, row for row."""
