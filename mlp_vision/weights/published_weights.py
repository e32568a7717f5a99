"""Published Mixer weights: their names, locations and download.

Directories, names and sizes follow the listing of the public bucket `gs://mixer_models` in
google-research/vision_transformer. All use pixel values from -1 to 1.
"""

import dataclasses
from pathlib import Path

from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_core.process.user_paths import cache_dir, user_path
from mlp_core.weights.downloads import DownloadError, RemoteFile, fetch
from mlp_core.weights.sources import (
    CONFIG_FILE,
    HUGGING_FACE,
    WEIGHTS_FILE,
    fetch_from_hub,
    fetch_weight_file,
    path_on_this_machine,
)
from mlp_vision.models.mixer import MIXER_SIZES, MixerSpec
from mlp_vision.models.model_spec import ModelSpec
from mlp_vision.weights.loading import open_weights, output_of_head

BASE_URL = "https://storage.googleapis.com/mixer_models"


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """A published weight file."""

    size: str  # A key of `MIXER_SIZES`.
    num_classes: int
    mebibytes: float  # Rounded to two digits, as listed.
    image_size: int = 224


PUBLISHED = {
    "imagenet1k/Mixer-B_16": PublishedFile("b16", 1000, 228.47),
    "imagenet1k/Mixer-L_16": PublishedFile("l16", 1000, 794.29),
    "imagenet21k/Mixer-B_16": PublishedFile("b16", 21843, 289.61),
    "imagenet21k/Mixer-L_16": PublishedFile("l16", 21843, 875.78),
    "sam/Mixer-B_16": PublishedFile("b16", 1000, 228.47),
    "sam/Mixer-B_32": PublishedFile("b32", 1000, 230.04),
    "gsam/Mixer-B_16": PublishedFile("b16", 1000, 228.47),
    "gsam/Mixer-B_32": PublishedFile("b32", 1000, 230.04),
    "gsam/Mixer-S_16": PublishedFile("s16", 1000, 70.71),
    "gsam/Mixer-S_32": PublishedFile("s32", 1000, 72.91),
    "gsam/Mixer-S_8": PublishedFile("s8", 1000, 78.79),
}


def locate_weights(source: str, mirror: str | None = None) -> Path:
    """Returns the local path of weights; fetches them if needed.

    Args:
      source: a published name such as "imagenet21k/Mixer-B_16"; "hf://timm/NAME", a model on the
        Hugging Face hub; an https or gs URL; a weight file; or the directory of a run.
      mirror: a directory or URL for published names, instead of Google's bucket.

    Raises:
        UserError: `source` is none of these, or cannot be fetched.
    """
    if source in PUBLISHED:
        return _locate_published(source, mirror)
    if source.startswith(HUGGING_FACE):  # Defaults apply without a config.
        return fetch_from_hub(source, [WEIGHTS_FILE], optional=[CONFIG_FILE]) / WEIGHTS_FILE
    if "://" in source:
        is_timms = source.partition("?")[0].endswith(f"/{WEIGHTS_FILE}")
        return fetch_weight_file(source, optional=[CONFIG_FILE] if is_timms else [])
    if path := path_on_this_machine(source):
        return path
    raise UserError(
        f"weights: {source!r} is neither a file, the folder of a run, a URL, {HUGGING_FACE}OWNER/"
        f"NAME nor one of the published names, {', '.join(PUBLISHED)}."
    )


def spec_before_fetching(source: str, mirror: str | None = None) -> ModelSpec | None:
    """Returns the spec of weights as known without a download; None if unknown.

    Raises:
        UserError: a local file does not hold weights of a known model.
    """
    if source in PUBLISHED:
        file = PUBLISHED[source]
        return MixerSpec(
            **MIXER_SIZES[file.size],
            **MixerSpec.GOOGLE_NUMERICS,
            num_classes=file.num_classes,
            image_size=file.image_size,
            output=output_of_head(file.num_classes),
        )
    if "://" in source:
        return None
    return open_weights(locate_weights(source, mirror)).spec


def _locate_published(name: str, mirror: str | None) -> Path:
    file_name = f"{name}.npz"
    if mirror is not None and "://" not in mirror:
        path = user_path(mirror) / file_name
        if not path.is_file():
            raise UserError(f"mirror of the published weights: there is no {path}.")
        return path
    base, mark, query = (mirror or BASE_URL).partition("?")  # A query may hold a token.
    url = f"{base.rstrip('/')}/{file_name}{mark}{query}"
    destination = cache_dir() / "weights" / file_name
    listed = PUBLISHED[name].mebibytes
    if not destination.exists():
        say(f"Fetches {name}, {listed:.0f} MiB, from {url}")
    try:
        path = fetch(RemoteFile(url), destination)
    except DownloadError as error:
        raise DownloadError(
            f"{error}\nThe weights {name} are published at {BASE_URL}/{file_name}\n"
            f"Put the file at {destination}, or name a file in place of {name} (--weights, in "
            f"training --config.init.weights), or a mirror, a folder or URL that holds {file_name} "
            "(--mirror, or --config.init.mirror)."
        ) from error
    if abs(path.stat().st_size / 2**20 - listed) > 0.01:
        raise UserError(
            f"{path}: {path.stat().st_size / 2**20:.2f} MiB long, but {name} has {listed}; "
            "delete it, so that it is fetched again."
        )
    return path
