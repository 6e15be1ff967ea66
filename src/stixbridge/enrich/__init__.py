"""Changes events between conversion and delivery, as the user configured it."""

from stixbridge.enrich.enrichment import Enrichment
from stixbridge.enrich.settings import Enrich

__all__ = ["Enrich", "Enrichment"]
