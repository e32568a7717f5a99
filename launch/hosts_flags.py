"""The flags with which several hosts find each other."""

import os
import sys

from absl import flags

from mlp_core.distributed import hosts
from mlp_core.distributed.cluster import cluster_of_flags, find_cluster
from mlp_core.errors import UserError

ADDRESS = flags.DEFINE_string(
    "coordinator_address",
    None,
    "HOST:PORT of the first of several processes; Slurm and Cloud TPUs need no such flags.",
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes there are.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")
START_LIMIT = flags.DEFINE_integer(
    "start_limit",
    hosts.START_SECONDS,
    "Seconds in which all processes must have started.",
    lower_bound=1,
)


def join_hosts() -> None:
    """Joins the processes of a cluster, if there is one; for before any device is looked at.

    Raises:
        UserError: the flags make no sense, or the cluster cannot be joined.
    """
    given = cluster_of_flags(ADDRESS.value, NUM_PROCESSES.value, PROCESS_ID.value)
    if cluster := given or find_cluster(os.environ):
        hosts.start(cluster, START_LIMIT.value)


def refuse_several_hosts() -> None:
    """Refuses a cluster, for a command that is for one host.

    Raises:
        UserError: this process is one of several.
    """
    if cluster := find_cluster(os.environ):
        raise UserError(
            f"{sys.argv[0]} works on one host, and {cluster.origin} has started several processes; "
            "start one (srun --ntasks=1), or each run of its own with launch/main.py."
        )
