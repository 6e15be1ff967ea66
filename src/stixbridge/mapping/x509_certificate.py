"""STIX 2.1, section 6.18.

Properties without a relation in the template go to the attribute `text`.
"""

from stixbridge.mapping.tables import Field, Role, Table

_EXT = "x509_v3_extensions"

TABLE = Table(
    "x509-certificate",
    Role.OBSERVABLE,
    template="x509",
    fields={
        **{
            f"hashes.{name}": Field(
                f"x509-fingerprint-{misp}", f"x509-fingerprint-{misp}", selects=True
            )
            for name, misp in (("MD5", "md5"), ("SHA-1", "sha1"), ("SHA-256", "sha256"))
        },
        "is_self_signed": Field(None, "is_self_signed"),
        "version": Field(None, "version"),
        "serial_number": Field(None, "serial-number"),
        "signature_algorithm": Field(None, "signature_algorithm"),
        "issuer": Field(None, "issuer"),
        "subject": Field(None, "subject"),
        "validity_not_before": Field(None, "validity-not-before"),
        "validity_not_after": Field(None, "validity-not-after"),
        "subject_public_key_algorithm": Field(None, "pubkey-info-algorithm"),
        "subject_public_key_modulus": Field(None, "pubkey-info-modulus"),
        "subject_public_key_exponent": Field(None, "pubkey-info-exponent"),
        f"{_EXT}.key_usage": Field(None, "key_usage"),
        f"{_EXT}.extended_key_usage": Field(None, "extended_key_usage"),
        f"{_EXT}.subject_key_identifier": Field(None, "subject-key-id"),
        f"{_EXT}.authority_key_identifier": Field(None, "issuer-key-id"),
        f"{_EXT}.*": Field(None, "text"),
    },
)
