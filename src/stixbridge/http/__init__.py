"""HTTP for sources and sinks.

Time-outs, a cap on bytes, an authority of one's own, credentials and cookies that stay at their
host, waits that the server asks for, and errors that say what to do.
"""

from stixbridge.http.client import MAX_BYTES, Answer, Http
from stixbridge.http.credentials import Auth, Certificate
from stixbridge.http.pace import MAX_WAIT, asked_wait, pause, rate
from stixbridge.http.refusals import Refused, TooLarge, TooSlow

__all__ = [
    "MAX_BYTES",
    "MAX_WAIT",
    "Answer",
    "Auth",
    "Certificate",
    "Http",
    "Refused",
    "TooLarge",
    "TooSlow",
    "asked_wait",
    "pause",
    "rate",
]
