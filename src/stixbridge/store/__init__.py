"""The durable memory: what came in, what is in which event, what was delivered where."""

from stixbridge.store.store import Store

__all__ = ["Store"]
