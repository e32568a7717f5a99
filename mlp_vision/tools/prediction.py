"""Predictions on user images."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from mlp_core.errors import UserError
from mlp_core.nn.precision import check_finite_outputs, compute_dtype
from mlp_core.process.files import read_bytes
from mlp_core.process.user_paths import user_path
from mlp_core.process.watchdog import limited, waits_for
from mlp_vision.data.host_views import EvalView
from mlp_vision.data.image_codec import MOST_PICTURE_BYTES
from mlp_vision.data.image_folder import SUFFIXES, as_text, pictures_below
from mlp_vision.data.pictures import decoding_threads, open_picture
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.tasks.classification import probabilities, view_logits

BATCH = 32  # Images per batch.
STALL_LIMIT = 30.0  # Minutes per batch, as in configs/run_fields.py.


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The top classes of one image, or the reason for their absence."""

    path: Path
    best: list[tuple[int, float]]  # Class and probability, most likely first.
    problem: str = ""


def find_pictures(names: Sequence[str]) -> list[Path]:
    """Returns the named files, and the images in the named directories, in order.

    Raises:
        UserError: a path does not exist, or a directory holds no image.
    """
    paths = []
    for name in names:
        path = user_path(name)
        if not path.exists():
            raise UserError(f"{name}: there is no such file or folder.")
        if path.is_file():
            paths.append(path)
            continue
        found = sorted(map(Path, pictures_below(path)))
        if not found:
            raise UserError(f"{name}: no picture ({', '.join(SUFFIXES)}) in this folder.")
        paths += found
    if not paths:
        raise UserError("name pictures, or a folder of them.")
    return paths


def predict(
    spec: ModelSpec, params, paths: Sequence[Path], top: int, stall_limit: float = STALL_LIMIT
) -> Iterator[Prediction]:
    """Returns the `top` most likely classes of each image, in the order of `paths`.

    For an unreadable image, the problem is returned instead. The process ends if a batch takes
    `stall_limit` minutes; see `mlp_core.process.watchdog`.
    """
    batch = min(BATCH, len(paths))
    view = EvalView(spec.image_size, spec.eval_preset)
    model = spec.create_model(compute_dtype("auto"))
    params = jax.device_put(params)

    @jax.jit
    def likeliest(params, views):
        shares = probabilities(spec, view_logits(spec, model, params, views))
        return jax.lax.top_k(shares, min(top, spec.num_classes))

    with decoding_threads() as pool:
        for first in range(0, len(paths), batch):
            block = paths[first : first + batch]
            waits_for(f"the pictures from {as_text(block[0])} to {as_text(block[-1])}")
            with limited(60 * stall_limit):
                views = list(pool.map(lambda path: _view_or_problem(view, path), block))
                pictures = np.zeros((batch, spec.image_size, spec.image_size, 3), np.uint8)
                for row, read in zip(pictures, views, strict=False):
                    row[:] = 0 if isinstance(read, str) else read
                shares, classes = jax.device_get(likeliest(params, pictures))
                check_finite_outputs(shares)
            for path, read, *best in zip(block, views, classes, shares, strict=False):
                if isinstance(read, str):
                    yield Prediction(path, [], read)
                else:
                    pairs = zip(*(column.tolist() for column in best), strict=True)
                    yield Prediction(path, list(pairs))


def _view_or_problem(view: EvalView, path: Path) -> np.ndarray | str:
    try:
        return view(open_picture(read_bytes(path, MOST_PICTURE_BYTES)))
    except OSError as error:
        return f"unreadable: {error.strerror or error}"
    except ValueError as error:  # From the file, or a BadPictureError.
        return str(error)
