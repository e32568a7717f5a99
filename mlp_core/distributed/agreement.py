"""Checks that the hosts of a run agree before they train; no-ops for a single process.

An objection on one host ends all of them with the same error message.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import jax
from ml_collections import ConfigDict

from mlp_core.distributed import hosts
from mlp_core.errors import LostHostError, UserError
from mlp_core.nn.parameters import flatten
from mlp_core.run_folder.run_directory import by_field, check_writable, lines_of_differences

T = TypeVar("T")

AT_ONCE = 300  # Seconds; for work that all hosts do at the same time.
A_DAY = 86400  # Seconds; for work that may include a download.
SLOW_FOLDER_SECONDS = 30  # Until hosts see each other's files: NFS caches lookups.
MOST_PAUSE = 1.0  # Seconds between two polls.


def agree(topic: str, word: str, objection: Callable[[str], str], limit: float = AT_ONCE) -> None:
    """Waits until all hosts have checked host 0's `word` and none objects.

    All hosts must call this, and its callers, in the same order.

    Args:
      topic: the subject, for the message on a timeout.
      word: the value that host 0 sends.
      objection: returns this host's objection to it, a sentence; empty if it has none.
      limit: timeout in seconds for all hosts to arrive.

    Raises:
        UserError: a host objects; raised on all hosts.
        LostHostError: another host has failed, or not all have arrived.
    """
    store = hosts.store()
    if store is None:
        return
    place = store.new_place(topic)
    words, answers = f"{place}/words", f"{place}/answers"
    if store.index == 0:
        store.put(f"{words}/first", word)
        others = [str(index) for index in range(1, store.num_hosts)]
        _wait(lambda: len(store.folder(answers)) == len(others) or None, limit)
        answered = store.folder(answers)
        if missing := [index for index in others if index not in answered]:
            raise LostHostError(
                f"{topic}: not heard of host {', '.join(missing)} in {limit:,.0f} s; see what is "
                "said there."
            )
        objections = [answered[index] for index in others if answered[index]]
        store.put(f"{words}/verdict", objections[0] if objections else "")
    else:
        first = _wait(lambda: store.folder(words).get("first"), limit)
        if first is not None:
            store.put(f"{answers}/{store.index}", objection(first))
    verdict = _wait(lambda: store.folder(words).get("verdict"), limit)
    if verdict is None:
        raise LostHostError(
            f"{topic}: not heard of host 0 in {limit:,.0f} s; see what is said there."
        )
    if verdict:
        raise UserError(verdict)


def wait_for_all(topic: str, limit: float = A_DAY) -> None:
    """Waits until all hosts have arrived here.

    Raises:
        LostHostError: another host has failed, or not all have arrived.
    """
    agree(topic, "", lambda _: "", limit)


def end_together() -> None:
    """Shuts down the cluster when all hosts are done.

    Raises:
        LostHostError: another host has failed, or does not finish.
    """
    wait_for_all("end")
    hosts.finish()


@contextmanager
def first_host_first(topic: str) -> Iterator[None]:
    """Runs the block on host 0, then on the others in parallel; exits when all are done.

    The others find what host 0 has written into a shared directory. File locks would not work: on
    many shared file systems they are local to a host.

    Raises:
        LostHostError: another host has failed, or does not finish.
    """
    store = hosts.store()
    if store is None:
        yield
        return
    if store.index == 0:
        yield
        wait_for_all(f"{topic} by the first host")
    else:
        wait_for_all(f"{topic} by the first host")
        yield
    wait_for_all(topic)


def check_same_run(config: ConfigDict, **settings: Any) -> None:
    """Checks that all hosts were started with the same command and software.

    Args:
      config: the experiment.
      settings: further values, by name, that must be the same.

    Raises:
        UserError: a host differs; lists all differences.
    """
    fields = by_field(flatten(config.to_dict()))
    here = json.loads(json.dumps(fields | settings | {"JAX": jax.__version__}))

    def objection(first: str) -> str:
        lines = lines_of_differences(json.loads(first), here, "here")
        head = (
            f"host {jax.process_index()} (here) was started otherwise than host 0 (there); start "
            "the same command, of the same installation, on all:"
        )
        return "\n  ".join([head, *lines]) if lines else ""

    agree("settings", json.dumps(here), objection)


def check_same_digest(what: str, digest: Callable[[], str]) -> None:
    """Checks that all hosts read the same content as host 0; a no-op for a single host.

    Args:
      what: the name of the content, such as "split test".
      digest: computes a digest of what this host has read.

    Raises:
        UserError: a host differs; raised on all hosts, with its number.
    """
    if not hosts.are_several():
        return
    here = digest()

    def objection(first: str) -> str:
        index = jax.process_index()
        different = (
            f"{what}: host {index} reads other content than host 0; give all hosts the same."
        )
        return "" if first == here else different

    agree(what, here, objection)


def check_shared_folder(folder: Path) -> None:
    """Checks that --workdir is the same directory on all hosts.

    Raises:
        UserError: it cannot be written, or a host does not see the files of host 0.
    """
    store = hosts.store()
    if store is None:
        return
    check_writable(folder)
    mark = f".seen_by_all_hosts_{secrets.token_hex(8)}"

    def objection(first: str) -> str:
        if _wait(lambda: (folder / first).exists() or None, SLOW_FOLDER_SECONDS):
            return ""
        return (
            f"--workdir={folder}: host {store.index} does not see there what host 0 writes; name "
            "a folder that all hosts share, such as one on NFS or Lustre."
        )

    if store.index == 0:
        (folder / mark).touch()
    try:
        agree("workdir", mark, objection)
    finally:
        if store.index == 0:
            (folder / mark).unlink(missing_ok=True)


def _wait(look: Callable[[], T | None], limit: float) -> T | None:
    """Polls `look` until it returns a value; None after `limit` seconds.

    Raises:
        LostHostError: another host has failed.
    """
    deadline, pause = time.monotonic() + limit, 0.02
    while (found := look()) is None and time.monotonic() < deadline:
        if failure := hosts.failure_of_another(patience=0):
            raise LostHostError(failure.sentence, failure.status)
        time.sleep(pause)
        pause = min(2 * pause, MOST_PAUSE)
    return found
