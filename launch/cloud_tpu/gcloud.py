"""Runs gcloud: time limits, another try where that helps, failures told in a sentence."""

import dataclasses
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from mlp_core.errors import UserError
from mlp_core.process.console import print_line

MINUTE, HOUR = 60, 3600
LONGEST_PAUSE = 12  # Times the first pause before another try, which doubles.
NO_SSH = 255  # The exit status of ssh where it has no connection, and then of gcloud.


@dataclasses.dataclass(frozen=True)
class Kind:
    """A way in which gcloud fails: how it is told from others, and what to do."""

    pattern: str
    advice: str
    tries: int = 1  # More where the same command may work a little later.


NO_CAPACITY = Kind(
    "no more capacity|[Ii]nsufficient (reserved )?capacity|STOCKOUT|not enough resources",
    "Try another --zone or --accelerator_type, or --queued, which waits in line.",
)
QUOTA = Kind(
    "[Qq]uota|RESOURCE_EXHAUSTED",
    "Ask for more in the console under IAM & Admin, Quotas (--spot has a quota of its own), or "
    "take a smaller --accelerator_type or another --zone.",
)
EXISTS = Kind("ALREADY_EXISTS|already exists", "Name another with --name.")
MISSING = Kind("NOT_FOUND|not found", "Check --name, --zone and --project.")
DENIED = Kind(
    "PERMISSION_DENIED|does not have .*(permission|access)",
    "Your account needs the roles TPU Admin, Service Account User and Storage Admin in the "
    "project, and the project the TPU API: gcloud services enable tpu.googleapis.com.",
)
NO_ACCOUNT = Kind("active account|UNAUTHENTICATED|[Rr]eauthentication", "Run: gcloud auth login")
NO_PROJECT = Kind(r"attribute \[project\]|property \[core/project\]", "Name it with --project.")
NO_KEY = Kind(
    "not present in the SSH agent",
    'Run: eval "$(ssh-agent)" && ssh-add ~/.ssh/google_compute_engine',
)
LOST = Kind("terminal state|cannot be currently connected to", "See the action status.")
NO_CONNECTION = Kind(
    r"return code \[255\]",
    "Is port 22 open to you in the project's firewall, and the key in the agent? Run: "
    'eval "$(ssh-agent)" && ssh-add ~/.ssh/google_compute_engine',
    tries=10,  # Within a quarter of an hour: nobody may be there to give the command again.
)
PASSING = Kind(
    "UNAVAILABLE|DEADLINE_EXCEEDED|INTERNAL|timed out|Connection|Unable to reach|HTTPError 5",
    "Try again later.",
    tries=10,
)
SLOW = Kind("(?!)", "Try again; the action status tells how things stand.", tries=3)
OTHER = Kind("", "")
JSON_MESSAGE = r'"message":\s*("(?:[^"\\]|\\.)*")'  # Of errors that gcloud tells in JSON.
# Lines of its own among those of a command on a worker.
OF_GCLOUD = r"ERROR: \(gcloud|error: \(gcloud|WARNING: |#####|Using ssh batch|SSH: |Propagating SSH"
MOST_LINES_OF_A_WORKER = 3  # In a sentence of ours.
KINDS = (
    *(NO_CAPACITY, QUOTA, EXISTS, NO_ACCOUNT, NO_PROJECT, DENIED, MISSING, NO_KEY, LOST),
    *(NO_CONNECTION, PASSING, OTHER),
)


class GcloudError(UserError):
    """A command of gcloud's failed, and would again."""

    def __init__(self, what: str, kind: Kind) -> None:
        """`what` failed, in a sentence; what to do comes with `kind`."""
        super().__init__(f"{what} {kind.advice}".rstrip())
        self.kind = kind


@dataclasses.dataclass(frozen=True)
class Gcloud:
    """Runs commands, or with `dry_run` only prints them, quoted so that they can be pasted."""

    dry_run: bool = False
    pause: float = 10.0  # Seconds before another try.

    def say(self, text: str) -> None:
        """Prints a line for the user; in a dry run as a comment among the commands."""
        print_line(f"# {text}" if self.dry_run else text)

    def run(self, *command: str, limit: float = 10 * MINUTE, pretended: str = "") -> str:
        """What a command prints on its standard output; `pretended` in a dry run.

        `limit` is in seconds. Every command is such that running it twice does no harm.

        Raises:
            GcloudError: it failed, after some tries where that might have passed.
            UserError: gcloud is not installed.
        """
        if self.dry_run:
            print_line(shlex.join(command))
            return pretended
        for past_tries in itertools.count():
            try:
                return _run_once(command, limit)
            except GcloudError as error:
                if past_tries + 1 >= error.kind.tries:
                    raise
                pause = self.pause * min(2**past_tries, LONGEST_PAUSE)
                self.say(f"{error} Trying again in {pause:.0f} s.")
                time.sleep(pause)

    def stream(self, *command: str, receive: Callable[[bytes], None], limit: float = HOUR) -> None:
        """Passes on what a command prints as it comes, whether or not it ends well.

        After `limit` seconds it is ended: a connection may be dead without a word.
        """
        if self.dry_run:
            print_line(shlex.join(command))
            return
        with _started(command, stderr=subprocess.DEVNULL) as process:
            timer = threading.Timer(limit, _end, [process])
            timer.daemon = True
            timer.start()
            try:
                while data := process.stdout.read1():
                    receive(data)
            finally:
                timer.cancel()


def _run_once(command: tuple[str, ...], limit: float) -> str:
    with _started(command, stderr=subprocess.PIPE) as process:
        try:
            output, complaint = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            what = f"{_name(command)}: no answer in {limit / MINUTE:.0f} minutes."
            raise GcloudError(what, SLOW) from None
    if process.returncode:
        raise _failure(command, complaint.decode(errors="replace"), process.returncode)
    return output.decode(errors="replace")


@contextmanager
def _started(command: tuple[str, ...], stderr: int) -> Iterator[subprocess.Popen]:
    """A process that ends with the context, and with it what it has started, ssh say.

    It has no terminal, at which it could ask what nobody would answer.
    """
    environment = os.environ | {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise UserError(
            f"{command[0]} is not installed here; see https://cloud.google.com/sdk/docs/install."
        ) from None
    with process:
        try:
            yield process
        except BaseException:
            _end(process)
            raise


def _end(process: subprocess.Popen) -> None:
    """Kills a process and those that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _failure(command: tuple[str, ...], complaint: str, status: int) -> GcloudError:
    own = re.search(r"ERROR: \(?gcloud.*", complaint, re.DOTALL)  # Not that of a remote command.
    if own:
        kind = next(kind for kind in KINDS if re.search(kind.pattern, own[0]))
    else:
        kind = NO_CONNECTION if status == NO_SSH else OTHER
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error:")]
    last = (errors or lines or [f"exit status {status}."])[-1]
    told = re.sub(r"^(ERROR|error): (\(gcloud[\w.-]*\) )?", "", last)
    if told.startswith("{"):
        told = _message_in_json(complaint) or told
    told = told if told.endswith(".") else f"{told}."
    of_worker = [line for line in lines if line != last and not re.match(OF_GCLOUD, line)]
    if "ssh" in command and kind is OTHER and of_worker:
        told = f"{told} Before that: {' / '.join(of_worker[-MOST_LINES_OF_A_WORKER:])}"
    return GcloudError(f"{_name(command)}: {told}", kind)


def _message_in_json(complaint: str) -> str:
    """What an error says that gcloud tells as JSON, in a line; nothing where it is none."""
    found = re.findall(JSON_MESSAGE, complaint)
    with suppress(ValueError):
        return " ".join(json.loads(found[-1], strict=False).split()) if found else ""
    return ""


def _name(command: tuple[str, ...]) -> str:
    """The words of a command that say what it does: `gcloud compute tpus tpu-vm create NAME`."""
    words = []
    for word in command:
        if word.startswith("-"):
            break
        words.append(word)
    return " ".join(words)
