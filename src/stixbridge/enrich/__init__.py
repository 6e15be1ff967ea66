"""What the user adds between conversion and delivery. Settings here; rules get their place beside them."""

from .settings import Enrich

__all__ = ["Enrich"]
