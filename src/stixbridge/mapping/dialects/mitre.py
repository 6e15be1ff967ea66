"""Types that ATT&CK adds to STIX. MISP has galaxies for some of them."""

from stixbridge.mapping.context import context

TABLES = tuple(
    context(stix_type, retold)
    for stix_type, retold in (
        ("x-mitre-tactic", ("x_mitre_shortname",)),
        ("x-mitre-matrix", ()),
        ("x-mitre-collection", ()),
        ("x-mitre-asset", ("x_mitre_platforms", "x_mitre_sectors")),
        ("x-mitre-analytic", ("x_mitre_platforms",)),
        ("x-mitre-detection-strategy", ()),
        ("x-mitre-data-source", ("x_mitre_platforms", "x_mitre_collection_layers")),
        ("x-mitre-data-component", ()),
    )
)
