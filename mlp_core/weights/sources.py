"""Sources of weights: the Hugging Face hub, URLs and local files."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urljoin

from mlp_core.errors import UserError
from mlp_core.process.user_paths import cache_dir, user_path
from mlp_core.weights.downloads import (
    AbsentFileError,
    DownloadError,
    RemoteFile,
    fetch,
    https_url,
    place_in,
)
from mlp_core.weights.files import open_weight_file

HUGGING_FACE = "hf://"
WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"  # Names on the hub.


def fetch_from_hub(
    source: str,
    files: Sequence[str],
    optional: Sequence[str] = (),
    first_of: Sequence[str] = (),
) -> Path:
    """Fetches files of a model into the Hugging Face cache, or finds them there.

    No request is made if the cache has all of them.

    Args:
      source: "hf://OWNER/NAME".
      files: required files, such as "model.safetensors".
      optional: files to fetch if they exist.
      first_of: candidates, of which the first that exists is fetched.

    Returns the directory that holds them.

    Raises:
        DownloadError: the model or one of `files` does not exist, or the hub does not say
          whether one of the others does.
    """
    repository = source.removeprefix(HUGGING_FACE)
    if folder := _folder_in_hub_cache(repository, files, optional, first_of):
        return folder
    elsewhere = (
        f"Fetch {', '.join([*files, *optional])}{' and ' if first_of else ''}"
        f"{' or '.join(first_of)} elsewhere, and name their folder instead."
    )
    for name in files:
        try:
            path = _fetch_from_hub(source, name, elsewhere)
        except AbsentFileError as error:
            raise DownloadError(
                f"{error}\ndocs/weights.md says how to convert files of other formats."
            ) from error
    _fetch_others(lambda name: _fetch_from_hub(source, name, elsewhere), optional, first_of)
    return path.parent


def _fetch_from_hub(source: str, name: str, elsewhere: str) -> Path:
    # Imported here because the import is slow and most runs do not need it.
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(source.removeprefix(HUGGING_FACE), name))
    except Exception as error:  # Includes errors of its HTTP library, such as a malformed proxy.
        # The local error means that the hub did not respond.
        is_absent = isinstance(error, EntryNotFoundError)
        is_absent = is_absent and not isinstance(error, LocalEntryNotFoundError)
        kind = AbsentFileError if is_absent else DownloadError
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise kind(f"{source}: {name} cannot be fetched ({reason}).\n{elsewhere}") from error


def _fetch_others(
    fetch_one: Callable[[str], Path], optional: Sequence[str], first_of: Sequence[str]
) -> None:
    """Fetches the files of `optional` that exist, and the first of `first_of` that does.

    Raises:
        DownloadError: it is unknown whether a file exists at the origin.
    """
    for name in optional:
        with contextlib.suppress(AbsentFileError):
            fetch_one(name)
    for name in first_of:
        with contextlib.suppress(AbsentFileError):
            fetch_one(name)
            return


def _folder_in_hub_cache(
    repository: str, files: Sequence[str], optional: Sequence[str], first_of: Sequence[str]
) -> Path | None:
    """Returns the directory of the cached files, or None if one may have to be fetched."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    def cached(names: Sequence[str]) -> list[object]:
        """Returns paths as str, a sentinel for files known to be absent, None if unknown."""
        return [try_to_load_from_cache(repository, name) for name in names]

    try:
        required, others, alternatives = cached(files), cached(optional), cached(first_of)
    except HFValidationError:
        return None
    paths_or_unknown = (path for path in alternatives if path is None or isinstance(path, str))
    unknown = [*others, next(paths_or_unknown, "")].count(None)
    if unknown or not all(isinstance(path, str) for path in required):
        return None
    return Path(required[0]).parent


def fetch_weight_file(url: str, optional: Sequence[str] = (), first_of: Sequence[str] = ()) -> Path:
    """Fetches a weight file and files beside it; see `fetch_from_hub`.

    The others are requested with the query of `url`, which may hold a revision or token.

    Raises:
        DownloadError: the URL cannot be fetched, or the server does not say whether one of the
          other files exists.
        UserError: the file is not a weight file.
    """
    url = https_url(url)
    path = fetch(RemoteFile(url), place_in(cache_dir() / "weights", url))
    try:
        open_weight_file(path)
    except UserError:
        path.unlink()  # Fetch it again once the server is fixed.
        raise
    base, mark, query = url.partition("?")

    def fetch_other(name: str) -> Path:
        return _fetch_beside(f"{urljoin(base, name)}{mark}{query}", path.with_name(name))

    _fetch_others(fetch_other, optional, first_of)
    return path


def _fetch_beside(url: str, destination: Path) -> Path:
    """Fetches an optional file.

    Its absence is cached, so that later runs do not need the network.

    Raises:
        AbsentFileError: the server has no such file.
        DownloadError: the server does not say whether it exists.
    """
    absent = place_in(cache_dir() / "absent", url)
    try:
        return fetch(RemoteFile(url), destination)
    except AbsentFileError:
        absent.parent.mkdir(parents=True, exist_ok=True)
        absent.touch()
        raise
    except DownloadError as error:
        if absent.exists():
            raise AbsentFileError(str(error)) from error
        raise


def path_on_this_machine(source: str) -> Path | None:
    """Returns the local file or directory of that name; None if absent."""
    path = user_path(source)
    with contextlib.suppress(OSError):  # For example a name that is too long.
        if source and path.exists():
            return path
    return None
