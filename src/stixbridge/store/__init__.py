"""Stores received objects, their places in events, and deliveries."""

from stixbridge.store.store import Store

__all__ = ["Store"]
