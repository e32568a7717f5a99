"""An archive in a form in which data sets are published, of made files."""

import gzip
import hashlib
import io
import tarfile

from mlp_core.weights.downloads import RemoteFile


def made_archive(path, contents, compress=True):
    """Writes a tar file of `contents` by name; returns its description."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(buffer.getvalue()) if compress else buffer.getvalue())
    return described(path)


def described(path):
    """A file on disk as a published one, at an address where nothing is."""
    content = path.read_bytes()
    url = f"http://127.0.0.1:1/{path.name}"
    return RemoteFile(url, size=len(content), sha256=hashlib.sha256(content).hexdigest())
