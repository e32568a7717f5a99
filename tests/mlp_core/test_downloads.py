import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mlp_core.downloads import DownloadError, RemoteFile, fetch, https_url

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
