"""Where examples come from: what the input pipeline asks of a data set, and arrays in memory."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

DIGEST_BYTES = 16
SAMPLED_EXAMPLES = 4096  # Whose content is digested where examples lie in files: seconds at most.


class Source(Protocol):
    """Examples with random access, gathered a batch at a time."""

    def __len__(self) -> int:
        """Number of examples."""

    def gather(self, indices: np.ndarray, draws: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The examples at `indices` [B] as a batch: arrays with the same leading length B.

        Args:
          indices: int64 [B], each in 0 to `len(self)` - 1.
          draws: None in evaluation. In training int64 [B]: the place of each example in the
            endless training order, step * global_batch_size + row. Whatever is random about an
            example is a function of its draw and of a seed, so that it does not depend on the
            number of hosts or threads, nor on when a run was interrupted.

        In evaluation the batch may have a `mask`, float32 [B], zero for an example that cannot be
        read. In training such an example is replaced by another.

        Raises:
            UserError: more cannot be read than can be let pass.
        """

    def digest(self) -> str:
        """A digest of the examples, their labels and their order, whatever directory holds them.

        It covers all examples in memory. Of examples in files it covers the number, what is known
        of each without reading it, and the content of up to `SAMPLED_EXAMPLES`.
        """


@runtime_checkable
class SourceForWorkers(Source, Protocol):
    """A source that has work for worker processes, which have copies of it, by pickling.

    A copy lets pass whatever cannot be read, and remembers it for the original, which decides.
    """

    def findings(self) -> Sequence[Any]:
        """In a copy: what could not be read since this was last called."""

    def take_note(self, findings: Sequence[Any]) -> None:
        """In the original: tells what a copy has found.

        Raises:
            UserError: more cannot be read than can be let pass.
        """


def digest_of(parts: Iterable[bytes | np.ndarray]) -> str:
    """A hexadecimal digest of bytes and arrays; shapes and types of arrays count."""
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
    """Indices, int64, of up to `SAMPLED_EXAMPLES` examples, evenly spaced from first to last."""
    count = min(num_examples, SAMPLED_EXAMPLES)
    return np.linspace(0, num_examples - 1, count).round().astype(np.int64)


class ArraySource:
    """A data set held as {feature: array with one row an example}."""

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        """Takes the arrays without a copy; all must have the same, non-zero length."""
        lengths = {len(rows) for rows in arrays.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"features must have one and the same length above 0, not {lengths}")
        self._arrays = dict(arrays)
        self._length = lengths.pop()

    def __len__(self) -> int:
        """Number of examples."""
        return self._length

    def gather(self, indices: np.ndarray, draws: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The examples at `indices`, as a batch; nothing is random here, so `draws` is ignored."""
        return {name: rows[indices] for name, rows in self._arrays.items()}

    def digest(self) -> str:
        """See `Source`."""
        names = sorted(self._arrays)
        return digest_of(part for name in names for part in (name.encode(), self._arrays[name]))
