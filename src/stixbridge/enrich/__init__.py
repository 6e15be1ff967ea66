"""What the user adds between conversion and delivery."""

from .enrichment import Enrichment
from .settings import Enrich

__all__ = ["Enrich", "Enrichment"]
