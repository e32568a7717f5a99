"""Images of different sizes, read, decoded and cropped batch by batch.

The work is done by threads of this process, or by one thread in each of several workers
(`mlp_core.data.workers`).

Only prefetched batches are held in memory, regardless of the data set's size. Images that cannot be
read are counted and reported; too many of them end a run.

Shapes: B batch, N pixels per side of the model's input.
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
FEW_SHARE = 0.01  # Of a split; the larger limit applies.
MOST_LINES = 20
# Attempts to replace a bad image; a tiny split may have more bad images.
REPLACEMENTS = 20


class BadPictures:
    """Counts and reports the bad images of a split in this process; thread-safe."""

    def __init__(self, where: str, num_examples: int):
        """Starts at zero; `where` names data set and split."""
        self._where = where
        self._limit = max(FEW, int(FEW_SHARE * num_examples))
        self._num_examples = num_examples
        self._reasons: dict[str, str] = {}  # By image name.
        self._verdict = ""  # Error for all threads, once the limit is exceeded.
        self._lock = threading.Lock()

    def add(self, name: str, reason: str, consequence: str) -> None:
        """Reports a bad image and the consequence, once per image.

        Raises:
            UserError: more than 5 images and more than 1 % of the split are bad.
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
        """Returns the number of bad images and some names; empty if there are none."""
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
    """Collects a worker's bad images, which the parent process reports."""

    def __init__(self):
        """Starts empty."""
        self._met: list[tuple[str, str, str]] = []

    def add(self, name: str, reason: str, consequence: str) -> None:
        """Records a bad image; see `BadPictures.add`."""
        self._met.append((name, reason, consequence))

    def taken(self) -> list[tuple[str, str, str]]:
        """Returns those added since the last call."""
        met, self._met = self._met, []
        return met


class PhotoRecords(Protocol):
    """Encoded images with one label each, by index; thread-safe."""

    def __len__(self) -> int:
        """Number of examples."""

    def __getitem__(self, index: int) -> tuple[bytes, int]:
        """Returns the encoded image and its label.

        Raises:
            BadPictureError: the image cannot be read.
            UserError: the data set is damaged, or the example has no label.
        """

    def name(self, index: int) -> str:
        """Returns a name of the example for messages."""

    def file_name(self, index: int) -> str:
        """Returns the published file name of the image, without directories.

        Raises:
            UserError: the data set does not store file names.
        """

    def digest(self) -> str:
        """See `Source`."""


class PhotoSource:
    """A split of photos as a `Source` of `image`, uint8 [B, N, N, 3], and `label`, int32 [B].

    Views are computed on the host; training views depend only on (seed, draw). An unreadable image
    has `mask` 0 in evaluation; in training it is replaced by another one, which also depends only
    on (seed, draw).
    """

    def __init__(
        self,
        where: str,
        records: PhotoRecords,
        view: View,
        seed: int = 0,
        num_threads: int | None = None,
    ):
        """Reads `records`, called `where` in messages; defaults to one thread per core."""
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
        """Returns `image` and `label` of the examples at `indices` [B], and `mask` without `draws`.

        Raises:
            UserError: too many images are bad.
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
        rows = iter(range(len(indices)))  # Shared by all threads.

        def fill_rows(_: int) -> None:
            for row in rows:
                fill(row)

        list(self._pool.map(fill_rows, range(self._num_threads)))  # Raises errors of threads.
        batch = {"image": images, "label": labels}
        return batch | {"mask": mask} if draws is None else batch

    def digest(self) -> str:
        """See `Source`."""
        return self._records.digest()

    def findings(self) -> list[tuple[str, str, str]]:
        """Returns, in a worker's copy, the bad images since the last call."""
        return self._bad.taken()

    def take_note(self, findings: list[tuple[str, str, str]]) -> None:
        """Reports, in the original, the bad images of a worker's copy.

        Raises:
            UserError: too many images are bad.
        """
        for finding in findings:
            self._bad.add(*finding)

    def __getstate__(self) -> dict:
        """Returns a worker's state: one thread, and bad images are collected, not judged."""
        kept = {name: value for name, value in vars(self).items() if name != "_pool"}
        return kept | {"_num_threads": 1, "_bad": MetPictures()}

    def __setstate__(self, state: dict) -> None:
        """Restores a copy and starts its thread."""
        vars(self).update(state)
        self._pool = decoding_threads(self._num_threads)

    def bad_pictures(self) -> str:
        """Returns the number and names of images that could not be read; empty if none."""
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
