"""Where examples come from: what the input pipeline asks of a data set."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np


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
