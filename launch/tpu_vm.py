"""Trains on a Cloud TPU VM or pod, through gcloud, from a computer that need not stay on.

python launch/tpu_vm.py run --name=first --zone=europe-west4-a --accelerator_type=v3-32 \\
    --version=tpu-ubuntu2204-base --spot --bucket=gs://my-bucket \\
    --config=configs/mixer_b16_imagenet_scratch.py --config.data.data_dir=/mnt/bucket/tfds

`run` creates the TPU, copies and installs the code, starts launch/main.py with all --config flags
on all workers, prints the log, starts anew after each preemption, and at the end deletes the TPU
and fetches the run. Its parts, by themselves: create, copy, install, start, logs, fetch, delete;
and status.

Interrupted, or where training fails, it leaves the TPU as it is, which costs, and exits with a
status that is not 0; the same command goes on, and `delete` with the same --name and --zone ends
it. While no `run` runs, nobody starts anew after a preemption, or deletes what is done.

The run is kept in the bucket, in runs/NAME, which all workers see under /mnt/bucket/runs/NAME, and
is fetched to runs/NAME here. The bucket must have been created in the TPU's region with
--uniform-bucket-level-access --enable-hierarchical-namespace.
"""

import re
import shlex
import sys
from pathlib import Path

from absl import flags

from launch import command, config_flag
from launch.cloud_tpu.bucket import bucket_name
from launch.cloud_tpu.gcloud import HOUR, Gcloud
from launch.cloud_tpu.job import Job
from launch.cloud_tpu.tpu import Tpu, Wanted
from launch.cloud_tpu.workers import CODE, Workers
from mlp_core.errors import UserError
from mlp_core.process import preemption
from mlp_core.process.console import print_error

flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(config_flag)
NAME = flags.DEFINE_string("name", None, "Name of the TPU, and of its run.")
ZONE = flags.DEFINE_string("zone", None, "Zone, such as us-central1-a.")
PROJECT = flags.DEFINE_string("project", None, "Project; gcloud's own by default.")
ACCELERATOR_TYPE = flags.DEFINE_string("accelerator_type", None, "TPU, such as v3-32.")
VERSION = flags.DEFINE_string("version", None, "Its software, such as tpu-ubuntu2204-base.")
BUCKET = flags.DEFINE_string("bucket", None, "Bucket that holds the run, such as gs://my-bucket.")
SPOT = flags.DEFINE_bool("spot", False, "Cheaper, and taken away at any time.")
QUEUED = flags.DEFINE_bool("queued", False, "Waits in line for the TPU: a queued resource.")
CREATE_FLAG = flags.DEFINE_multi_string(
    "create_flag", [], "Further flag for gcloud's create command, --network=NAME say; repeatable."
)
WAIT_HOURS = flags.DEFINE_float(
    "wait_hours", 24, "How long to wait for a TPU while there is none to be had.", lower_bound=0
)
RESTARTS = flags.DEFINE_integer(
    "restarts", 100, "How often `run` starts anew after a preemption.", lower_bound=0
)
POLL_SECONDS = flags.DEFINE_float(
    "poll_seconds", 30, "Time between two looks at TPU and training.", lower_bound=0
)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Prints the commands, to be pasted; runs none.")

ROOT = Path(__file__).resolve().parent.parent
NEEDED = {  # Flags, beside --name and --zone.
    "create": (ACCELERATOR_TYPE, VERSION),
    "copy": (),
    "install": (BUCKET,),
    "start": (config_flag.CONFIG,),
    "logs": (),
    "status": (),
    "fetch": (BUCKET,),
    "delete": (),
    "run": (ACCELERATOR_TYPE, VERSION, BUCKET, config_flag.CONFIG),
}
ON_A_TPU = ("copy", "install", "start", "logs")
NAMES = ((NAME, r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?"), (ZONE, r"[a-z]+-[a-z]+[0-9]+-[a-z0-9]+"))


def main(words: list[str]) -> None:
    """Does what the one word says."""
    if len(words) != 1 or words[0] not in NEEDED:
        raise UserError(f"{sys.argv[0]} takes one of {', '.join(NEEDED)}; see --help.")
    (action,) = words
    command.require(NAME, ZONE, *NEEDED[action])
    for flag, pattern in NAMES:
        if not re.fullmatch(pattern, flag.value):
            raise UserError(f"--{flag.name}={flag.value}: not a {flag.name} that gcloud takes.")
    job = _job()

    def remind_of_cost() -> None:
        if action in ON_A_TPU or job.tpu.may_be_there:
            _remind_of_cost()

    def end_by_sigterm() -> None:
        remind_of_cost()
        preemption.end_at_once()

    try:
        with preemption.instead(end_by_sigterm):
            getattr(job, action)()
    except BaseException:
        remind_of_cost()
        raise


def _job() -> Job:
    wanted = Wanted(
        name=NAME.value,
        zone=ZONE.value,
        project=PROJECT.value,
        accelerator_type=ACCELERATOR_TYPE.value,
        version=VERSION.value,
        spot=SPOT.value,
        queued=QUEUED.value,
        create_flags=tuple(CREATE_FLAG.value),
    )
    gcloud = Gcloud(dry_run=DRY_RUN.value, pause=min(10, POLL_SECONDS.value))
    return Job(
        gcloud=gcloud,
        wanted=wanted,
        tpu=Tpu(gcloud, wanted, poll=POLL_SECONDS.value, patience=WAIT_HOURS.value * HOUR),
        workers=Workers(gcloud, wanted),
        root=ROOT,
        bucket=bucket_name(BUCKET.value) if BUCKET.value else None,
        arguments=tuple(_arguments_of_main(sys.argv[1:])) if config_flag.CONFIG.value else (),
        restarts=RESTARTS.value,
    )


def _arguments_of_main(argv: list[str]) -> list[str]:
    """The --config flags, the file's name as it is on the workers."""
    argv = flags.FLAGS.read_flags_from_files(argv)  # What --flagfile names.
    passed = [arg for arg in argv if re.match(r"--?(no)?config\b", arg)]
    for arg in passed:
        if "=" not in arg:
            raise UserError(f"{arg}: write it with an equals sign, {arg}=VALUE.")
    fields = [arg for arg in passed if not re.match(r"--?config=", arg)]
    file, colon, variant = flags.FLAGS["config"].config_filename.partition(":")
    path = Path(file).resolve()
    if not any(path.is_relative_to(ROOT / folder) for folder in CODE):
        raise UserError(f"--config={file}: only the folders {', '.join(CODE[1:])} are copied.")
    return [f"--config={path.relative_to(ROOT)}{colon}{variant}", *fields]


def _remind_of_cost() -> None:
    project = [f"--project={PROJECT.value}"] if PROJECT.value else []
    delete = ["python", sys.argv[0], "delete", f"--name={NAME.value}", f"--zone={ZONE.value}"]
    print_error(
        f"TPU {NAME.value} may be there, train, and cost until it is deleted:\n"
        f"  {shlex.join(delete + project)}"
    )


if __name__ == "__main__":
    command.run_command(
        main, takes_files=True, when_interrupted="; the same command goes on", uses_jax=False
    )
