"""The workers of a TPU: code copied and installed, training started, watched, its log followed."""

import codecs
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.cloud_tpu import scripts
from launch.cloud_tpu.gcloud import MINUTE, Gcloud
from launch.cloud_tpu.tpu import Wanted
from mlp_core.errors import UserError
from mlp_core.process.console import escaped

CODE = ("setup.py", "configs", "launch", "mlp_core", "mlp_vision", "mlp_text")
# A connection that is dead is noticed, and ssh asks nothing that nobody would answer.
SSH_FLAGS = tuple(
    f"--ssh-flag=-o{option}"
    for option in ("BatchMode=yes", "ConnectTimeout=30", "ServerAliveInterval=30")
)

RUNNING, NONE = "running", "none"  # How training stands on a worker; or "exit 0", "signal 9".


class Workers:
    """All workers of a TPU that is READY."""

    def __init__(self, gcloud: Gcloud, wanted: Wanted) -> None:
        """Of the TPU that `wanted` names."""
        self.gcloud = gcloud
        self.wanted = wanted
        self._log_bytes = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._is_packed = False

    def copy(self, root: Path, archive: Path) -> None:
        """Packs the project's code in `root` into `archive` and brings it to every worker.

        Called again, it brings the same code: a run is not changed where it goes on.
        """
        self.gcloud.say("Copies the code")
        if not self._is_packed:
            self.gcloud.run("mkdir", "-p", str(archive.parent))
            where = ("-czf", str(archive), "--exclude=__pycache__", "-C", str(root))
            self.gcloud.run("tar", *where, *CODE)
            self._is_packed = True
        target = f"{self.wanted.name}:{scripts.ARCHIVE}"
        flags = ("--worker=all", *self.wanted.place, "--quiet")
        self.gcloud.run(
            *("gcloud", "compute", "tpus", "tpu-vm", "scp", str(archive), target, *flags)
        )

    def install(self, bucket: str, run_folder: str) -> None:
        """Unpacks the code, installs what it needs and mounts `bucket`, on every worker."""
        self.gcloud.say("Installs on all workers; the first time takes some minutes")
        command = self._ssh("all", scripts.INSTALL, bucket, run_folder)
        self.gcloud.run(*command, limit=40 * MINUTE)

    def start(self, arguments: Sequence[str]) -> None:
        """Starts launch/main.py on every worker on which it does not run."""
        self.gcloud.say("Starts training on all workers")
        self.gcloud.run(*self._ssh("all", scripts.START, *arguments))

    def states(self, pretended: str = NONE) -> list[str]:
        """How training stands on each worker: RUNNING, NONE, "exit STATUS" or "signal NUMBER".

        In no order.
        """
        said = self.gcloud.run(*self._ssh("all", scripts.STATE), pretended=f"worker: {pretended}")
        if not (states := re.findall(r"^worker: (.+)$", said, re.MULTILINE)):
            raise UserError(f"the workers of {self.wanted.name} do not tell how training stands.")
        return states

    def follow_log(self) -> None:
        """Prints the log of the first worker, as it grows, until training or the connection ends.

        Called again, it goes on where it stopped.
        """
        command = self._ssh("0", scripts.FOLLOW, str(self._log_bytes + 1))
        self.gcloud.stream(*command, receive=self._print)

    def forget_log(self) -> None:
        """Lets the log be printed from its beginning: it is that of a new machine."""
        self._log_bytes = 0

    def _print(self, data: bytes) -> None:
        sys.stdout.write(escaped(self._decoder.decode(data)))
        sys.stdout.flush()
        self._log_bytes += len(data)

    def _ssh(self, worker: str, script: str, *arguments: str) -> tuple[str, ...]:
        """The command that runs a script of bash on a worker, or on all."""
        remote = shlex.join(["bash", "-euo", "pipefail", "-c", script, "all-mlp", *arguments])
        return (
            *("gcloud", "compute", "tpus", "tpu-vm", "ssh", self.wanted.name, *self.wanted.place),
            *(f"--worker={worker}", *SSH_FLAGS, "--quiet", f"--command={remote}"),
        )
