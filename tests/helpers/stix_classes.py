"""The classes of the library `stix2`, by STIX type."""

import stix2.v21

CLASSES = {
    found._type: found
    for module in (stix2.v21.sdo, stix2.v21.sro, stix2.v21.observables, stix2.v21.common)
    for name in dir(module)
    if isinstance(found := getattr(module, name), type)
    and hasattr(found, "_properties")
    and hasattr(found, "_type")
}
