"""What the user adds between conversion and delivery."""

from stixbridge.enrich.enrichment import Enrichment
from stixbridge.enrich.settings import Enrich

__all__ = ["Enrich", "Enrichment"]
