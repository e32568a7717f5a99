"""Removes passwords and tokens from URLs for messages, files and paths."""

import re
from typing import Any

MASK = "***"
# The user and password, up to the last @ of the authority. A password may contain invalid
# characters such as / and #; a colon without a port after it identifies it.
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
    """Replaces passwords and tokens in the URLs in `text` by ***."""
    return SECRET.sub(rf"\1={MASK}", CREDENTIALS.sub(f"{MASK}@", text))


def masked_values(value: Any) -> Any:
    """Applies `masked` to all strings in a JSON value."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, list):
        return [masked_values(item) for item in value]
    if isinstance(value, dict):
        return {name: masked_values(item) for name, item in value.items()}
    return value


def without_secrets(url: str) -> str:
    """Removes user, password and query fields with a token from a URL."""
    url = re.sub(r"(?<=[?&;#])[&;]+", "", SECRET.sub("", CREDENTIALS.sub("", url)))
    return EMPTY_ENDS.sub("", url)
