from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from mlp_core.distributed import cluster
from mlp_core.distributed.cluster import Cluster, cluster_of_flags, find_cluster
from mlp_core.errors import UserError

SLURM = {
    "SLURM_JOB_ID": "4096",
    "SLURM_STEP_ID": "2",
    "SLURM_NTASKS": "4",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_NODEID": "1",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[007,010-012],other01",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}


@pytest.fixture
def tpu(monkeypatch):
    """A machine with TPUs."""
    monkeypatch.setattr(cluster, "_has_tpus", lambda environment: True)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("asked the network")

    monkeypatch.setattr("requests.get", refuse)


def test_a_process_by_itself_has_no_cluster_and_asks_no_network(no_network):
    assert find_cluster({}) is None
    assert find_cluster({"TPU_WORKER_HOSTNAMES": "a,b"}) is None  # Left over: there is no TPU.


def test_a_step_of_slurm_tells_all():
    found = find_cluster(SLURM)
    assert found == Cluster("Slurm", "gpu007:61442", num_processes=4, process_id=3)


@pytest.mark.parametrize(
    "nodes, first",
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("n[1-2]", "n1"),
        ("n[02,05-07]", "n02"),
        ("a-1-[3-4]", "a-1-3"),
    ],
)
def test_the_first_node_of_a_list(nodes, first):
    found = find_cluster(SLURM | {"SLURM_STEP_NODELIST": nodes})
    assert found.coordinator_address == f"{first}:61442"


@pytest.mark.parametrize(
    "tasks, visible, on_node, expected",
    [
        ("1(x4)", "0,1,2,3,4,5,6,7", "8", None),  # One task a node: all devices.
        ("2(x2)", "0,1,2,3", "4", (2, 3)),
        ("4", "0,1,2,3", "4", (1,)),
        ("2(x2)", "3", "2", None),  # Slurm shows each task its own.
        ("2(x2)", "", "0", None),  # No GPUs.
    ],
)
def test_tasks_of_a_node_share_its_gpus(tasks, visible, on_node, expected):
    found = find_cluster(
        SLURM
        | {"SLURM_STEP_TASKS_PER_NODE": tasks, "CUDA_VISIBLE_DEVICES": visible}
        | {"SLURM_GPUS_ON_NODE": on_node}
    )
    assert found.local_device_ids == expected


def test_the_script_of_a_job_and_a_step_of_one_task_are_by_themselves():
    script = {name: SLURM[name] for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_PROCID")}
    assert find_cluster(script) is None
    assert find_cluster(SLURM | {"SLURM_STEP_NUM_TASKS": "1"}) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"SLURM_NTASKS": "", "SLURM_STEP_NUM_TASKS": ""},
        {"SLURM_NTASKS": "many", "SLURM_PROCID": ""},
        {"SLURM_NTASKS": "many", "SLURM_STEP_NODELIST": ""},
        {"SLURM_JOB_ID": ""},
    ],
)
def test_without_a_whole_step_of_slurm_a_process_is_by_itself(changes):
    assert find_cluster(SLURM | changes) is None


def test_empty_variables_of_slurm_count_as_unset():
    empty = ("SLURM_NTASKS", "SLURM_STEP_ID", "SLURM_STEP_TASKS_PER_NODE", "SLURM_GPUS_ON_NODE")
    found = find_cluster(SLURM | dict.fromkeys(empty, ""))
    assert (found.num_processes, found.coordinator_address) == (4, "gpu007:61440")


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("SLURM_STEP_NUM_TASKS", "four", "SLURM_STEP_NUM_TASKS='four': not a number"),
        ("SLURM_STEP_NUM_TASKS", "-4", "not a number"),
        ("SLURM_STEP_NUM_TASKS", "9" * 5000, "not a number"),
        ("SLURM_PROCID", "x", "SLURM_PROCID='x': not a number"),
        ("SLURM_PROCID", "4", "SLURM_PROCID=4: Slurm has started only 4 tasks"),
        ("SLURM_JOB_ID", "\u0664", "SLURM_JOB_ID='\u0664': not a number"),
        ("SLURM_STEP_ID", "batch", "SLURM_STEP_ID='batch': not a number"),
        ("SLURM_STEP_NODELIST", "n[", "not a list of nodes"),
        ("SLURM_STEP_NODELIST", ",n1", "not a list of nodes"),
        ("SLURM_STEP_TASKS_PER_NODE", "2(x", "not a list such as"),
        ("SLURM_STEP_TASKS_PER_NODE", "0", "not a list such as"),
        ("SLURM_STEP_TASKS_PER_NODE", "2(x999999999)", "not a list such as"),
        ("SLURM_GPUS_ON_NODE", "all", "SLURM_GPUS_ON_NODE='all': not a number"),
        ("SLURM_NODEID", "?", "SLURM_NODEID='\\?': not a number"),
        ("SLURM_LOCALID", "", "SLURM_LOCALID='': not a number"),
        ("SLURM_LOCALID", "2", "SLURM_LOCALID=2: this node has only 2 tasks"),
    ],
)
def test_variables_of_slurm_that_make_no_sense_are_named(name, value, message):
    with pytest.raises(UserError, match=message):
        find_cluster(SLURM | {"CUDA_VISIBLE_DEVICES": "0,1,2,3", name: value})


def test_hosts_of_a_tpu_in_gke(tpu, no_network):
    assert find_cluster({"TPU_WORKER_HOSTNAMES": "a,b"}) == Cluster("Cloud TPU")
    assert find_cluster({"TPU_WORKER_HOSTNAMES": "a"}) is None
    assert find_cluster({"TPU_WORKER_HOSTNAMES": "a,b", "JAX_PLATFORMS": "cpu"}) is None


@pytest.mark.parametrize(
    "endpoints, expected",
    [
        ("a:1:10.0.0.1,b:2:10.0.0.2", Cluster("Cloud TPU")),
        ("a:1:10.0.0.1", None),
        (None, None),
    ],
)
def test_a_tpu_vm_asks_the_metadata_server(tpu, endpoints, expected):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path.rsplit("/", 1)[-1], self.headers["Metadata-Flavor"]))
            self.send_response(404 if endpoints is None else 200)
            self.end_headers()
            self.wfile.write((endpoints or "no, such, thing").encode())

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        found = find_cluster({"GCE_METADATA_IP": f"127.0.0.1:{server.server_port}"})
    finally:
        server.shutdown()
    assert found == expected and asked == [("worker-network-endpoints", "Google")]


def test_flags_tell_all_or_nothing():
    assert cluster_of_flags(None, None, None) is None
    assert cluster_of_flags("h:1", 2, 1) == Cluster("the flags", "h:1", 2, 1)
    for flags, text in [
        (("h:1", 2, None), "all three or none"),
        (("h", 2, 0), "HOST:PORT"),
        (("h:65536", 2, 0), "HOST:PORT"),
        (("h:\u0661", 2, 0), "HOST:PORT"),
        (("h:" + "9" * 5000, 2, 0), "HOST:PORT"),
        (("h:1", 2, 2), "--process_id=2: must be 0 to 1"),
    ]:
        with pytest.raises(UserError, match=text):
            cluster_of_flags(*flags)
