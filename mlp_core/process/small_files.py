"""Small files, such as configurations and lists of names, read within bounds.

What a file says, and how long it is, is up to whoever made it: nothing is read without a limit.
"""

import json
import math
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

SMALL_FILE_BYTES = 64 << 20  # More than any configuration or list of names has.
SKIPPED_AT_ONCE = 1 << 26  # Bytes.


def read_bytes(path: Path, most_bytes: int = SMALL_FILE_BYTES) -> bytes:
    """The content of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file (a pipe or device may have no end), or too long.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("not a regular file")
    if found.st_size > most_bytes:
        raise ValueError(f"longer than the {most_bytes >> 20:,} MiB that are read of such a file")
    with path.open("rb") as file:
        return file.read(most_bytes)


def read_text(path: Path, most_bytes: int = SMALL_FILE_BYTES) -> str:
    """The content of a file in UTF-8, without the byte-order mark that some editors put in front.

    Raises:
        OSError, ValueError: see `read_bytes`; or the text is not UTF-8.
    """
    return read_bytes(path, most_bytes).decode("utf-8-sig")


def read_json(path: Path) -> Any:
    """What a file in JSON says; raises as `read_text` and `parse_json`."""
    return parse_json(read_text(path))


def parse_json(text: str | bytes) -> Any:
    """What a text in JSON says.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def skip_line(file: IO[bytes], most_bytes: float = math.inf) -> None:
    """Reads to the end of a line.

    Raises:
        ValueError: more than `most_bytes` bring no end; a device such as /dev/zero has none.
    """
    skipped = 0
    while (part := file.readline(SKIPPED_AT_ONCE)) and not part.endswith(b"\n"):
        skipped += len(part)
        if skipped >= most_bytes:
            raise ValueError(f"does not end within {most_bytes / 2**30:g} GiB")


def bounded_lines(file: IO[bytes], most_bytes: int) -> Iterator[bytes]:
    """The lines of a file, with their ends.

    Raises:
        ValueError: one is longer than `most_bytes`; tells its number.
    """
    number = 0
    while line := file.readline(most_bytes + 1):
        number += 1
        if len(line) > most_bytes:
            raise ValueError(f"line {number:,} is longer than {most_bytes >> 20} MiB")
        yield line
