"""Pictures in memory, each cut and changed on the host, by threads, for training.

Shapes: B batch, H and W pixels of the source, N pixels a side of the model's input.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from mlp_core.array_source import ArraySource
from mlp_vision.datasets.photos import available_cores
from mlp_vision.host_views import View

ROWS_A_TASK = 32  # Small pictures take less time than handing one to a thread.


class ArrayViews:
    """A `Source` of `image`, uint8 [B, N, N, 3], and `label`, over pictures of [B, H, W, 3].

    What is random about a view is drawn from (seed, draw) alone.
    """

    def __init__(
        self, pictures: ArraySource, view: View, seed: int, num_threads: int | None = None
    ):
        """Makes views of `pictures` with as many threads as there are cores."""
        self._pictures = pictures
        self._view = view
        self._seed = seed
        self._pool = ThreadPoolExecutor(num_threads or available_cores(), "view")

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._pictures)

    def gather(self, indices: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
        """Views of the examples at `indices` [B], as drawn by `draws` [B]."""
        batch = self._pictures.gather(indices)
        size = self._view.image_size
        views = np.empty((len(indices), size, size, 3), np.uint8)

        def fill(first: int) -> None:
            for row in range(first, min(first + ROWS_A_TASK, len(indices))):
                rng = np.random.default_rng((self._seed, int(draws[row])))
                views[row] = self._view(Image.fromarray(batch["image"][row]), rng)

        list(self._pool.map(fill, range(0, len(indices), ROWS_A_TASK)))  # Raises a thread's error.
        return batch | {"image": views}
