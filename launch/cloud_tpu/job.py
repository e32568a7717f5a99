"""A training job on a TPU that may be taken away: created anew and started until it is done."""

import dataclasses
import time
from pathlib import Path

from launch.cloud_tpu import bucket, gcloud, scripts
from launch.cloud_tpu.gcloud import MINUTE, Gcloud, GcloudError
from launch.cloud_tpu.tpu import READY, Tpu, Wanted
from launch.cloud_tpu.workers import NONE, RUNNING, Workers
from mlp_core.errors import UserError

# What launch/main.py ends with for a later start; by the signal in its first moments only.
PREEMPTED = ("exit 75", "signal 15")
FINISHED = "exit 0"
STRAGGLING = 20 * MINUTE  # How long some workers may go on when one has ended.
SOON, SOON_TOO_OFTEN = 15 * MINUTE, 5  # A start that ends so soon, on a TPU that stays, is no use.
# What a command to the workers fails with when the TPU has just been taken away.
LOST_CONTACT = (gcloud.NO_CONNECTION, gcloud.LOST, gcloud.MISSING, gcloud.SLOW)


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of launch/main.py on one TPU, both called `wanted.name`."""

    gcloud: Gcloud
    wanted: Wanted
    tpu: Tpu
    workers: Workers
    root: Path  # Of the code.
    bucket: str | None = None
    arguments: tuple[str, ...] = ()  # Of launch/main.py, without --workdir.
    restarts: int = 0

    @property
    def run_folder(self) -> str:
        """The folder of the run, in the bucket and below the current folder."""
        return f"runs/{self.wanted.name}"

    def create(self) -> None:
        """Checks the bucket, if one is named, and obtains the TPU."""
        if self.bucket:
            bucket.check_bucket(self.gcloud, self.bucket, self.wanted.zone)
        self.tpu.obtain()

    def copy(self) -> None:
        """Copies the code to the workers; what was copied stays beside the results."""
        self.workers.copy(self.root, Path(self.run_folder) / "code.tar.gz")

    def install(self) -> None:
        """Installs the code on the workers and mounts the bucket."""
        self.workers.install(self.bucket, self.run_folder)

    def start(self) -> None:
        """Starts training on the workers; it goes on whether or not this computer does."""
        self.workers.start([f"--workdir={scripts.MOUNT}/{self.run_folder}", *self.arguments])

    def logs(self) -> None:
        """Prints the log until training ends, and then how it ended."""
        self._tell(self._watch())

    def status(self) -> None:
        """Tells how TPU and training stand."""
        state = self.tpu.state()
        if not self.gcloud.dry_run:
            self.gcloud.say(f"TPU {self.wanted.name}: {state}")
        if state == READY or self.gcloud.dry_run:
            self._tell(self.workers.states())

    def fetch(self) -> None:
        """Copies the run from the bucket to the folder of the same name here."""
        bucket.fetch_run(self.gcloud, self.bucket, self.run_folder, Path(self.run_folder))

    def delete(self) -> None:
        """Deletes the TPU; the run in the bucket stays."""
        self.tpu.delete()

    def run(self) -> None:
        """All of it, with a new start after each preemption, until the run is done.

        Called again, it goes on with whatever is there.

        Raises:
            UserError: something cannot be had, training failed, or was preempted too often.
        """
        ended_soon = 0  # How often in a row.
        for restart in range(self.restarts + 1):
            self.create()
            began = time.monotonic()
            try:
                states = self._train()
            except GcloudError as error:
                if error.kind not in LOST_CONTACT or self.tpu.state() == READY:
                    raise
                states = [NONE]
            if all(state == FINISHED for state in states):
                self.delete()  # First, since it costs; the run is in the bucket.
                self.fetch()
                return
            stays = self.tpu.state() == READY
            ended_soon = ended_soon + 1 if stays and time.monotonic() - began < SOON else 0
            if (stays and not _may_go_on(states)) or ended_soon == SOON_TOO_OFTEN:
                often = f", {ended_soon} times in a row" if ended_soon > 1 else ""
                raise UserError(
                    f"training ended with {_told(states)}{often}; its last words are above. Mend "
                    "it, then give the same command again."
                )
            self.gcloud.say(f"Training was interrupted ({restart + 1} of {self.restarts} times)")
        raise UserError(f"training was interrupted more than --restarts={self.restarts} times.")

    def _tell(self, states: list[str]) -> None:
        if not self.gcloud.dry_run:
            self.gcloud.say(f"Training on {self.wanted.name}: {_told(states)}")

    def _train(self) -> list[str]:
        """Starts training unless it runs or is done, and watches it to its end."""
        states = self.workers.states()
        if RUNNING not in states and not all(state == FINISHED for state in states):
            if NONE in states:
                self.workers.forget_log()
            self.copy()
            self.install()
            self.start()
        return self._watch()

    def _watch(self) -> list[str]:
        """Prints the log until training has ended on all workers; returns how.

        Raises:
            GcloudError: the workers cannot be reached any more.
            UserError: some workers go on long after the first has ended.
        """
        ended = None
        while True:
            self.workers.follow_log()
            states = self.workers.states(pretended=FINISHED)
            if RUNNING not in states:
                return states
            if set(states) == {RUNNING}:
                ended = None
            elif ended is None:
                ended = time.monotonic()
            elif time.monotonic() - ended > STRAGGLING:
                raise UserError(
                    f"some workers still train {STRAGGLING / MINUTE:.0f} minutes after another "
                    f"has ended ({_told(states)}); delete the TPU, then run again."
                )
            time.sleep(self.tpu.poll)


def _may_go_on(states: list[str]) -> bool:
    """Whether training was interrupted, rather than failed.

    Where one worker was preempted, the others may end in whatever way.
    """
    return any(state in (*PREEMPTED, NONE) for state in states)


def _told(states: list[str]) -> str:
    counts = {state: states.count(state) for state in states}
    return ", ".join(
        f"{state} ({count} of {len(states)} workers)" for state, count in counts.items()
    )
