"""Finds the other processes of a run, from flags or from the environment.

Only machines that have TPUs query the metadata server of Google Cloud.
"""

import dataclasses
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from mlp_core.errors import UserError

METADATA_SECONDS = 5
FIRST_PORT, NUM_PORTS = 61440, 4096  # Above Linux's ephemeral ports.
LAST_PORT = 65535
STEP_OF_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID")  # Set in each task.


@dataclasses.dataclass(frozen=True)
class Cluster:
    """How several processes find each other; JAX detects the fields that are None."""

    origin: str  # Where the settings are from, in words.
    coordinator_address: str | None = None  # HOST:PORT of the first process.
    num_processes: int | None = None
    process_id: int | None = None
    local_device_ids: tuple[int, ...] | None = None  # None: all devices of the machine.


def find_cluster(environment: Mapping[str, str]) -> Cluster | None:
    """Detects the cluster from the environment; None for a single process.

    Supports a Slurm step with several tasks, and the hosts of a Cloud TPU, with or without GKE.

    Args:
      environment: environment variables of the process.

    Raises:
        UserError: a Slurm variable is invalid.
    """
    return _of_slurm(environment) or _of_cloud_tpu(environment)


def cluster_of_flags(address: str | None, num_processes: int | None, process_id: int | None):
    """Returns the `Cluster` that three flags describe; None if all are unset.

    Raises:
        UserError: only some are set, or one is invalid.
    """
    values = {"address": address, "num_processes": num_processes, "process_id": process_id}
    if all(value is None for value in values.values()):
        return None
    if any(value is None for value in values.values()):
        raise UserError(
            "--coordinator_address, --num_processes and --process_id: give all three or none."
        )
    host, _, port = address.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > LAST_PORT:
        raise UserError(
            f"--coordinator_address={address}: write it as HOST:PORT, the first process's host and "
            "a free port there."
        )
    if not 0 <= process_id < num_processes:
        raise UserError(
            f"--process_id={process_id}: must be 0 to {num_processes - 1}, since --num_processes "
            f"is {num_processes}."
        )
    return Cluster("the flags", address, num_processes, process_id)


def _of_slurm(environment: Mapping[str, str]) -> Cluster | None:
    """A Slurm step with several tasks.

    A job's batch script is not a step, although it sees the number of tasks.
    """
    if not all(environment.get(name) for name in STEP_OF_SLURM):
        return None
    num_tasks = _number(
        environment, "SLURM_STEP_NUM_TASKS", _number(environment, "SLURM_NTASKS", 1)
    )
    if num_tasks == 1:
        return None
    process_id = _number(environment, "SLURM_PROCID")
    if process_id >= num_tasks:
        raise UserError(f"SLURM_PROCID={process_id}: Slurm has started only {num_tasks} tasks.")
    # Brackets hold numbers and ranges: node[007,010-012],other01.
    nodes = environment["SLURM_STEP_NODELIST"]
    first = re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", nodes).split(",")[0]
    if not re.fullmatch(r"[\w.-]+", first):
        raise UserError(f"SLURM_STEP_NODELIST={nodes!r}: not a list of nodes.")
    step = _number(environment, "SLURM_STEP_ID", 0)
    port = FIRST_PORT + (_number(environment, "SLURM_JOB_ID") + step) % NUM_PORTS
    return Cluster(
        origin="Slurm",
        coordinator_address=f"{first}:{port}",
        num_processes=num_tasks,
        process_id=process_id,
        local_device_ids=_share_of_gpus(environment),
    )


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    """Reads a number from a Slurm variable; `default` if it is unset or empty.

    Raises:
        UserError: it is not a number, or unset without a default.
    """
    text = environment.get(name) or ("" if default is None else str(default))
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise UserError(
            f"{name}={text!r}: not a number; start the processes with srun, or unset Slurm's "
            "variables for a process by itself."
        )
    return int(text)


def _share_of_gpus(environment: Mapping[str, str]) -> tuple[int, ...] | None:
    """GPUs of one of several tasks on a node; None if Slurm shows each task only its own.

    (JAX would give each task one GPU, even if it is the only task on its node.)
    """
    visible = [gpu for gpu in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    num_tasks = _tasks_on_this_node(environment)
    on_node = _number(environment, "SLURM_GPUS_ON_NODE", len(visible))
    each = len(visible) // num_tasks
    if num_tasks == 1 or not each or len(visible) * num_tasks <= on_node:
        return None
    local_id = _number(environment, "SLURM_LOCALID")
    if local_id >= num_tasks:
        raise UserError(f"SLURM_LOCALID={local_id}: this node has only {num_tasks} tasks.")
    return tuple(range(local_id * each, (local_id + 1) * each))


def _tasks_on_this_node(environment: Mapping[str, str]) -> int:
    """Number of tasks on this node, from a list for all nodes such as 2(x3),1."""
    counts, listed = [], environment.get("SLURM_STEP_TASKS_PER_NODE") or "1"
    for part in listed.split(","):
        found = re.fullmatch(r"([1-9][0-9]{0,8})(?:\(x([1-9][0-9]{0,5})\))?", part)
        if not found:
            raise UserError(f"SLURM_STEP_TASKS_PER_NODE={listed!r}: not a list such as 2(x3),1.")
        counts += [int(found[1])] * int(found[2] or 1)
    node = _number(environment, "SLURM_NODEID", 0)
    return counts[node] if node < len(counts) else counts[-1]


def _of_cloud_tpu(environment: Mapping[str, str]) -> Cluster | None:
    """The hosts of a TPU slice, which JAX detects; a single-host slice needs no cluster."""
    platforms = environment.get("JAX_PLATFORMS", "")
    if platforms and "tpu" not in platforms or not _has_tpus(environment):
        return None
    hosts = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES")
    hosts = hosts or _hosts_by_metadata(environment)
    return Cluster("Cloud TPU") if len(hosts.split(",")) > 1 else None


def _has_tpus(environment: Mapping[str, str]) -> bool:
    """Whether TPUs are attached and their library is installed."""
    library = environment.get("TPU_LIBRARY_PATH") or importlib.util.find_spec("libtpu")
    devices = [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]
    return bool(library and devices)


def _hosts_by_metadata(environment: Mapping[str, str]) -> str:
    """Hosts of this slice, comma-separated; empty if unknown."""
    import requests  # Imported here to keep other commands' startup fast.

    server = environment.get("GCE_METADATA_IP", "metadata.google.internal")
    try:
        response = requests.get(
            f"http://{server}/computeMetadata/v1/instance/attributes/worker-network-endpoints",
            headers={"Metadata-Flavor": "Google"},
            timeout=METADATA_SECONDS,
        )
    except requests.RequestException:
        return ""
    return response.text if response.ok else ""
