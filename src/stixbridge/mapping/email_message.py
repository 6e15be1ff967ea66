"""STIX 2.1, section 6.6.

Addresses and names of files come into the `email` object; attached files stand beside it.
"""

import re

from stixbridge.ledger import Reason
from stixbridge.mapping.tables import Field, Role, Table

_PEOPLE = {"to": "to", "cc": "cc", "bcc": "bcc"}
_HEADERS = {
    "Reply-To": Field("email-reply-to", "reply-to", selects=True),
    "X-Mailer": Field("email-x-mailer", "x-mailer"),
    "Return-Path": Field(None, "return-path", selects=True),
    "User-Agent": Field(None, "user-agent"),
    "Thread-Index": Field("email-thread-index", "thread-index"),
    "X-Originating-IP": Field(None, "ip-src", selects=True),
}

_FILE_NAME = re.compile(r"filename\*?\s*=\s*(?:[\w-]*'[\w-]*')?\"?([^\";]+)", re.IGNORECASE)


def file_name_in(disposition: str) -> str:
    """The name of a file in a Content-Disposition (RFC 2183).

    The whole text where it names none.
    """
    match = _FILE_NAME.search(disposition)
    return match[1].strip() if match is not None else disposition


TABLE = Table(
    "email-message",
    Role.OBSERVABLE,
    template="email",
    fields={
        "from_ref.value": Field("email-src", "from", selects=True),
        "from_ref.display_name": Field("email-src-display-name", "from-display-name"),
        "sender_ref.value": Field(None, "return-path", selects=True),
        **{f"{name}_refs[*].value": Field("email-dst", name) for name in _PEOPLE},
        **{
            f"{name}_refs[*].display_name": Field("email-dst-display-name", f"{name}-display-name")
            for name in _PEOPLE
        },
        "subject": Field("email-subject", "subject"),
        "body": Field("email-body", "email-body"),
        "date": Field(None, "send-date"),
        "message_id": Field("email-message-id", "message-id"),
        "received_lines[*]": Field("email-header", "header"),
        # header fields of STIX 2.1 are lists of texts, those of 2.0 texts
        **{
            f"additional_header_fields.{name}{several}": field
            for name, field in _HEADERS.items()
            for several in ("", "[*]")
        },
        "additional_header_fields.*": Field(None, "header"),
        "body_multipart[*].body_raw_ref.name": Field("email-attachment", "attachment"),
        "body_multipart[*].content_disposition": Field(
            "email-attachment", "attachment", convert=file_name_in
        ),
        "body_multipart[*].body": Field(None, "email-body"),
        "content_type": Field(None, "header"),
    },
    properties={"is_multipart": Reason.REDUNDANT},
    links={"raw_email_ref": "raw-content", "body_multipart[*].body_raw_ref": "contains"},
    unmapped={
        "body_multipart[*].content_type": Reason.NO_PLACE,
    },
)
