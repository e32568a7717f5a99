"""Millions of paths in little memory."""

import os
from collections.abc import Sequence

import numpy as np


class PackedPaths:
    """Paths, one after the other in one array: worker processes share arrays, but not texts."""

    def __init__(self, paths: Sequence[str]):
        """Copies `paths`."""
        encoded = [os.fsencode(path) for path in paths]
        self._bytes = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)])

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """All paths as one array of bytes, and where each of them ends."""
        return self._bytes, self._ends

    def __len__(self) -> int:
        """Number of paths."""
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        """The path at `index`, 0 or more."""
        return os.fsdecode(self._bytes[self._ends[index] : self._ends[index + 1]].tobytes())
