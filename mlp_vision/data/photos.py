"""Pictures of differing sizes: read, decoded and cut to one size a batch at a time.

By threads of this process, or by one in each of several workers (`mlp_core.data.workers`).

Only the batches that are read ahead are held in memory, whatever the size of the data set. Images
that cannot be read are counted and reported; too many of them end a run.

Shapes: B batch, N pixels a side of the model's input.
"""

import threading
from typing import Protocol

import numpy as np

from mlp_core.data.workers import available_cores
from mlp_core.errors import UserError
from mlp_core.process.console import say_from_any_host
from mlp_vision.data.host_views import View
from mlp_vision.data.image_codec import BadPictureError
from mlp_vision.data.pictures import decoding_threads, open_picture

FEW = 5
FEW_SHARE = 0.01  # Of a split; whichever is more.
MOST_LINES = 20
# Tried for a bad picture; fewer than all that may be bad, should a split be tiny.
REPLACEMENTS = 20


class BadPictures:
    """The bad pictures of one split, as far as this process has met them; safe among threads."""

    def __init__(self, where: str, num_examples: int):
        """Starts to count; `where` names data set and split."""
        self._where = where
        self._limit = max(FEW, int(FEW_SHARE * num_examples))
        self._num_examples = num_examples
        self._reasons: dict[str, str] = {}  # By name.
        self._verdict = ""  # The same for all threads, once there are too many.
        self._lock = threading.Lock()

    def add(self, name: str, reason: str, consequence: str) -> None:
        """Says that a picture is bad and what follows, the first time that it is met.

        Raises:
            UserError: with it there are more than 5 and more than 1 % of the split.
        """
        with self._lock:
            if self._verdict:
                raise UserError(self._verdict)
            if name in self._reasons:
                return
            self._reasons[name] = reason
            count = len(self._reasons)
            if count > self._limit:
                self._verdict = self._too_many()
                raise UserError(self._verdict)
            if count <= MOST_LINES:
                say_from_any_host(
                    f"{self._where}: {name} is {reason}; {consequence} ({count} so far)"
                )
            if count == MOST_LINES:
                say_from_any_host(f"{self._where}: further bad pictures are only counted")
            elif count > MOST_LINES and f"{count}".strip("0") == "1":  # 100, 1,000 and so on.
                say_from_any_host(f"{self._where}: {count:,} pictures cannot be read so far")

    def summary(self) -> str:
        """How many have been met, and some of them; empty where there was none."""
        if not self._reasons:
            return ""
        return f"{self._where}: {self._count()} pictures could not be read: {self._names()}"

    def _too_many(self) -> str:
        return (
            f"{self._where}: {self._count()} pictures cannot be read so far, and only "
            f"{self._limit:,} are let pass: {self._names()}; mend or remove them."
        )

    def _count(self) -> str:
        return f"{len(self._reasons):,} of {self._num_examples:,}"

    def _names(self) -> str:
        names = [f"{name} ({reason})" for name, reason in list(self._reasons.items())[:FEW]]
        return ", ".join(names) + (", ..." if len(self._reasons) > FEW else "")


class MetPictures:
    """The bad pictures that a worker process has met, to be told by the one that started it."""

    def __init__(self):
        """Starts with none."""
        self._met: list[tuple[str, str, str]] = []

    def add(self, name: str, reason: str, consequence: str) -> None:
        """Remembers one; see `BadPictures.add`."""
        self._met.append((name, reason, consequence))

    def taken(self) -> list[tuple[str, str, str]]:
        """All since this was last called."""
        met, self._met = self._met, []
        return met


class PhotoRecords(Protocol):
    """Encoded pictures with one label each, by index; safe among threads."""

    def __len__(self) -> int:
        """Number of examples."""

    def __getitem__(self, index: int) -> tuple[bytes, int]:
        """The encoded picture and its label.

        Raises:
            BadPictureError: this one cannot be read.
            UserError: the data set is damaged, or the example has no label.
        """

    def name(self, index: int) -> str:
        """What to call an example when it is bad."""

    def file_name(self, index: int) -> str:
        """The name under which its picture was published, without folders.

        Raises:
            UserError: the data set does not tell it.
        """

    def digest(self) -> str:
        """See `Source`."""


class PhotoSource:
    """A split of photographs as a `Source` of `image`, uint8 [B, N, N, 3], and `label`, int32 [B].

    Views are made here, on the host: those of training are drawn from (seed, draw) alone. A
    picture that cannot be read has `mask` 0 in evaluation; in training another takes its place,
    which follows from (seed, draw) too.
    """

    def __init__(
        self,
        where: str,
        records: PhotoRecords,
        view: View,
        seed: int = 0,
        num_threads: int | None = None,
    ):
        """Reads `records`, that messages call `where`, with as many threads as there are cores."""
        self._records = records
        self._view = view
        self._seed = seed
        self._bad = BadPictures(where, len(records))
        self._where = where
        self._num_threads = num_threads or available_cores()
        self._pool = decoding_threads(self._num_threads)

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._records)

    def gather(self, indices: np.ndarray, draws: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The examples at `indices` [B] as `image` and `label`; without `draws`, `mask` as well.

        Raises:
            UserError: more pictures than can be let pass are bad.
        """
        size = self._view.image_size
        images = np.zeros((len(indices), size, size, 3), np.uint8)
        labels = np.zeros(len(indices), np.int32)
        mask = np.ones(len(indices), np.float32)

        def for_training(row: int) -> None:
            images[row], labels[row] = self._training_example(int(indices[row]), int(draws[row]))

        def for_evaluation(row: int) -> None:
            index = int(indices[row])
            try:
                images[row], labels[row] = self._example(index, None)
            except BadPictureError as error:
                mask[row] = 0
                self._bad.add(self._records.name(index), str(error), "it is not scored")

        fill = for_evaluation if draws is None else for_training
        rows = iter(range(len(indices)))  # Shared: whoever is done takes the next.

        def fill_rows(_: int) -> None:
            for row in rows:
                fill(row)

        list(self._pool.map(fill_rows, range(self._num_threads)))  # Raises what a thread has met.
        batch = {"image": images, "label": labels}
        return batch | {"mask": mask} if draws is None else batch

    def digest(self) -> str:
        """See `Source`."""
        return self._records.digest()

    def findings(self) -> list[tuple[str, str, str]]:
        """In a worker's copy: the bad pictures met since this was last called."""
        return self._bad.taken()

    def take_note(self, findings: list[tuple[str, str, str]]) -> None:
        """In the original: tells the bad pictures that a copy has met.

        Raises:
            UserError: there are more than can be let pass.
        """
        for finding in findings:
            self._bad.add(*finding)

    def __getstate__(self) -> dict:
        """For a worker: one thread, since workers are many, and no verdict on bad pictures."""
        kept = {name: value for name, value in vars(self).items() if name != "_pool"}
        return kept | {"_num_threads": 1, "_bad": MetPictures()}

    def __setstate__(self, state: dict) -> None:
        """Starts a copy's thread."""
        vars(self).update(state)
        self._pool = decoding_threads(self._num_threads)

    def bad_pictures(self) -> str:
        """How many pictures could not be read so far, and which; empty where all could."""
        return self._bad.summary()

    def _example(self, index: int, rng: np.random.Generator | None) -> tuple[np.ndarray, int]:
        encoded, label = self._records[index]
        return self._view(open_picture(encoded), rng), label

    def _training_example(self, index: int, draw: int) -> tuple[np.ndarray, int]:
        rng = np.random.default_rng((self._seed, draw))
        for _ in range(1 + REPLACEMENTS):
            try:
                return self._example(index, rng)
            except BadPictureError as error:
                name = self._records.name(index)
                self._bad.add(name, str(error), "another takes its place")
            index = int(rng.integers(len(self._records)))
        raise UserError(f"{self._where}: {REPLACEMENTS} pictures in a row cannot be read.")
