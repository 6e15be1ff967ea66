"""STIX 2.1, section 4.10.

A place with coordinates or an address becomes an object, a country or region a cluster.
"""

from stixbridge.mapping.context import context
from stixbridge.mapping.tables import Field, Role, Table


def _kilometres(metres: str) -> str:
    """Convert metres (STIX) to kilometres (the template)."""
    try:
        return f"{float(metres) / 1_000:g}"
    except ValueError:
        return metres


TABLE = Table(
    "location",
    Role.DETAIL,
    template="geolocation",
    fields={
        "name": Field(None, "text"),
        "description": Field(None, "text"),
        "latitude": Field(None, "latitude"),
        "longitude": Field(None, "longitude"),
        "precision": Field(None, "accuracy-radius", convert=_kilometres),
        "region": Field(None, "region"),
        "country": Field(None, "countrycode"),
        "administrative_area": Field(None, "region"),
        "city": Field(None, "city"),
        "street_address": Field(None, "address"),
        "postal_code": Field(None, "zipcode"),
    },
    properties={
        "x_opencti_location_type": "tag misp-galaxy",
        "x_opencti_aliases": "tag misp-galaxy",
    },
)

AREA = context(
    "location",
    (
        "region",
        "country",
        "administrative_area",
        "latitude",
        "longitude",
        "precision",
        "city",
        "street_address",
        "postal_code",
    ),
    names=("name", "country", "region", "administrative_area"),
    x_opencti_location_type="tag misp-galaxy",
)
"""The table for a country or region, which becomes a galaxy cluster."""

PLACES = ("latitude", "longitude", "city", "street_address", "postal_code")
"""Properties that make a location a place instead of an area.

`x_opencti_location_type` takes precedence.
"""

AREA_TYPES = frozenset({"Country", "Region", "Administrative-Area"})
