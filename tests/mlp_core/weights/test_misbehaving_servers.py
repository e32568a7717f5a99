"""Downloads from servers that change, cut, stretch or mix what they send, or never end."""

import errno
import gzip
import hashlib
import os
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlp_core.process import files
from mlp_core.weights import downloads
from mlp_core.weights.downloads import DownloadError, RemoteFile, fetch
from mlp_core.weights.sources import fetch_weight_file

OLD, NEW = b"a" * 300_000, b"b" * 300_000
LONG_AGO = "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT"
LATER = "Last-Modified: Tue, 02 Jan 2024 00:00:00 GMT"
NOW = "Date: Wed, 03 Jan 2024 00:00:00 GMT"


class Server:
    """Answers request number i with the bytes that `answers[i](head)` yields, then hangs up."""

    def __init__(self, *answers):
        self.heads: list[str] = []
        self._answers = answers
        self._socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/file.bin"

    def _serve(self):
        while True:
            connection, _ = self._socket.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1 << 16)
            answer = self._answers[min(len(self.heads), len(self._answers) - 1)]
            self.heads.append(head.decode())
            try:
                for piece in answer(head.decode()):
                    connection.sendall(piece)
            except OSError:  # The client has hung up.
                pass


def reply(status, body=b"", *headers, cut=None):
    """An answer with this status line and these headers; of the body only `cut` bytes."""
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, "Connection: close"]) + "\r\n\r\n"
    return lambda request: [head.encode() + body[:cut]]


def whole(body, *headers, cut=None):
    return reply("200 OK", body, f"Content-Length: {len(body)}", NOW, *headers, cut=cut)


def part_of(body, first, *headers, last=None, stated=None, total=None):
    """Bytes from `first` to `last`; says that they are `stated`."""
    last = len(body) - 1 if last is None else last
    stated = stated or f"bytes {first}-{last}/{total or len(body)}"
    content = body[first : last + 1]
    return reply(
        "206 Partial Content", content, f"Content-Range: {stated}",
        f"Content-Length: {len(content)}", NOW, *headers,
    )  # fmt: skip


def offset_in(head):
    return int(re.search(r"Range: bytes=(\d+)-", head)[1])


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.1)))


def fetched(server, folder, **known):
    return fetch(RemoteFile(server.url, **known), folder / "file.bin").read_bytes()


@pytest.mark.parametrize("old, new", [('ETag: "1"', 'ETag: "2"'), (LONG_AGO, LATER)])
@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_a_file_that_changes_between_two_parts_is_not_mixed(tmp_path, old, new, heeds_if_range):
    def second(head):
        if heeds_if_range and "If-Range" in head:
            return whole(NEW, new)(head)
        return part_of(NEW, offset_in(head), new)(head)

    server = Server(whole(OLD, old, cut=200_000), second, whole(NEW, new))
    assert fetched(server, tmp_path) == NEW
    assert f"If-Range: {old.split(': ', 1)[1]}" in server.heads[1]
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("header", ['ETag: "1"', LONG_AGO])
def test_a_file_that_does_not_change_is_resumed(tmp_path, header):
    server = Server(
        whole(OLD, header, cut=200_000), lambda head: part_of(OLD, offset_in(head), header)(head)
    )
    assert fetched(server, tmp_path) == OLD
    assert 100_000 < offset_in(server.heads[1]) <= 200_000 and len(server.heads) == 2


def test_the_next_process_resumes_only_with_the_validator_beside_the_part(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    for name, header in (("with", 'ETag: "1"'), ("without", "X: y")):
        folder = tmp_path / name
        with pytest.raises(DownloadError, match="connection broke"):
            fetched(Server(whole(OLD, header, cut=200_000)), folder)
        server = Server(
            lambda head, h=header: (
                part_of(OLD, offset_in(head), h)(head) if "Range" in head else whole(OLD, h)(head)
            )
        )
        assert fetched(server, folder) == OLD
        assert ("Range: bytes=" in server.heads[0]) == (name == "with")


@pytest.mark.parametrize(
    "header",
    ['ETag: W/"1"', "Last-Modified: Wed, 03 Jan 2024 00:00:00 GMT", LONG_AGO + "x", "X: y"],
)
def test_what_does_not_tell_two_states_apart_is_no_validator(tmp_path, header):
    server = Server(whole(OLD, header, cut=200_000), whole(NEW, header))
    assert fetched(server, tmp_path) == NEW
    assert "Range" not in server.heads[1]


def test_partial_answers_shorter_than_asked_for_are_continued(tmp_path):
    def some(head):
        first = offset_in(head)
        return part_of(OLD, first, 'ETag: "1"', last=min(first + 60_000, len(OLD)) - 1)(head)

    server = Server(whole(OLD, 'ETag: "1"', cut=200_000), some)
    assert fetched(server, tmp_path) == OLD
    assert len(server.heads) == 3


@pytest.mark.parametrize(
    "odd",
    [
        lambda head: part_of(OLD, 7, 'ETag: "1"')(head),  # From another byte,
        lambda head: part_of(OLD, offset_in(head), 'ETag: "1"', total=400_000)(head),  # longer,
        lambda head: part_of(OLD, offset_in(head), 'ETag: "1"', stated="bytes 9-3/5")(head),
        lambda head: part_of(OLD, offset_in(head), 'ETag: "1"', stated="lines 1-2/3")(head),
        lambda head: part_of(OLD, offset_in(head))(head),  # without its ETag,
        lambda head: part_of(OLD, offset_in(head), LONG_AGO)(head),
        reply("206 Partial Content", b"x" * 9, 'ETag: "1"'),  # of an unknown place,
        reply(
            "206 Partial Content", b"--x\r\n", "Content-Type: multipart/byteranges; boundary=x",
            'ETag: "1"',
        ),  # in several parts,
        reply("416 Range Not Satisfiable", b"", "Content-Range: bytes */300000"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_hash_known", [True, False])
def test_odd_partial_answers_make_the_download_start_over(tmp_path, odd, is_hash_known):
    known = {"sha256": hashlib.sha256(OLD).hexdigest()} if is_hash_known else {}
    server = Server(whole(OLD, 'ETag: "1"', cut=200_000), odd, whole(OLD))
    assert fetched(server, tmp_path, **known) == OLD
    assert len(server.heads) == 3 and "Range" not in server.heads[2]


def test_a_whole_file_in_place_of_a_part_replaces_it(tmp_path):
    server = Server(whole(OLD, 'ETag: "1"', cut=200_000), whole(OLD[:250_000], 'ETag: "1"'))
    assert fetched(server, tmp_path) == OLD[:250_000]


@pytest.mark.parametrize(
    "answer",
    [
        part_of(OLD, 5),
        part_of(OLD, 0, stated=f"bytes 0-{len(OLD) - 1}/*"),
        reply("206 Partial Content", OLD),
    ],
)
def test_a_part_that_nobody_asked_for_is_refused(tmp_path, answer):
    with pytest.raises(DownloadError, match="another part than was asked for"):
        fetched(Server(answer), tmp_path)
    assert not list(tmp_path.iterdir())


def chunked(body, *headers, end=b"0\r\n\r\n"):
    content = b"%x\r\n%s\r\n" % (len(body), body) + end
    return reply("200 OK", content, "Transfer-Encoding: chunked", *headers)


def test_more_than_the_server_states_is_refused(tmp_path):
    for answer in (
        chunked(OLD, "Content-Length: 1000"),
        reply("206 Partial Content", OLD, "Content-Range: bytes 0-999/1000"),
    ):
        with pytest.raises(DownloadError, match="sends more than the 1,000 bytes it stated"):
            fetched(Server(answer), tmp_path)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "answer",
    [whole(OLD, cut=200_000), chunked(OLD, end=b""), reply("200 OK", b"", "Content-Length: 5")],
)
def test_less_than_the_server_states_is_refused(tmp_path, answer):
    with pytest.raises(DownloadError, match="cannot be fetched"):
        fetched(Server(answer), tmp_path)
    assert not (tmp_path / "file.bin").exists()


def test_content_that_is_compressed_on_the_way_is_unpacked_and_whole(tmp_path):
    packed = gzip.compress(os.urandom(50_000) + OLD)
    headers = ("Content-Encoding: gzip", 'ETag: "1"')
    server = Server(whole(packed, *headers, cut=20_000), whole(packed, *headers))
    assert fetched(server, tmp_path) == gzip.decompress(packed)
    assert "Range" not in server.heads[1]


def test_content_that_cannot_be_unpacked_is_refused(tmp_path):
    with pytest.raises(DownloadError, match="compressed with 'rot13'"):
        fetched(Server(whole(OLD, "Content-Encoding: gzip, rot13")), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_of_http_1_0_without_a_length_is_taken(tmp_path):
    assert fetched(Server(lambda head: [b"HTTP/1.0 200 OK\r\n\r\n" + OLD]), tmp_path) == OLD


def endless(first, piece):
    def answer(head):
        yield first
        while True:
            yield piece
            threading.Event().wait(0.02)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        endless(b"", b"H"),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"x"),
        endless(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n", b"X: y\r\n"),
    ],
)
def test_heads_and_bodies_that_drip_for_ever_are_given_up(tmp_path, monkeypatch, answer):
    for name, value in {"HEADER_SECONDS": 0.5, "SLOWEST_SECONDS": 0.5, "ATTEMPTS": 2}.items():
        monkeypatch.setattr(downloads, name, value)
    started = time.monotonic()
    with pytest.raises(DownloadError, match="cannot be fetched .no answer in time"):
        fetched(Server(answer), tmp_path)
    assert time.monotonic() - started < 30


def test_the_body_of_a_redirect_is_not_read(tmp_path, monkeypatch):
    flood = endless(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", bytes(1 << 20))
    started = time.monotonic()
    assert fetched(Server(flood, whole(OLD)), tmp_path) == OLD
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    "location, message",
    [
        ("https://[::1/x", "not a valid address"),
        ("https://example.org:port/x", "cannot be fetched"),
        ("file:///etc/passwd", "only https:// addresses"),
        ("/file.bin", "redirects"),
        ("https://user:word@[::1/x", "not a valid address"),
    ],
)
def test_odd_redirects_and_loops_end_in_one_sentence(tmp_path, location, message):
    server = Server(reply("302 Found", b"", f"Location: {location}", "Content-Length: 0"))
    with pytest.raises(DownloadError, match=message) as error:
        fetched(server, tmp_path)
    assert len(str(error.value).splitlines()) == 1 and "word" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        *("https://[::1/x", "https://", "https:///x", "https://a:b/x", "https://a:99999/x"),
        *("https://a\x00b/x", "https://exa\u2100mple/x", "https://" + "a" * 300 + ".org/x"),
        *("https://a\udcff/x", "https://*/x", "https://[::1]x/y"),
    ],
)
def test_odd_addresses_end_in_one_sentence(tmp_path, monkeypatch, url):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for attempt in (lambda: fetch(RemoteFile(url), tmp_path / "x"), lambda: fetch_weight_file(url)):
        with pytest.raises(DownloadError) as error:
            attempt()
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("has_locks", [True, False])
def test_processes_that_race_for_a_file_all_get_it_whole(tmp_path, monkeypatch, has_locks):
    def no_locks(*args):
        raise OSError(errno.ENOLCK, "no locks available")

    content = os.urandom(1 << 20)

    def slow(head):
        first = offset_in(head) if "Range" in head else 0
        status = "206 Partial Content" if first else "200 OK"
        yield (
            f'HTTP/1.1 {status}\r\nETag: "1"\r\nContent-Length: {len(content) - first}\r\n'
            f"Content-Range: bytes {first}-{len(content) - 1}/{len(content)}\r\n\r\n"
        ).encode()
        for i in range(first, len(content), 1 << 16):
            yield content[i : i + (1 << 16)]
            threading.Event().wait(0.03)

    if not has_locks:
        monkeypatch.setattr(files.fcntl, "flock", no_locks)
    server = Server(slow)
    # Threads open the file each for itself, as processes do.
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: fetched(server, tmp_path), range(3))) == [content] * 3
    assert (tmp_path / "file.bin").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]
    assert len(server.heads) == 1 or not has_locks


def test_who_waits_for_a_part_that_is_removed_writes_to_the_new_one(tmp_path):
    part = tmp_path / "file.bin.part"
    with files.open_lock_file(part) as held:
        assert files.lock(held)
        waiting = threading.Thread(target=fetched, args=(Server(whole(OLD)), tmp_path))
        waiting.start()
        threading.Event().wait(0.5)
        part.unlink()
        part.write_bytes(b"of a third process")
        held.write(b"late")
    waiting.join(30)
    assert (tmp_path / "file.bin").read_bytes() == OLD


def test_a_part_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "file.bin.part").symlink_to(tmp_path / "victim")
    with pytest.raises(DownloadError, match="cannot be written"):
        fetched(Server(whole(OLD)), tmp_path)
    assert (tmp_path / "victim").read_bytes() == b"precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_cache_that_cannot_be_written_is_reported_in_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DownloadError, match=r"cannot be written \(Permission denied\)"):
        fetched(Server(whole(OLD)), tmp_path / "new")


@pytest.mark.parametrize(
    "proxy",
    [
        *("http://user:word@127.0.0.1:1", "http://user:word@[::1", "user:word@127.0.0.1:1"),
        *(
            "http://user:word/word@127.0.0.1:1",
            "socks5://user:word@127.0.0.1:1",
            "ftp://user:word@h",
        ),
    ],
)
def test_the_password_of_a_proxy_is_in_no_message(tmp_path, monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(DownloadError, match="cannot be fetched") as error:
        fetch(RemoteFile("https://example.org/x"), tmp_path / "x")
    assert "word" not in str(error.value)


@pytest.mark.parametrize(
    "saved", ["", "[]", '{"validator": 3}', '{"validator": "\\"1\\"", "size": "x"}', '{"a": 1}']
)
def test_a_damaged_note_beside_a_part_makes_the_download_start_over(tmp_path, saved):
    (tmp_path / "file.bin.part").write_bytes(NEW[:1000])
    (tmp_path / "file.bin.part.version").write_text(saved)
    server = Server(whole(OLD))
    assert fetched(server, tmp_path) == OLD
    assert "Range" not in server.heads[0]
