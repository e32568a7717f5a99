"""Stands in for gcloud: keeps a cloud of one TPU in a folder, and fails as the real one does.

The folder is $CLOUD. calls.jsonl records every call. faults.json has, by verb, what next calls
fail with: {"create": ["capacity", "quota"]}. Workers are folders, wiped with the TPU; commands for
them run in bash there, split and joined as gcloud and ssh do, with stand-ins of this folder for
sudo and systemd.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

CLOUD, HERE, WORKERS = Path(os.environ["CLOUD"]), Path(__file__).parent, 2
MESSAGES = {
    "quota": "RESOURCE_EXHAUSTED: Quota limit 'TPUV3sPreemptiblePodPerProjectPerZoneForTPUAPI' has "
    "been exceeded. Limit: 0 in zone us-central1-a.",
    "capacity": 'There is no more capacity in the zone "us-central1-a"; you can try in another '
    "zone where Cloud TPU Nodes are offered (see https://cloud.google.com/tpu/docs/regions) "
    "[EID: 0x9f48947a7d57c8d]",
    "exists": "ALREADY_EXISTS: Resource 'projects/p/locations/z/nodes/first' already exists.",
    "denied": "PERMISSION_DENIED: Permission 'tpu.nodes.create' denied on 'projects/p'.",
    "login": "You do not currently have an active account selected.\nPlease run:\n\n"
    "  $ gcloud auth login\n\nto obtain new credentials.",
    "unavailable": "UNAVAILABLE: The service is currently unavailable.",
    "connection": "[/usr/bin/ssh] exited with return code [255].",
    "missing": "NOT_FOUND: Resource 'projects/p/locations/z/nodes/first' was not found",
    "missing bucket": "gs://my-bucket not found: 404.",
}


def load(name, default=None):
    path = CLOUD / name
    return json.loads(path.read_text()) if path.exists() else default


def save(name, value):
    (CLOUD / name).write_text(json.dumps(value))


def fail(message):
    group = ".".join(word for word in sys.argv[1:5] if not word.startswith("-"))
    print(f"ERROR: (gcloud.{group}) {MESSAGES.get(message, message)}", file=sys.stderr)
    sys.exit(255 if message == "connection" else 1)


def flag(name, default=None):
    given = [arg.split("=", 1)[1] for arg in sys.argv if arg.startswith(f"--{name}=")]
    return given[-1] if given else default


def node_from_flags():
    label = flag("labels").split("=")
    return {"acceleratorType": flag("accelerator-type"), "labels": {label[0]: label[1]}}


def next_of(name):
    """The first of a list of states, taken off unless it is the last."""
    states = load(name, ["READY"])
    if len(states) > 1:
        save(name, states[1:])
    return states[0]


def tpu_vm(verb):
    node = load("node.json")
    if verb == "create":
        if node:
            fail("exists")
        save("node.json", node_from_flags() | {"state": next_of("states.json")})
        return
    if not node:
        fail("missing")
    if verb == "describe":
        print(json.dumps(node))
    elif verb == "delete":
        (CLOUD / "node.json").unlink()
        for worker in range(WORKERS):
            shutil.rmtree(CLOUD / f"worker{worker}", ignore_errors=True)
    elif node["state"] == "PREEMPTED":
        fail('This TPU has terminal state "PREEMPTED", so it cannot be used anymore.')
    else:
        chosen = range(WORKERS) if flag("worker") == "all" else [int(flag("worker"))]
        for worker in chosen:
            home = CLOUD / f"worker{worker}"
            home.mkdir(exist_ok=True)
            if verb == "scp":
                shutil.copy(sys.argv[5], home / sys.argv[6].split(":")[1])
            else:
                on_worker(home)
        if load("node.json", node)["state"] == "PREEMPTED":
            fail("connection")


def on_worker(home):
    words = flag("command").split(" ")
    command = " ".join(words).replace("/mnt/bucket", str(CLOUD / "bucket"))
    environment = os.environ | {"HOME": str(home), "PATH": f"{HERE}/worker:{os.environ['PATH']}"}
    status = subprocess.run(["bash", "-c", command], env=environment, cwd=home).returncode
    if status:
        sys.exit(status)


def queued_resources(verb):
    queued = load("queued.json")
    if verb == "create":
        if queued:
            fail("exists")
        save("queued.json", {"tpu": {"nodeSpec": [{"node": node_from_flags()}]}})
        return
    if not queued:
        fail("missing")
    if verb == "delete":
        (CLOUD / "queued.json").unlink()
        (CLOUD / "node.json").unlink(missing_ok=True)
        return
    state = next_of("queue.json")
    if state == "ACTIVE" and not load("node.json"):
        save("node.json", queued["tpu"]["nodeSpec"][0]["node"] | {"state": "READY"})
    reason = {"failedData": {"error": {"message": "no such version"}}} if state == "FAILED" else {}
    print(json.dumps(queued | {"state": {"state": state, **reason}}))


def storage(verb):
    if verb == "buckets":
        print(json.dumps(load("bucket.json")))
    else:
        shutil.copytree(CLOUD / "bucket/runs/first", sys.argv[-1], dirs_exist_ok=True)


def main():
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    service, verb = (words[2], words[3]) if words[0] == "compute" else ("storage", words[1])
    with (CLOUD / "calls.jsonl").open("a") as calls:
        print(json.dumps(sys.argv[1:]), file=calls)
    faults = load("faults.json", {})
    if faults.get(verb):
        fault = faults[verb].pop(0)
        save("faults.json", faults)
        fail(fault)
    {"tpu-vm": tpu_vm, "queued-resources": queued_resources, "storage": storage}[service](verb)


main()
