"""The hosts of a run: they start together, and end together.

JAX's coordination service, in the first host's process, keeps a small store of texts that all
hosts see. One that fails leaves its sentence there; a thread of each other host looks for such
sentences, since its main thread may wait in the device for the one that is gone, and ends the
process. So an error is told everywhere within seconds. Of a host that dies without a word the
first one tells that it gives no sign of life any more. Where it is the first host that dies, or
nobody tells, JAX ends the others with words of its own.

The store is a part of JAX that has no public name; Orbax uses it, too.
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
from mlp_core.errors import UserError
from mlp_core.process import preemption
from mlp_core.process.console import drop_unwritten, print_error

START_SECONDS = 300  # All hosts have come by then.
SILENCE_SECONDS = 90  # Without a sign of life, which hosts give with every look.
# JAX's own limit. It may end all when half of it has passed, for its own last sign can be that old.
HEARTBEAT_SECONDS = 300
SHUTDOWN_SECONDS = 60
LOOK_EVERY = 2.0  # Seconds between two looks for a failure elsewhere.
GRACE_SECONDS = 20  # For a main thread to end by itself, and save what is being saved.
ANSWER_SECONDS = 5  # For another host to tell why it has closed a connection.
LAST_HOST_SECONDS = 30  # The first host keeps the store for so long.
LOST_HOST = preemption.STATUS  # Exit status: try again later.


class Failure(NamedTuple):
    """What another host ended with."""

    status: int
    sentence: str  # Names the host.


class Store:
    """Texts by name that all hosts of a run see."""

    def __init__(self):
        """For after `jax.distributed.initialize`."""
        from jax._src import distributed

        self._client = distributed.global_state.client
        self.index = distributed.global_state.process_id
        self.num_hosts = distributed.global_state.num_processes
        self._places = itertools.count()

    def put(self, name: str, text: str, again: bool = False) -> None:
        """Writes a text; one that is there already only `again`."""
        self._client.key_value_set(name, text, allow_overwrite=again)

    def new_place(self, topic: str) -> str:
        """A folder that no one has used, the same for all hosts' n-th call."""
        return f"{next(self._places)}, {topic}"

    def folder(self, folder: str) -> dict[str, str]:
        """The texts called FOLDER/KEY that are there, by key."""
        found = self._client.key_value_dir_get(f"{folder}/")
        return {name.rpartition("/")[2]: text for name, text in found}


class _Host:
    """This process as one of several, and its look-out for what befalls the others."""

    def __init__(self):
        self.store = Store()
        self._ends = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def failure_of_another(self) -> Failure | None:
        """The first of the failures that other hosts have left."""
        for index, text in sorted(self.store.folder("failures").items()):
            if int(index) != self.store.index:
                status, sentence = json.loads(text)
                return Failure(status, f"host {index}: {sentence}")
        return None

    def stop_watching(self) -> None:
        """From now on the main thread sees to its end."""
        self._ends.set()
        self._watcher.join(ANSWER_SECONDS)

    def leave(self, status: int, sentence: str | None) -> NoReturn:
        """Ends the process without waiting for what others do; the first host goes last."""
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
        heard: dict[str, tuple[str, float]] = {}  # Signs of life, and when they were new.
        for sign in itertools.count():
            if self._ends.wait(LOOK_EVERY):
                return
            try:
                self.store.put(f"signs/{self.store.index}", str(sign), again=True)
                if self.store.index == 0:
                    self._tell_of_silent_hosts(heard)
                failure = self.failure_of_another()
            except RuntimeError:  # The first host is gone; JAX ends this process.
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
    """Joins this process with the others of `cluster`; for before any device is looked at.

    Ends the process, with a sentence, if they do not all come within `limit` seconds.

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
            initialization_timeout=int(limit) + 60,  # At its end, JAX aborts the process.
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )
        _host = _Host()
        preemption.listen_again()  # JAX has put its own handler in place.
        _on_signal.enter_context(preemption.exit_by(_host.leave))
        jax.devices()  # Hosts tell each other what they have, and later may be late.
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(_why_not(cluster, error)) from error
    finally:
        all_came.set()


def are_several() -> bool:
    """Whether this process has been joined with others."""
    return _host is not None


def store() -> Store | None:
    """What all hosts see; None for a process by itself."""
    return _host and _host.store


def failure_of_another(patience: float = ANSWER_SECONDS) -> Failure | None:
    """What another host has failed with; waits so many seconds for it to say so."""
    deadline = time.monotonic() + patience
    while _host:
        failure = _host.failure_of_another()
        if failure or time.monotonic() >= deadline:
            return failure
        time.sleep(0.1)
    return None


def finish() -> None:
    """Ends the cluster; nothing without one. For all hosts at about the same time."""
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
    """Exits with `status`; the others, if there are any, exit with it soon and tell `sentence`."""
    preemption.done(status)
    if not _host:
        sys.exit(status)
    _host.stop_watching()
    _host.leave(status, sentence)


def _end_unless(all_came: threading.Event, cluster: Cluster, limit: float) -> None:
    """JAX would abort the process with many lines, and cannot be interrupted."""
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
