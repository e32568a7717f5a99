"""A real browser, without a window and without a network."""

import shutil
import subprocess
from pathlib import Path

import pytest

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--host-resolver-rules=MAP * ~NOTFOUND",  # No name leads anywhere.
]


def browse(page: Path, profile: Path, *arguments: str) -> str:
    """Opens a page and returns what the browser prints; skips where there is none."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    profile.mkdir()
    command = [browser, *FLAGS, f"--user-data-dir={profile}", *arguments, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    return done.stdout
