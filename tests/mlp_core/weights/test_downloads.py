import contextlib
import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from mlp_core.weights.downloads import (
    DownloadError,
    RemoteFile,
    _check_redirect,
    fetch,
    https_url,
    place_in,
)

CONTENT = bytes(range(256)) * 5000


class Server(ThreadingHTTPServer):
    """Serves CONTENT, with ranges; may cut connections short or refuse."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.cut_after: list[int] = []  # Bytes to send before hanging up, by request.
        self.status = None
        self.md5 = None
        self.ranges: list[str | None] = []
        self.body = CONTENT

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/folder/file.bin"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        if server.status:
            self.send_error(server.status)
            return
        first = int((self.headers.get("Range") or "bytes=0-").split("=")[1].rstrip("-"))
        if first >= len(server.body):
            self.send_error(416)
            return
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(server.body) - first))
        if server.md5:
            self.send_header("x-goog-hash", f"crc32c=AAAAAA==, md5={server.md5}")
        self.end_headers()
        end = first + server.cut_after.pop(0) if server.cut_after else None
        self.wfile.write(server.body[first:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def remote(server, **changes):
    known = dict(size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    return RemoteFile(server.url, **(known | changes))


def test_a_file_arrives_whole_and_is_not_fetched_twice(server, tmp_path):
    target = tmp_path / "new" / "file.bin"
    assert fetch(remote(server), target) == target
    assert target.read_bytes() == CONTENT
    fetch(remote(server), target)
    assert server.ranges == [None]
    assert [p.name for p in target.parent.iterdir()] == ["file.bin"]


def test_a_broken_connection_goes_on_where_it_stopped(server, tmp_path):
    server.cut_after = [300_000, 400_000]
    target = fetch(remote(server), tmp_path / "file.bin")
    assert target.read_bytes() == CONTENT
    first, second, third = server.ranges
    offsets = [int(r.removeprefix("bytes=").rstrip("-")) for r in (second, third)]
    assert first is None and 230_000 < offsets[0] <= 300_000 < offsets[1] <= 700_000


def test_a_killed_download_is_resumed_by_the_next_process(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:123])
    assert fetch(remote(server), tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges == ["bytes=123-"]


def test_a_part_that_is_already_whole_is_moved_into_place(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert fetch(remote(server), tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "changes, message",
    [(dict(sha256="0" * 64), "SHA-256"), (dict(size=len(CONTENT) + 1), "bytes long")],
)
def test_another_file_is_refused_and_leaves_nothing(server, tmp_path, changes, message):
    with pytest.raises(DownloadError, match=message):
        fetch(remote(server, **changes), tmp_path / "file.bin")
    assert not list(tmp_path.glob("file.bin*"))


def test_what_differs_from_the_hash_that_the_server_states_is_refused(server, tmp_path):
    server.md5 = "1B2M2Y8AsgTpgAmY7PhCfg=="  # Of nothing.
    with pytest.raises(DownloadError, match="differs from what the server states"):
        fetch(RemoteFile(server.url), tmp_path / "file.bin")


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_of_the_server_is_told_with_its_number(server, tmp_path, status):
    server.status = status
    with pytest.raises(DownloadError, match=f"cannot be fetched .HTTP {status}"):
        fetch(remote(server), tmp_path / "file.bin")


def test_a_server_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DownloadError, match="cannot be fetched .*Connection refused"):
        fetch(RemoteFile("http://127.0.0.1:1/file.bin"), tmp_path / "file.bin")


def test_a_folder_that_cannot_be_made_is_told(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="cannot be written"):
        fetch(remote(server), tmp_path / "file" / "file.bin")


def test_only_safe_addresses_are_fetched():
    assert https_url("gs://a/b/c.npz") == "https://storage.googleapis.com/a/b/c.npz"
    assert https_url("https://a/b") == "https://a/b"
    for url in ("http://example.org/x", "ftp://example.org/x", "file:///etc/passwd"):
        with pytest.raises(DownloadError, match="only https"):
            https_url(url)


def hostile(answer):
    """The address of a server that answers with what `answer(handler)` writes."""

    class Hostile(BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/folder/file.bin"


@pytest.mark.parametrize(
    "target", ["http://example.org/x", "file:///etc/passwd", "ftp://example.org/x", "//evil.org/x"]
)
def test_a_server_that_leads_away_from_https_is_not_followed(tmp_path, target):
    def redirect(handler):
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()

    with pytest.raises(DownloadError, match="the server leads to .*only https:// addresses"):
        fetch(RemoteFile(hostile(redirect)), tmp_path / "file.bin")
    assert not list(tmp_path.iterdir())


def test_a_redirect_from_https_to_this_machine_is_refused():
    response = requests.Response()
    response.url, response.status_code = "https://example.org/x", 302
    for target in ("http://127.0.0.1/x", "http://localhost/x"):
        response.headers["location"] = target
        with pytest.raises(DownloadError, match="the server leads to"):
            _check_redirect(response)
    for target in ("https://other.org/x", "/y"):
        response.headers["location"] = target
        _check_redirect(response)


@pytest.mark.parametrize("known", [dict(size=1000), dict(most_bytes=1000)])
@pytest.mark.parametrize("is_stated", [True, False])
def test_a_server_that_sends_more_than_the_file_has_is_stopped(tmp_path, known, is_stated):
    def flood(handler):
        handler.send_response(200)
        if is_stated:
            handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        with contextlib.suppress(OSError):  # It hangs up.
            while True:
                handler.wfile.write(bytes(1 << 16))

    with pytest.raises(DownloadError, match="more than the 1,000"):
        fetch(RemoteFile(hostile(flood), **known), tmp_path / "file.bin")
    assert not (tmp_path / "file.bin").exists()


@pytest.mark.parametrize("length", ["-5", "much", "1e3"])
def test_a_length_that_is_no_number_is_no_fault_of_the_program(tmp_path, length):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", length)
        handler.end_headers()
        handler.wfile.write(CONTENT)

    known = dict(size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    with contextlib.suppress(DownloadError):
        assert fetch(RemoteFile(hostile(answer), **known), tmp_path / "x").read_bytes() == CONTENT


def test_another_part_than_was_asked_for_is_refused(tmp_path):
    def answer(handler):
        handler.send_response(206)
        handler.send_header("Content-Range", "bytes 7-9/10")
        handler.send_header("Content-Length", "3")
        handler.end_headers()
        handler.wfile.write(b"abc")

    (tmp_path / "file.bin.part").write_bytes(b"12345")
    with pytest.raises(DownloadError, match="another part than was asked for"):
        fetch(RemoteFile(hostile(answer)), tmp_path / "file.bin")


def test_a_server_that_never_has_the_range_is_told(tmp_path):
    (tmp_path / "file.bin.part").write_bytes(b"12345")
    with pytest.raises(DownloadError, match="HTTP 416"):
        fetch(RemoteFile(hostile(lambda handler: handler.send_error(416))), tmp_path / "file.bin")


@pytest.mark.parametrize(
    "address",
    ["a/../../../.bashrc", "../x", "/etc/passwd", "", "a/%2e%2e/%2E%2E/x", "a/%2e%2e%2fx"],
)
def test_addresses_that_lead_out_of_the_cache_are_refused(tmp_path, address):
    with pytest.raises(DownloadError, match="no address of a file"):
        place_in(tmp_path, f"https://{address}")


def test_a_file_is_kept_by_its_server_and_path(tmp_path):
    assert place_in(tmp_path, "https://a.org/b..c/d.npz?e=1") == tmp_path / "a.org/b..c/?e=1/d.npz"


def test_a_server_that_sends_a_trickle_for_ever_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("mlp_core.weights.downloads.SLOWEST_SECONDS", 0.1)
    monkeypatch.setattr("mlp_core.weights.downloads.ATTEMPTS", 1)

    def trickle(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        with contextlib.suppress(OSError):  # It hangs up.
            while True:
                handler.wfile.write(b"x")
                time.sleep(0.02)

    with pytest.raises(DownloadError, match="cannot be fetched .no answer in time"):
        fetch(RemoteFile(hostile(trickle)), tmp_path / "file.bin")
