"""A server on this machine that speaks as the Hugging Face hub does."""

import hashlib
import threading
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def serve_hub(
    repository: str, files: Mapping[str, bytes], broken: Container[str] = ()
) -> Iterator[str]:
    """The address of a hub with one repository that holds `files`; it fails on `broken` ones."""
    contents = {f"/{repository}/resolve/main/{name}": data for name, data in files.items()}

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            content = contents.get(self.path)
            if self.path.rpartition("/")[2] in broken:
                self.send_error(500)
                return b""
            self.send_response(404 if content is None else 200)
            if content is None:
                has_others = self.path.startswith(f"/{repository}/")
                self.send_header("X-Error-Code", "EntryNotFound" if has_others else "RepoNotFound")
                content = b""
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            return content

        def do_GET(self):
            self.wfile.write(self.do_HEAD())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def hub_environment(address: str, home) -> dict[str, str]:
    """What a process needs in its environment to ask that hub and keep its cache in `home`."""
    return {"HF_ENDPOINT": address, "HF_HOME": str(home), "no_proxy": "127.0.0.1"}
