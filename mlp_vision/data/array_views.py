"""Pictures in memory, each cut and changed on the host, for training.

Shapes: B batch, H and W pixels of the source, N pixels a side of the model's input.
"""

import numpy as np
from PIL import Image

from mlp_core.data.array_source import ArraySource
from mlp_vision.data.host_views import View
from mlp_vision.data.pictures import DecodedPicture


class ArrayViews:
    """Views, uint8 [B, N, N, 3], of pictures [B, H, W, 3], as a `SourceForWorkers`.

    What is random about a view is drawn from (seed, draw) alone. There are no threads: on such
    small pictures they wait for Python's lock, and two are slower than one.
    """

    def __init__(self, pictures: ArraySource, view: View, seed: int):
        """Makes views of `pictures`."""
        self._pictures = pictures
        self._view = view
        self._seed = seed

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._pictures)

    def gather(self, indices: np.ndarray, draws: np.ndarray) -> dict[str, np.ndarray]:
        """Views of the examples at `indices` [B], as drawn by `draws` [B]."""
        batch = self._pictures.gather(indices)
        size = self._view.image_size
        views = np.empty((len(indices), size, size, 3), np.uint8)
        for row, (picture, draw) in enumerate(zip(batch["image"], draws.tolist(), strict=True)):
            rng = np.random.default_rng((self._seed, draw))
            views[row] = self._view(DecodedPicture(Image.fromarray(picture)), rng)
        return batch | {"image": views}

    def digest(self) -> str:
        """See `Source`: that of the pictures, whatever views are made of them."""
        return self._pictures.digest()

    def findings(self) -> tuple[()]:
        """In a worker's copy: nothing, since there is nothing that cannot be read."""
        return ()

    def take_note(self, findings: tuple[()]) -> None:
        """In the original: likewise."""
