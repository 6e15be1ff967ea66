"""Observables that OpenCTI adds to STIX, under current and older names (`x-opencti-…`).

DOGESEC's `stix2extensions` has types with the same names. Their value is in `string`, `address`,
`number` or `iban_number`.
"""

from stixbridge.mapping.tables import ByKind, Field, Role, Table


def _observable(
    stix_type: str, field: Field | ByKind, template: str | None = None, **more: Field | ByKind
) -> Table:
    return Table(stix_type, Role.OBSERVABLE, template=template, fields={"value": field, **more})


_COIN = ByKind(
    "coin",
    {
        "btc": Field("btc", "address", selects=True),
        "xmr": Field("xmr", "address-xmr", selects=True),
        "other": Field(None, "address-crypto", selects=True),
    },
)

_OWN = (
    table
    for prefix in ("", "x-opencti-")
    for table in (
        _observable(f"{prefix}hostname", Field("hostname", selects=True)),
        _observable(
            f"{prefix}user-agent",
            Field("user-agent", selects=True),
            string=Field("user-agent", selects=True),
        ),
        _observable(f"{prefix}text", Field("text")),
        _observable(f"{prefix}cryptocurrency-wallet", _COIN, "coin-address", address=_COIN),
        _observable(
            f"{prefix}phone-number",
            Field("phone-number", selects=True),
            number=Field("phone-number", selects=True),
            country=Field(None, comment="country"),
            provider=Field(None, comment="provider"),
            connection=Field(None, comment="connection"),
        ),
        _observable(f"{prefix}cryptographic-key", Field(None, "private"), "crypto-material"),
    )
)

TABLES = (
    *_OWN,
    Table(
        "bank-account",
        Role.OBSERVABLE,
        template="bank-account",
        fields={
            "iban": Field("iban", "iban", selects=True),
            "iban_number": Field("iban", "iban", selects=True),
            "bic": Field("bic", "swift"),
            "account_number": Field("bank-account-nr", "account", selects=True),
            "currency": Field(None, "currency-code"),
            "country": Field(None, comment="country"),
        },
    ),
    Table(
        "payment-card",
        Role.OBSERVABLE,
        template="credit-card",
        fields={
            "value": Field("cc-number", "cc-number", selects=True),
            "card_number": Field("cc-number", "cc-number", selects=True),
            "expiration_date": Field(None, "expiration"),
            "holder_name": Field(None, "name"),
            "security_code": Field(None, "card-security-code"),
            "cvv": Field(None, "card-security-code"),
            "start_date": Field(None, "issued"),
            "level": Field(None, comment="level"),
            "scheme": Field(None, comment="scheme"),
            "brand": Field(None, comment="brand"),
        },
    ),
    Table(
        "media-content",
        Role.OBSERVABLE,
        fields={
            "url": Field("url", selects=True),
            "title": Field(None, comment="title"),
            "content": Field(None, comment="content"),
            "media_category": Field(None, comment="category"),
            "publication_date": Field(None, comment="published"),
        },
    ),
    Table(
        "credential",
        Role.OBSERVABLE,
        template="credential",
        fields={"value": Field(None, "password")},
    ),
)
