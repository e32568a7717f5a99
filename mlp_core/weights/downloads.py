"""Resumable, verified and atomic downloads."""

import dataclasses
import hashlib
import re
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urljoin, urlparse

import requests
import urllib3
from tqdm import tqdm

from mlp_core.errors import MissingError
from mlp_core.process.console import say
from mlp_core.urls import without_secrets
from mlp_core.weights.download_parts import Part, TimedCalls, Version, locked_part

ATTEMPTS = 4  # In a row with less than MUCH_BYTES each.
MUCH_BYTES = 1 << 20
MOST_REDIRECTS = 20
TIMEOUT_SECONDS = (10, 60)  # To connect; between two chunks.
HEADER_SECONDS = 60.0  # For all redirects and headers.
CHUNK_BYTES = 1 << 16  # The most that a broken connection loses.
MOST_BYTES = 64 << 30  # Limit for files of unknown size.
SLOWEST_BYTES, SLOWEST_SECONDS = 1 << 16, 300.0  # Minimum rate.
LOOPBACK = ("127.0.0.1", "localhost", "::1")
BROKEN_CONNECTION = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file on the web, with its size and checksum if known."""

    url: str
    size: int | None = None  # Bytes.
    sha256: str | None = None
    most_bytes: int = MOST_BYTES  # Limit if `size` is unknown.


class DownloadError(MissingError):
    """A file could not be downloaded."""


class AbsentFileError(DownloadError):
    """The server reports that the file does not exist."""


def https_url(url: str) -> str:
    """Returns the URL to fetch; `gs://bucket/path` becomes Google's public https URL.

    Raises:
        DownloadError: the scheme is neither https nor gs, nor http on this machine; or the URL
          is invalid.
    """
    try:
        parts = urlparse(url)
        _ = parts.port  # Accessed for its validation.
        if not url.isprintable():
            raise ValueError("it has control characters")
    except ValueError as error:
        raise DownloadError(f"{url!r}: not a valid address ({error}).") from error
    if parts.scheme == "gs":
        return f"https://storage.googleapis.com/{parts.netloc}{parts.path}"
    is_local = parts.scheme == "http" and parts.hostname in LOOPBACK
    if parts.scheme == "https" or is_local:
        return url
    raise DownloadError(f"{url}: only https:// and gs:// addresses are fetched.")


def place_in(folder: Path, url: str) -> Path:
    """Returns the path in `folder` for a URL, by its server, path and query.

    Passwords and tokens are left out. Each query has a separate directory, so that files of one
    model revision are not used with another.

    Raises:
        DownloadError: the URL would lead outside the folder.
    """
    address = without_secrets(url).split("://", 1)[1]
    path, mark, query = address.partition("?")
    place = Path(path)
    if place.is_absolute() or ".." in unquote(address).split("/") or not place.parts:
        raise DownloadError(f"{url}: no address of a file.")
    return folder / place.parent / f"{mark}{query}" / place.name


def fetch(file: RemoteFile, destination: Path) -> Path:
    """Downloads `file` to `destination` unless it exists; returns `destination`.

    An interrupted download resumes from `destination` + ".part", if the SHA-256 is known or the
    server reports an unchanged file. The file is checked against size and SHA-256 where known, and
    against the length and MD5 that the server states, before it is moved into place.

    Raises:
        AbsentFileError: the server has no such file.
        DownloadError: the server cannot be reached, or its response is not the file.
    """
    url = https_url(file.url)
    try:
        if destination.exists():
            return destination
        destination.parent.mkdir(parents=True, exist_ok=True)
        with locked_part(destination) as part:
            if destination.exists():  # Another process was faster.
                return destination
            try:
                stated_md5 = _download_with_retries(url, part, file)
                _check(file, part, stated_md5)
            except DownloadError:
                part.start_over()  # The downloaded bytes may be of another file.
                raise
            part.move_to(destination)
    except DownloadError:
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        kind = AbsentFileError if _is_absent(error) else DownloadError
        raise kind(f"{url}: cannot be fetched ({_reason(error)}).") from error
    except OSError as error:
        raise DownloadError(
            f"{destination}: cannot be written ({error.strerror}); make room there or make it "
            "writable. (XDG_CACHE_HOME names another directory for caches.)"
        ) from error
    except UnicodeError as error:
        raise DownloadError(f"{url}: not a valid address ({error}).") from error
    return destination


def check_content(file: RemoteFile, path: Path) -> None:
    """Checks a file on disk against the known size and SHA-256.

    Raises:
        DownloadError: it is another file or incomplete.
    """
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise DownloadError(
            f"{path}: {size:,} bytes long, but the published file has {file.size:,}."
        )
    if file.sha256 is not None and _digest(path, "sha256").hexdigest() != file.sha256:
        raise DownloadError(f"{path}: its SHA-256 is not that of the published file, {file.url}.")


def _download_with_retries(url: str, part: Part, file: RemoteFile) -> str | None:
    """Fills `part`; returns the MD5 (base64) that the server states, if any."""
    failures = 0
    while True:
        had = part.size
        try:
            return _download(url, part, file)
        except BROKEN_CONNECTION as error:
            progress = part.size - had
            failures = 1 if progress >= MUCH_BYTES else failures + 1
            if failures == ATTEMPTS or not (progress > 0 or isinstance(error, requests.Timeout)):
                raise
            say(f"{url}: {_reason(error)}; {part.size:,} bytes arrived. Trying again.")
            time.sleep(2 ** (failures - 1))


def _download(url: str, part: Part, file: RemoteFile) -> str | None:
    """Makes one request from the end of `part`; returns the stated MD5, if any.

    Raises:
        DownloadError: the server redirects to other than https, or its response is not the file.
        requests.RequestException: the connection broke or timed out.
    """
    if file.sha256 and part.size == file.size:
        return None
    with TimedCalls() as calls:
        try:
            response, offset = _response_and_offset(url, part, file, calls)
            _receive(response, offset, part, file, calls)
        except TimeoutError as error:  # Not retried: it would be slow again.
            raise requests.RequestException("no answer in time") from error
        calls.call_later(response.close)
    hashes = response.headers.get("x-goog-hash", "").replace(" ", "").split(",")
    return next((h.removeprefix("md5=") for h in hashes if h.startswith("md5=")), None)


def _response_and_offset(
    url: str, part: Part, file: RemoteFile, calls: TimedCalls
) -> tuple[requests.Response, int]:
    """Returns the unread response and the offset at which its content begins."""
    known = part.version
    # Without a hash or validator, bytes of another version would go unnoticed.
    offset = part.size if file.sha256 or known.validator else 0
    response = calls.call(lambda: _request(url, offset, known), HEADER_SECONDS)
    is_odd = response.status_code == 206 and not _continues(response, offset, known, file)
    if offset and (is_odd or response.status_code == 416):
        calls.call_later(response.close)
        offset = 0
        response = calls.call(lambda: _request(url, 0, known), HEADER_SECONDS)
        is_odd = response.status_code == 206 and not _continues(response, 0, Version(), file)
    response.raise_for_status()
    if is_odd:
        raise DownloadError(f"{url}: the server sends another part than was asked for.")
    return response, offset if response.status_code == 206 else 0


class _Session(requests.Session):
    """Follows no redirects, since requests first reads their content, which may be endless."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Returns None, so that no redirect is followed."""
        return


def _request(url: str, offset: int, known: Version) -> requests.Response:
    """Requests the content from `offset` on and returns the response after redirects."""
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if known.validator:
            headers["If-Range"] = known.validator
    with _Session() as session:
        for _ in range(MOST_REDIRECTS):
            response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
            if not response.is_redirect:
                return response
            _check_redirect(response)
            response.close()
            url = _target_of(response)
    raise requests.TooManyRedirects(f"more than {MOST_REDIRECTS} redirects")


def _check_redirect(response: requests.Response) -> None:
    """Rejects redirects from https to anything else, or to another machine without https."""
    if not response.is_redirect:
        return
    try:
        url = _target_of(response)
        target = urlparse(url)
        stays = response.url.startswith("http://") and target.hostname in LOOPBACK
    except ValueError as error:
        raise DownloadError(
            f"{response.url}: the server leads to {response.headers['location']!r:.200}, which is "
            f"not a valid address ({error})."
        ) from error
    if target.scheme != "https" and not (stays and target.scheme == "http"):
        raise DownloadError(
            f"{response.url}: the server leads to {url!r:.200}; only https:// addresses are "
            "followed."
        )


def _target_of(redirect: requests.Response) -> str:
    return urljoin(redirect.url, redirect.headers["location"])


def _content_range(response: requests.Response) -> tuple[int, int, int | None] | None:
    """Returns the first and last byte of a response, and the size of the whole file if stated.

    Returns None if the header is missing or invalid.
    """
    stated = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", stated.strip(), re.ASCII)
    if not found:
        return None
    first, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    return (first, last, total) if first <= last < (last + 1 if total is None else total) else None


def _continues(response: requests.Response, offset: int, known: Version, file: RemoteFile) -> bool:
    """Whether a partial response begins at `offset` and is of the known version."""
    span = _content_range(response)
    if span is None:  # Some servers omit it; length and hash decide then.
        if not file.sha256 or file.size is None or "Content-Range" in response.headers:
            return False
        return response.headers.get("Content-Length") == str(file.size - offset) and offset > 0
    first, _, total = span
    is_bounded = (total or known.size or file.size) is not None
    return first == offset and is_bounded and known.goes_on_in(response, total)


def _receive(
    response: requests.Response, offset: int, part: Part, file: RemoteFile, calls: TimedCalls
) -> None:
    """Writes the content of a response to `part` at `offset`.

    Raises:
        DownloadError: the content is longer than the file or than stated.
        requests.RequestException: the content is shorter, or too slow.
    """
    url, most = file.url, file.most_bytes if file.size is None else file.size
    length, total = _stated_lengths(response, offset, part.version, file)
    if total is not None and total > most:
        raise DownloadError(f"{url}: {total:,} bytes long, more than the {most:,} expected.")
    if offset == 0:
        is_packed = _is_packed(response)
        part.start_over(Version() if is_packed else Version.of(response, total))
    part.file.seek(offset)
    part.file.truncate()
    bar = tqdm(
        total=total,
        initial=offset,
        unit="B",
        unit_scale=True,
        desc=part.path.name.removesuffix(".part"),
        disable=None,  # Hidden without a terminal.
    )
    with bar:
        for chunk in _arriving(response, calls):
            part.file.write(chunk)
            bar.update(len(chunk))
            if part.file.tell() > most:
                raise DownloadError(
                    f"{url}: the server sends more than the {most:,} bytes expected."
                )
    arrived = response.raw.tell()  # Before decompression.
    for got, stated in ((arrived, length), (part.size, total)):
        if stated is not None and got > stated:
            raise DownloadError(
                f"{url}: the server sends more than the {stated:,} bytes it stated."
            )
        if stated is not None and got < stated:
            raise requests.ConnectionError(f"ended after {got:,} of {stated:,} bytes")


def _stated_lengths(
    response: requests.Response, offset: int, known: Version, file: RemoteFile
) -> tuple[int | None, int | None]:
    """Returns the bytes of the response and of the whole file; None where not stated."""
    stated = response.headers.get("Content-Length", "")
    length = int(stated) if re.fullmatch(r"\d{1,18}", stated, re.ASCII) else None
    span = _content_range(response) if response.status_code == 206 else None
    if span:
        first, last, total = span
        return last - first + 1, total or known.size or file.size
    if _is_packed(response):
        return length, file.size
    return length, file.size if length is None else offset + length


def _is_packed(response: requests.Response) -> bool:
    """Whether the server compressed the content although the request asked it not to.

    Raises:
        DownloadError: it was, in an unsupported encoding.
    """
    named = response.headers.get("Content-Encoding", "").lower().split(",")
    encodings = {name.strip() for name in named} - {"", "identity"}
    if unknown := encodings - set(urllib3.HTTPResponse.CONTENT_DECODERS):
        raise DownloadError(
            f"{response.url}: the server sends it compressed with {min(unknown)!r}, although it "
            "was asked not to; download it by other means, and name the file."
        )
    return bool(encodings)


def _arriving(response: requests.Response, calls: TimedCalls) -> Iterator[bytes]:
    """Yields the content in chunks as they arrive, however small.

    Raises:
        requests.RequestException: the connection broke or is too slow.
    """
    started, got = time.monotonic(), 0
    while True:
        try:
            piece = calls.call(
                lambda: response.raw.read1(CHUNK_BYTES, decode_content=True), SLOWEST_SECONDS
            )
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


def _check(file: RemoteFile, part: Part, stated_md5: str | None) -> None:
    """Checks a completed part against the known checksums and those the server states."""
    part.file.flush()
    check_content(file, part.path)
    if stated_md5 and b64encode(_digest(part.path, "md5").digest()).decode() != stated_md5:
        raise DownloadError(f"{file.url}: what arrived differs from what the server states.")


def _digest(path: Path, algorithm: str):
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm)


def _is_absent(error: Exception) -> bool:
    response = getattr(error, "response", None)
    return response is not None and response.status_code in (404, 410)


def _reason(error: Exception) -> str:
    """Returns a short reason instead of the nested message of requests."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code} {response.reason}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke"
    if isinstance(error, (requests.exceptions.InvalidURL, urllib3.exceptions.LocationParseError)):
        return "this address, or that of a proxy in HTTPS_PROXY, is not valid"
    inner = error.args[0] if error.args else error
    return str(getattr(inner, "reason", inner)).rsplit(": ", 1)[-1].rstrip("\"')")
