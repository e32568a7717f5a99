"""The bucket that holds a job's run: all workers see it, and it outlives the TPU.

Its folders must be real ones (a hierarchical namespace), so that a checkpoint is renamed into
place at once or not at all.
"""

import json
import re
from pathlib import Path

from launch.cloud_tpu import gcloud
from launch.cloud_tpu.gcloud import HOUR, Gcloud, GcloudError
from mlp_core.errors import UserError

NAME = re.compile(r"gs://([a-z0-9][a-z0-9._-]+[a-z0-9])/?")


def bucket_name(address: str) -> str:
    """`my-bucket` for `gs://my-bucket`.

    Raises:
        UserError: it is no address of a bucket.
    """
    if not (match := NAME.fullmatch(address)):
        raise UserError(f"--bucket={address}: give a bucket, such as gs://my-bucket.")
    return match[1]


def check_bucket(gcloud_: Gcloud, name: str, zone: str) -> None:
    """Checks that checkpoints can be kept in a bucket; tells where it is far from the TPU.

    Raises:
        UserError: it is not there, cannot be looked at, or has no hierarchical namespace.
    """
    region = zone.rpartition("-")[0]
    create = (
        f"gcloud storage buckets create gs://{name} --location={region} "
        "--uniform-bucket-level-access --enable-hierarchical-namespace"
    )
    describe = ("gcloud", "storage", "buckets", "describe", f"gs://{name}", "--raw")
    try:
        text = gcloud_.run(*describe, "--format=json")
    except GcloudError as error:
        if error.kind is gcloud.MISSING:
            raise UserError(f"--bucket=gs://{name}: there is none; create it: {create}") from None
        raise
    if not text:
        return  # A dry run.
    metadata = json.loads(text)
    if not metadata.get("hierarchicalNamespace", {}).get("enabled"):
        raise UserError(
            f"--bucket=gs://{name}: it has no hierarchical namespace, without which a checkpoint "
            f"can be left half renamed; take another, created with: {create}"
        )
    location = metadata["location"].lower()
    if not region.startswith(location):  # A region, or all of the us.
        gcloud_.say(f"gs://{name} is in {location}, far from {zone}: slow, and traffic costs")


def fetch_run(gcloud_: Gcloud, name: str, run_folder: str, target: Path) -> None:
    """Copies a run from the bucket, whether or not its TPU is still there.

    Raises:
        UserError: it is not there.
    """
    source = f"gs://{name}/{run_folder}"
    gcloud_.say(f"Fetches {source} to {target}; should that fail, the action fetch does it again")
    gcloud_.run("mkdir", "-p", str(target))
    gcloud_.run("gcloud", "storage", "rsync", "--recursive", source, str(target), limit=6 * HOUR)
