"""The reference grammars of STIX patterns."""

import stix2patterns.v20.pattern
import stix2patterns.v21.pattern
from stix2patterns.exceptions import ParseException


def reference(text: str) -> bool:
    """Whether the grammar of STIX 2.0 or that of 2.1 accepts a text (the validator's checks of
    hashes left out).
    """
    for grammar in (stix2patterns.v21.pattern.Pattern, stix2patterns.v20.pattern.Pattern):
        try:
            grammar(text)
        except ParseException:
            continue
        return True
    return False
