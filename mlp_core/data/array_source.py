"""Examples that sit in memory as arrays, gathered a batch at a time."""

from collections.abc import Mapping

import numpy as np

from mlp_core.data.source import digest_of


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
