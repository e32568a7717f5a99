"""Class names of published ImageNet weights.

Google publishes a list of names for each of its two heads, one line per class in the order of the
logits, in the public bucket of BiT, which has the same classes.
"""

from mlp_core.process.console import say
from mlp_core.process.files import SMALL_FILE_BYTES, read_bytes
from mlp_core.process.user_paths import cache_dir
from mlp_core.weights.downloads import DownloadError, RemoteFile, fetch
from mlp_vision.models.model_spec import ModelSpec

BASE_URL = "https://storage.googleapis.com/bit_models"
FILES = {1_000: "ilsvrc2012_wordnet_lemmas.txt", 21_843: "imagenet21k_wordnet_lemmas.txt"}


def label_names(spec: ModelSpec) -> list[str]:
    """Returns a name per logit: the model's own, else ImageNet's (fetched once), else numbers."""
    names = list(spec.class_names)
    if not names and spec.num_classes in FILES:
        names = _imagenet_names(spec.num_classes)
    return names + [f"class {i}" for i in range(len(names), spec.num_classes)]


def _imagenet_names(num_classes: int) -> list[str]:
    path = cache_dir() / "labels" / FILES[num_classes]
    try:
        file = RemoteFile(f"{BASE_URL}/{path.name}", most_bytes=SMALL_FILE_BYTES)
        text = read_bytes(fetch(file, path)).decode(errors="replace")
    except (DownloadError, OSError, ValueError) as error:
        say(f"Note: classes have numbers, not names: {error}\nPut the list at {path}.")
        return []
    lines = text.splitlines()
    if len(lines) != num_classes:
        path.unlink()  # For example an error page; fetch it again next time.
        say(f"Note: classes have numbers, not names: {path} had {len(lines):,} lines.")
        return []
    say(
        f"Note: the weights name no classes; assumes that their {num_classes:,} outputs are "
        f"ImageNet's classes in the order of {path.name}"
    )
    return [line.strip().replace("_", " ") for line in lines]
