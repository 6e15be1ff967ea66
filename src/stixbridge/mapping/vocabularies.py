"""The open vocabularies of STIX 2.1 that MISP has a galaxy for, by meaning.

Section 10.6 and section 10.22.

A value that MISP has nothing equal to is None. What STIX divides further than MISP is the whole
(`government-local`).
"""

from collections.abc import Mapping

SECTORS: Mapping[str, str | None] = {
    "agriculture": "Agriculture",
    "aerospace": "Aerospace",
    "automotive": "Automotive",
    "chemical": "Chemical",
    "commercial": None,
    "communications": "Telecoms",
    "construction": "Construction",
    "defense": "Defense",
    "education": "Education",
    "energy": "Energy",
    "entertainment": "Entertainment",
    "financial-services": "Finance",
    "government": "Government, Administration",
    "emergency-services": None,
    "government-national": "Government, Administration",
    "government-regional": "Government, Administration",
    "government-local": "Government, Administration",
    "government-public-services": "Government, Administration",
    "healthcare": "Health",
    "hospitality-leisure": "Hospitality",
    "infrastructure": "Infrastructure",
    "dams": "Infrastructure",
    "nuclear": "Infrastructure",
    "water": "Water",
    "insurance": "Insurance",
    "manufacturing": "Manufacturing",
    "mining": "Mining",
    "non-profit": "Non-profit organisation",
    "pharmaceuticals": "Pharmacy",
    "retail": "Retail",
    "technology": "Technology",
    "telecommunications": "Telecoms",
    "transportation": "Transport",
    "utilities": "Infrastructure",
}
"""`industry-sector-ov` -> the cluster of the galaxy `sector`.

Dams and nuclear are kinds of infrastructure in STIX.
"""

REGIONS: Mapping[str, str] = {
    "africa": "002 - Africa",
    "eastern-africa": "014 - Eastern Africa",
    "middle-africa": "017 - Middle Africa",
    "northern-africa": "015 - Northern Africa",
    "southern-africa": "018 - Southern Africa",
    "western-africa": "011 - Western Africa",
    "americas": "019 - Americas",
    "latin-america-caribbean": "419 - Latin America and the Caribbean",
    "south-america": "005 - South America",
    "caribbean": "029 - Caribbean",
    "central-america": "013 - Central America",
    "northern-america": "021 - Northern America",
    "asia": "142 - Asia",
    "central-asia": "143 - Central Asia",
    "eastern-asia": "030 - Eastern Asia",
    "southern-asia": "034 - Southern Asia",
    "south-eastern-asia": "035 - South-eastern Asia",
    "western-asia": "145 - Western Asia",
    "europe": "150 - Europe",
    "eastern-europe": "151 - Eastern Europe",
    "northern-europe": "154 - Northern Europe",
    "southern-europe": "039 - Southern Europe",
    "western-europe": "155 - Western Europe",
    "oceania": "009 - Oceania",
    "antarctica": "010 - Antarctica",
    "australia-new-zealand": "053 - Australia and New Zealand",
    "melanesia": "054 - Melanesia",
    "micronesia": "057 - Micronesia",
    "polynesia": "061 - Polynesia",
}
"""`region-ov` -> the cluster of the galaxy `region`."""


def word_of(text: str) -> str:
    """A text in the spelling of the vocabularies: `Financial Services` is `financial-services`."""
    return "-".join(text.lower().replace("-", " ").replace("_", " ").split())
