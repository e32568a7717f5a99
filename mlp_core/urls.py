"""Passwords and tokens in URLs, which no message, file or path may repeat."""

import re
from typing import Any

MASK = "***"
# The user and password, up to the last @ of the authority. A password may hold characters that it
# should not, / and # among them; a colon that no port follows gives it away.
CREDENTIALS = re.compile(r"(?<=://)(?:[^\s/?#'\"]*@|[^\s/?#@:'\"]+:(?!\d*(?:[/?#]|$))\S*@)")
SECRET_NAMES = (
    "token|signature|credential|password|passwd|pwd|secret|auth|session|jwt|hmac|"
    "(?:api|access|private|subscription)[-_]?key|key[-_]?pair[-_]?id|access[-_]?key[-_]?id|policy"
)
SECRET = re.compile(
    rf"(?<=[?&;#])([\w.%-]*(?:{SECRET_NAMES})[\w.%-]*|sig|key|code)="
    r"[^&;#\s'\"]*?(?=[:.,)]*(?:[&;#\s'\"]|$))",  # Without the punctuation of a sentence.
    re.IGNORECASE,
)
EMPTY_ENDS = re.compile(r"[?&;#]+$")


def masked(text: str) -> str:
    """`text` with *** in place of passwords and tokens in the URLs in it."""
    return SECRET.sub(rf"\1={MASK}", CREDENTIALS.sub(f"{MASK}@", text))


def masked_values(value: Any) -> Any:
    """A value as JSON has them, with all texts in it `masked`."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, list):
        return [masked_values(item) for item in value]
    if isinstance(value, dict):
        return {name: masked_values(item) for name, item in value.items()}
    return value


def without_secrets(url: str) -> str:
    """A URL without user, password and the fields of its query that hold a token."""
    url = re.sub(r"(?<=[?&;#])[&;]+", "", SECRET.sub("", CREDENTIALS.sub("", url)))
    return EMPTY_ENDS.sub("", url)
