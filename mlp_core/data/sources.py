"""The interface between data sets and the input pipeline, and a source of arrays in memory."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

DIGEST_BYTES = 16
SAMPLED_EXAMPLES = 4096  # Examples in files whose content is digested; takes seconds at most.


class Source(Protocol):
    """Examples with random access, read one batch at a time."""

    def __len__(self) -> int:
        """Number of examples."""

    def gather(self, indices: np.ndarray, draws: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Returns the examples at `indices` [B] as a batch: arrays with leading dimension B.

        Args:
          indices: int64 [B], each in 0 to `len(self)` - 1.
          draws: None in evaluation. In training int64 [B]: the position of each example in the
            endless training order, step * global_batch_size + row. All randomness of an example
            is a function of its draw and of a seed, independent of the number of hosts or threads
            and of interruptions.

        In evaluation the batch may have a `mask`, float32 [B], zero for unreadable examples. In
        training these are replaced by others.

        Raises:
            UserError: too many examples are unreadable.
        """

    def digest(self) -> str:
        """Returns a digest of the examples, labels and order, independent of the directory.

        For examples in memory it covers all of them; for examples in files their number, what is
        known without reading them, and the content of up to `SAMPLED_EXAMPLES`.
        """


@runtime_checkable
class SourceForWorkers(Source, Protocol):
    """A source that worker processes read through pickled copies.

    A copy tolerates unreadable examples and records them for the original, which decides.
    """

    def findings(self) -> Sequence[Any]:
        """In a copy: returns the unreadable examples since the last call."""

    def take_note(self, findings: Sequence[Any]) -> None:
        """In the original: records the findings of a copy.

        Raises:
            UserError: too many examples are unreadable.
        """


def digest_of(parts: Iterable[bytes | np.ndarray]) -> str:
    """Returns a hexadecimal digest of bytes and arrays, including their shapes and types."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        if isinstance(part, np.ndarray):
            header, part = f"{part.dtype.str}{part.shape}", np.ascontiguousarray(part).data
        else:
            header = f"{len(part)}"
        digest.update(header.encode())
        digest.update(part)
    return digest.hexdigest()


def sampled_indices(num_examples: int) -> np.ndarray:
    """Returns int64 indices of up to `SAMPLED_EXAMPLES` evenly spaced examples."""
    count = min(num_examples, SAMPLED_EXAMPLES)
    return np.linspace(0, num_examples - 1, count).round().astype(np.int64)


class ArraySource:
    """A data set in memory as {feature: array with one row per example}."""

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        """Keeps the arrays without a copy; all must have the same, non-zero length."""
        lengths = {len(rows) for rows in arrays.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"features must have one and the same length above 0, not {lengths}")
        self._arrays = dict(arrays)
        self._length = lengths.pop()

    def __len__(self) -> int:
        """Number of examples."""
        return self._length

    def gather(self, indices: np.ndarray, draws: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Returns the examples at `indices` as a batch; ignores `draws`: nothing is random."""
        return {name: rows[indices] for name, rows in self._arrays.items()}

    def digest(self) -> str:
        """See `Source`."""
        names = sorted(self._arrays)
        return digest_of(part for name in names for part in (name.encode(), self._arrays[name]))
