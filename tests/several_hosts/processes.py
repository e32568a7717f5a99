"""Starts the processes of a run, and ends them whatever happens."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass

from tests.conftest import ROOT

LIMIT = 240  # Seconds; a pair takes five where nothing else runs.


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    status: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """What it says of errors, without what JAX and Gloo say."""
        return [
            line
            for line in self.err.splitlines()
            if line.startswith(("error: ", "Traceback", "F1"))
        ]


def free_address() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def start(arguments: list[str], num_devices: int, **environment: str) -> subprocess.Popen:
    """Starts Python with so many CPU devices."""
    kept = {name: v for name, v in os.environ.items() if "proxy" not in name.lower()}
    kept |= {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(num_devices),
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends_of(processes: list[subprocess.Popen]) -> list[Ended]:
    """Waits for all of them."""
    try:
        texts = [process.communicate(timeout=LIMIT) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        Ended(process.returncode, *text) for process, text in zip(processes, texts, strict=True)
    ]


def start_workers(num_processes: int, num_devices: int, *runs: dict) -> list[subprocess.Popen]:
    """Starts workers that make the same runs; see `worker.py`."""
    address = free_address()
    clusters = [None] if num_processes == 1 else [(address, num_processes, i) for i in range(2)]
    return [
        start(["-m", "tests.several_hosts.worker", json.dumps([cluster, runs])], num_devices)
        for cluster in clusters
    ]


def start_pair(arguments: list[str], others: list[str] = (), **environment) -> list:
    """Starts a command on two hosts of four devices; `others` are flags of the second one."""
    address = free_address()
    flags = [f"--coordinator_address={address}", "--num_processes=2"]
    return [
        start([*arguments, *flags, f"--process_id={i}", *(others if i else [])], 4, **environment)
        for i in range(2)
    ]
