"""Joint start, failure reporting and joint end of the hosts of a run.

JAX's coordination service, in host 0's process, holds a small key-value store that all hosts see.
A host that fails writes its error message there. A thread on every other host polls for such
messages and ends its process, since the main thread may be blocked on the device by a collective
with the failed host. All hosts thus report an error within seconds. If a host dies silently, host 0
reports its missed heartbeats. If host 0 dies, or nothing is reported, JAX ends the others with its
own message.

The store is a private API of JAX; Orbax uses it, too.
"""

import itertools
import json
import os
import socket
import sys
import threading
import time
from contextlib import ExitStack
from typing import NamedTuple, NoReturn

from mlp_core.distributed.cluster import Cluster
from mlp_core.errors import TRY_AGAIN, UserError
from mlp_core.process import preemption
from mlp_core.process.console import drop_unwritten, print_error

START_SECONDS = 300  # Timeout for all hosts to join.
SILENCE_SECONDS = 90  # Without a heartbeat; hosts send one with every poll.
# JAX's own limit. JAX may end all hosts after half of it, when its last heartbeat is that old.
HEARTBEAT_SECONDS = 300
SHUTDOWN_SECONDS = 60
LOOK_EVERY = 2.0  # Seconds between two polls for failures of other hosts.
GRACE_SECONDS = 20  # For the main thread to exit and finish a checkpoint in progress.
ANSWER_SECONDS = 5  # For another host to report why it closed a connection.
LAST_HOST_SECONDS = 30  # How long host 0 keeps the store alive.
LOST_HOST = TRY_AGAIN  # Exit status: try again later.


class Failure(NamedTuple):
    """The exit status and error message of another host."""

    status: int
    sentence: str  # Names the host.


class Store:
    """A key-value store of strings that all hosts of a run share."""

    def __init__(self):
        """Connects to the store; requires `jax.distributed.initialize`."""
        from jax._src import distributed

        self._client = distributed.global_state.client
        self.index = distributed.global_state.process_id
        self.num_hosts = distributed.global_state.num_processes
        self._places = itertools.count()

    def put(self, name: str, text: str, again: bool = False) -> None:
        """Writes a value; overwrites an existing one only if `again`."""
        self._client.key_value_set(name, text, allow_overwrite=again)

    def new_place(self, topic: str) -> str:
        """Returns an unused directory, the same for the n-th call on every host."""
        return f"{next(self._places)}, {topic}"

    def folder(self, folder: str) -> dict[str, str]:
        """Returns the values stored under FOLDER/KEY, by key."""
        found = self._client.key_value_dir_get(f"{folder}/")
        return {name.rpartition("/")[2]: text for name, text in found}


class _Host:
    """This process as one of several; watches the others for failures."""

    def __init__(self):
        self.store = Store()
        self._ends = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def failure_of_another(self) -> Failure | None:
        """Returns the first failure reported by another host."""
        for index, text in sorted(self.store.folder("failures").items()):
            if int(index) != self.store.index:
                status, sentence = json.loads(text)
                return Failure(status, f"host {index}: {sentence}")
        return None

    def stop_watching(self) -> None:
        """Stops the watcher thread; from then on the main thread ends the process."""
        self._ends.set()
        self._watcher.join(ANSWER_SECONDS)

    def leave(self, status: int, sentence: str | None) -> NoReturn:
        """Ends the process without waiting for other hosts; host 0 exits last."""
        if sentence is not None and self.failure_of_another() is None:
            self.store.put(f"failures/{self.store.index}", json.dumps([status, sentence]))
        self.store.put(f"left/{self.store.index}", "")
        deadline = time.monotonic() + LAST_HOST_SECONDS
        is_first = self.store.index == 0
        while is_first and len(self.store.folder("left")) < self.store.num_hosts:
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        drop_unwritten()
        os._exit(status)

    def _watch(self) -> None:
        heard: dict[str, tuple[str, float]] = {}  # Heartbeats and when they changed.
        for sign in itertools.count():
            if self._ends.wait(LOOK_EVERY):
                return
            try:
                self.store.put(f"signs/{self.store.index}", str(sign), again=True)
                if self.store.index == 0:
                    self._tell_of_silent_hosts(heard)
                failure = self.failure_of_another()
            except RuntimeError:  # Host 0 is gone; JAX ends this process.
                return
            if failure and not self._ends.wait(GRACE_SECONDS):
                print_error(f"error: {failure.sentence}")
                self.leave(failure.status, None)

    def _tell_of_silent_hosts(self, heard: dict[str, tuple[str, float]]) -> None:
        now, gone = time.monotonic(), self.store.folder("failures") | self.store.folder("left")
        for index, sign in self.store.folder("signs").items():
            if index not in heard or heard[index][0] != sign:
                heard[index] = sign, now
            silence = now - heard[index][1]
            if silence > SILENCE_SECONDS and index not in gone:
                sentence = f"no sign of life for {silence:.0f} s; it has died, or the network."
                self.store.put(f"failures/{index}", json.dumps([LOST_HOST, sentence]))


_host: _Host | None = None
_on_signal = ExitStack()


def start(cluster: Cluster, limit: float = START_SECONDS) -> None:
    """Joins this process with the others of `cluster`; call it before any device is used.

    Ends the process with an error message unless all have joined within `limit` seconds.

    Raises:
        UserError: the cluster cannot be joined.
    """
    global _host
    import jax

    all_came = threading.Event()
    threading.Thread(target=_end_unless, args=(all_came, cluster, limit), daemon=True).start()
    has_all = cluster.coordinator_address is not None
    try:
        jax.distributed.initialize(
            cluster.coordinator_address,
            cluster.num_processes,
            cluster.process_id,
            cluster.local_device_ids,
            cluster_detection_method="deactivate" if has_all else None,
            initialization_timeout=int(limit) + 60,  # JAX aborts the process then.
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )
        _host = _Host()
        preemption.listen_again()  # JAX has installed its own handler.
        _on_signal.enter_context(preemption.exit_by(_host.leave))
        jax.devices()  # Hosts exchange their devices here; later they may be out of step.
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(_why_not(cluster, error)) from error
    finally:
        all_came.set()


def are_several() -> bool:
    """Whether this process has joined others."""
    return _host is not None


def store() -> Store | None:
    """Returns the store that all hosts share; None for a single process."""
    return _host and _host.store


def failure_of_another(patience: float = ANSWER_SECONDS) -> Failure | None:
    """Returns the failure of another host; waits up to `patience` seconds for its report."""
    deadline = time.monotonic() + patience
    while _host:
        failure = _host.failure_of_another()
        if failure or time.monotonic() >= deadline:
            return failure
        time.sleep(0.1)
    return None


def finish() -> None:
    """Shuts down the cluster, if any. All hosts must call it at about the same time."""
    global _host
    if not _host:
        return
    import jax

    _host.stop_watching()
    _on_signal.close()
    jax.distributed.shutdown()
    preemption.listen_again()
    _host = None


def leave(status: int, sentence: str) -> NoReturn:
    """Exits with `status`; other hosts soon exit with it, too, and report `sentence`."""
    preemption.done(status)
    if not _host:
        sys.exit(status)
    _host.stop_watching()
    _host.leave(status, sentence)


def _end_unless(all_came: threading.Event, cluster: Cluster, limit: float) -> None:
    """Ends the process on a timeout: JAX would abort with a long log and cannot be interrupted."""
    if not all_came.wait(limit):
        print_error(f"error: {_what_is_missing(cluster, limit)}")
        os._exit(LOST_HOST)


def _what_is_missing(cluster: Cluster, limit: float) -> str:
    address, waited = cluster.coordinator_address, f"in {limit:.0f} s"
    if address and cluster.process_id:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except OSError as error:
            return (
                f"the first process, by {cluster.origin} at {address}, has not answered {waited} "
                f"({error.strerror or error}); check the address, and see what that process says."
            )
    number = f"{cluster.num_processes} processes" if cluster.num_processes else "processes"
    return (
        f"not all {number} have come {waited}; start the same command on all hosts, and see what "
        "it says there."
    )


def _why_not(cluster: Cluster, error: Exception) -> str:
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    if "RPC server" in first_line:
        return (
            f"{cluster.coordinator_address}: the port cannot be opened here; another process may "
            "have it, so choose another one, the same on all hosts."
        )
    return f"this process cannot join the others, of which {cluster.origin} told: {first_line}"
