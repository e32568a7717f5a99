"""Downloads that resume, are checked, and appear in place only when whole."""

import dataclasses
import hashlib
import os
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urljoin, urlparse

import requests
import urllib3
from tqdm import tqdm

from mlp_core.console import say
from mlp_core.errors import MissingError
from mlp_core.file_lock import lock_in_turn

ATTEMPTS = 4
TIMEOUT_SECONDS = (10, 60)  # To connect; between two pieces.
CHUNK_BYTES = 1 << 16  # What a broken connection loses at most.
MOST_BYTES = 64 << 30  # Of a file of which nothing else is known.
SLOWEST_BYTES, SLOWEST_SECONDS = 1 << 16, 300.0  # So much must come in so much time.
LOOPBACK = ("127.0.0.1", "localhost", "::1")
BROKEN_CONNECTION = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file on the web, and what is known of its content."""

    url: str
    size: int | None = None  # Bytes.
    sha256: str | None = None
    most_bytes: int = MOST_BYTES  # That are taken where `size` is not known.


class DownloadError(MissingError):
    """A file could not be fetched."""


class AbsentFileError(DownloadError):
    """The server answers that it has no such file."""


def cache_dir() -> Path:
    """Where this project keeps downloads and compiled programs: `$XDG_CACHE_HOME/all-mlp`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "all-mlp"


def https_url(url: str) -> str:
    """The address to fetch `url` from: `gs://bucket/path` becomes Google's public https address.

    Raises:
        DownloadError: the scheme is neither https nor gs, nor http on this machine.
    """
    parts = urlparse(url)
    if parts.scheme == "gs":
        return f"https://storage.googleapis.com/{parts.netloc}{parts.path}"
    is_local = parts.scheme == "http" and parts.hostname in LOOPBACK
    if parts.scheme == "https" or is_local:
        return url
    raise DownloadError(f"{url}: only https:// and gs:// addresses are fetched.")


def place_in(folder: Path, url: str) -> Path:
    """Where in `folder` the file of an address is kept, by its server and path.

    Raises:
        DownloadError: the address would lead out of the folder.
    """
    place = Path(url.split("://", 1)[1])
    if place.is_absolute() or ".." in unquote(str(place)).split("/") or not place.parts:
        raise DownloadError(f"{url}: no address of a file.")
    return folder / place


def fetch(file: RemoteFile, destination: Path) -> Path:
    """Downloads `file` to `destination` unless it is there; returns `destination`.

    An interrupted download goes on where it stopped, from `destination` + ".part". The file is
    checked against size and SHA-256 where known, and against the length and MD5 that the server
    states, before it is moved into place.

    Raises:
        AbsentFileError: the server has no such file.
        DownloadError: the server cannot be reached, or what it sends is not the file.
    """
    if destination.exists():
        return destination
    url = https_url(file.url)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        part = destination.with_name(destination.name + ".part")
        with _locked(part):
            if destination.exists():  # Another process was faster.
                return destination
            stated_md5 = _download_with_retries(url, part, file)
            _check(file, part, stated_md5)
            os.replace(part, destination)
    except OSError as error:
        if isinstance(error, requests.RequestException):
            kind = AbsentFileError if _is_absent(error) else DownloadError
            raise kind(f"{url}: cannot be fetched ({_reason(error)}).") from error
        raise DownloadError(f"{destination}: cannot be written ({error.strerror}).") from error
    return destination


def check_content(file: RemoteFile, path: Path) -> None:
    """Compares a file on disk with the size and SHA-256 that are known.

    Raises:
        DownloadError: it is another file, or a part of it.
    """
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise DownloadError(
            f"{path}: {size:,} bytes long, but the published file has {file.size:,}."
        )
    if file.sha256 is not None and _digest(path, "sha256").hexdigest() != file.sha256:
        raise DownloadError(f"{path}: its SHA-256 is not that of the published file, {file.url}.")


def _download_with_retries(url: str, part: Path, file: RemoteFile) -> str | None:
    """Fills `part`; returns the MD5 (base64) that the server states, if it does."""
    for attempt in range(1, ATTEMPTS + 1):
        had = _size(part)
        try:
            return _download(url, part, file)
        except BROKEN_CONNECTION as error:
            made_progress = _size(part) > had
            if attempt == ATTEMPTS or not (made_progress or isinstance(error, requests.Timeout)):
                raise
            say(f"{url}: the connection broke ({_reason(error)}); goes on from {_size(part):,}.")
            time.sleep(2 ** (attempt - 1))
    raise AssertionError("the last attempt returns or raises")


def _download(url: str, part: Path, file: RemoteFile) -> str | None:
    """One request, from where `part` ends.

    Raises:
        DownloadError: the server leads elsewhere than to https, or sends more than the file has.
    """
    offset = _size(part)
    most = file.most_bytes if file.size is None else file.size
    size = file.size
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    with requests.get(
        url,
        headers=headers,
        stream=True,
        timeout=TIMEOUT_SECONDS,
        hooks={"response": _check_redirect},
    ) as response:
        if response.status_code == 416 and offset:  # Nothing past the end of the part.
            if offset == size:
                return None
            part.unlink()
            return _download(url, part, file)
        response.raise_for_status()
        resumes = response.status_code == 206
        if resumes and not _begins_at(response, offset):
            raise DownloadError(f"{url}: the server sends another part than was asked for.")
        length = response.headers.get("Content-Length", "")
        total = (offset if resumes else 0) + int(length) if length.isdecimal() else size
        if total is not None and total > most:
            raise DownloadError(f"{url}: {total:,} bytes long, more than the {most:,} expected.")
        bar = tqdm(
            total=total,
            initial=offset if resumes else 0,
            unit="B",
            unit_scale=True,
            desc=url.rsplit("/", 1)[-1],
            disable=None,  # Not drawn where there is no terminal.
        )
        with bar, part.open("ab" if resumes else "wb") as output:
            for chunk in _arriving(response):
                output.write(chunk)
                bar.update(len(chunk))
                if output.tell() > most:
                    raise DownloadError(
                        f"{url}: the server sends more than the {most:,} bytes expected."
                    )
        if total is not None and _size(part) < total:
            raise requests.ConnectionError(f"ended after {_size(part):,} of {total:,} bytes")
        hashes = response.headers.get("x-goog-hash", "").replace(" ", "").split(",")
        return next((h.removeprefix("md5=") for h in hashes if h.startswith("md5=")), None)


def _check_redirect(response: requests.Response, **_) -> None:
    """Refuses to be led from https to anything else, or away from this machine without it."""
    if response.is_redirect:
        target = urlparse(urljoin(response.url, response.headers["location"]))
        stays = response.url.startswith("http://") and target.hostname in LOOPBACK
        if target.scheme != "https" and not (stays and target.scheme == "http"):
            raise DownloadError(
                f"{response.url}: the server leads to {target.geturl()!r:.200}; only https:// "
                "addresses are followed."
            )


def _begins_at(response: requests.Response, offset: int) -> bool:
    stated = response.headers.get("Content-Range")
    return stated is None or stated.startswith(f"bytes {offset}-")


def _arriving(response: requests.Response) -> Iterator[bytes]:
    """The content piece by piece as it comes, be it ever so little.

    Raises:
        requests.RequestException: the connection broke, or is so slow that it would never end.
    """
    started, got = time.monotonic(), 0
    while True:
        try:
            piece = response.raw.read1(CHUNK_BYTES, decode_content=True)
        except urllib3.exceptions.ReadTimeoutError as error:
            raise requests.Timeout(error) from error
        except urllib3.exceptions.HTTPError as error:
            raise requests.exceptions.ChunkedEncodingError(error) from error
        if not piece:
            return
        yield piece
        got += len(piece)
        if time.monotonic() - started > SLOWEST_SECONDS:
            if got < SLOWEST_BYTES:
                raise requests.Timeout("too slow")
            started, got = time.monotonic(), 0


def _check(file: RemoteFile, part: Path, stated_md5: str | None) -> None:
    """Removes a part that is not the file, so that the next attempt starts afresh."""
    try:
        check_content(file, part)
        if stated_md5 and b64encode(_digest(part, "md5").digest()).decode() != stated_md5:
            raise DownloadError(f"{file.url}: what arrived differs from what the server states.")
    except DownloadError:
        part.unlink()
        raise


def _digest(path: Path, algorithm: str):
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_absent(error: requests.RequestException) -> bool:
    return error.response is not None and error.response.status_code in (404, 410)


def _reason(error: requests.RequestException) -> str:
    """A few words in place of the nested representation that requests gives."""
    if error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke"
    inner = error.args[0] if error.args else error
    return str(getattr(inner, "reason", inner)).rsplit(": ", 1)[-1].rstrip("\"')")


@contextmanager
def _locked(part: Path):
    """Lets one process at a time download to `part`; an empty part is not left behind."""
    with part.open("ab") as file:
        lock_in_turn(file, f"downloads {part.stem}")
        try:
            yield
        finally:
            if part.exists() and _size(part) == 0:
                part.unlink()
