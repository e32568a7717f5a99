"""A shard: a part of a corpus that is read from its beginning to its end by one process."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """What a shard holds at one place: a document, or something that cannot be read as one."""

    number: int  # Of the line, or of the example, from 1; for a person to find it.
    text: str  # The document; empty where there is a fault.
    fault: str  # Why there is none, such as "no JSON"; empty where there is a document.
    position: int  # Bytes of the shard that have been read so far.


class Shard(Protocol):
    """A part of a corpus. It can be pickled."""

    name: str  # For a person: a path, or the like.
    num_bytes: int  # As it lies on disk; what `Entry.position` counts up to.

    def identity(self) -> str:
        """Tells one content from another, and does not depend on the folder that it lies in."""

    def entries(self) -> Iterator[Entry]:
        """All it holds, in order; little of it is in memory at a time.

        Raises:
            UserError: it cannot be read to its end.
        """
