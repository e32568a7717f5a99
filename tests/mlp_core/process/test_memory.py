"""What glibc does with large blocks that are given back, in processes of their own."""

import platform
import subprocess
import sys

import pytest

from mlp_core.process import memory
from tests.conftest import ROOT

# Blocks are taken and given back, never written to, so that they cost no memory.
PROGRAM = """
import ctypes, sys
from mlp_core.process.memory import keep_freed_blocks, keep_freed_memory

class Told(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.mallinfo2.restype = Told
keep_freed_memory()
if sys.argv[2] == "keep":
    keep_freed_blocks(int(sys.argv[1]))
libc.free(libc.malloc(int(sys.argv[1])))
print(libc.mallinfo2().fordblks)  # Bytes that are free and kept.
"""
LARGE = 5 * 2**29  # 2.5 GiB


def bytes_kept(size, keep):
    command = [sys.executable, "-c", PROGRAM, str(size), keep]
    return int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_blocks_are_kept_and_those_above_two_gib_where_that_is_asked_for():
    assert bytes_kept(2**30, "") > 2**30
    assert bytes_kept(LARGE, "") < 2**30
    if memory._free_memory() > 2 * LARGE:
        assert bytes_kept(LARGE, "keep") > LARGE


def test_free_memory_is_what_the_machine_and_its_container_have_left(tmp_path, monkeypatch):
    for name, text in [
        ("MEMORY_INFO", "MemTotal: 900 kB\nMemAvailable:     800 kB\n"),
        ("MEMORY_LIMIT", "max\n"),
        ("MEMORY_USED", "1024\n"),
    ]:
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(memory, name, tmp_path / name)
    assert memory._free_memory() == 800 * 1024
    (tmp_path / "MEMORY_LIMIT").write_text("4096\n")
    assert memory._free_memory() == 3072
    (tmp_path / "MEMORY_INFO").write_text("MemTotal: 900 kB\n")
    assert memory._free_memory() == 0
