"""Where weights lie, and how they get here: the Hugging Face hub, a URL, this machine."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urljoin

from mlp_core.downloads import DownloadError, RemoteFile, cache_dir, fetch, https_url, place_in
from mlp_core.errors import UserError
from mlp_core.user_paths import user_path
from mlp_core.weight_files import open_weight_file

HUGGING_FACE = "hf://"
WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"  # As the hub has them.


def fetch_from_hub(source: str, files: Sequence[str], optional: Sequence[str] = ()) -> Path:
    """Fetches files of a model into the Hugging Face hub's own cache, or finds them there.

    The hub is not asked where all of them are there.

    Args:
      source: "hf://OWNER/NAME".
      files: what the model has to have, such as "model.safetensors".
      optional: what is fetched where the model has it.

    Returns the folder in which they lie.

    Raises:
        DownloadError: there is no such model or file, or the hub cannot be reached.
    """
    # Imported here: it takes long, and most runs do without.
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    repository = source.removeprefix(HUGGING_FACE)
    if folder := _folder_in_hub_cache(repository, files, optional):
        return folder
    for name in files:
        try:
            path = Path(hf_hub_download(repository, name))
        except (HfHubHTTPError, EntryNotFoundError, HFValidationError, OSError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise DownloadError(
                f"{source}: {name} cannot be fetched ({reason}).\n"
                f"Fetch {', '.join([*files, *optional])} elsewhere, and name their folder instead."
            ) from error
    for name in optional:
        with contextlib.suppress(HfHubHTTPError, EntryNotFoundError, OSError):
            hf_hub_download(repository, name)
    return path.parent


def _folder_in_hub_cache(
    repository: str, files: Sequence[str], optional: Sequence[str]
) -> Path | None:
    """Where they lie, or None where one may have to be fetched."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        there = {name: try_to_load_from_cache(repository, name) for name in (*files, *optional)}
    except HFValidationError:
        return None
    # None where it is not known whether the model has such a file.
    if None in there.values() or not all(isinstance(there[name], str) for name in files):
        return None
    return Path(there[files[0]]).parent


def fetch_weight_file(url: str, beside: Sequence[str] = ()) -> Path:
    """Fetches a weight file, and those of the files named `beside` it that the server has.

    Raises:
        DownloadError: the address cannot be fetched.
        UserError: what lies there is no weight file.
    """
    url = https_url(url)
    path = fetch(RemoteFile(url), place_in(cache_dir() / "weights", url))
    try:
        open_weight_file(path)
    except UserError:
        path.unlink()  # So that it is fetched again when the server is mended.
        raise
    for name in beside:
        with contextlib.suppress(DownloadError):
            fetch(RemoteFile(urljoin(url, name)), path.with_name(name))
    return path


def path_on_this_machine(source: str) -> Path | None:
    """The file or folder of that name; None if there is none."""
    path = user_path(source)
    with contextlib.suppress(OSError):  # A name that is too long, say.
        if source and path.exists():
            return path
    return None
