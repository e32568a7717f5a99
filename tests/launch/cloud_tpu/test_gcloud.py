"""What gcloud says when it fails, told apart."""

import sys
import time
from pathlib import Path

import pytest

from launch.cloud_tpu import gcloud
from launch.cloud_tpu.gcloud import Gcloud, GcloudError

SAID = {
    "ERROR: (gcloud.compute.tpus.tpu-vm.create) RESOURCE_EXHAUSTED: Quota limit 'X' has been "
    "exceeded. Limit: 0 in region us-east5.": gcloud.QUOTA,
    'ERROR: (gcloud.compute.tpus.tpu-vm.create) {"code": 8, "message": "There is no more capacity '
    'in the zone \\"us-central1-a\\""}': gcloud.NO_CAPACITY,
    "ERROR: (gcloud.compute.tpus.queued-resources.create) ALREADY_EXISTS: Resource 'x' already "
    "exists": gcloud.EXISTS,
    "ERROR: (gcloud.compute.tpus.tpu-vm.describe) NOT_FOUND: Resource 'x' was not "
    "found": gcloud.MISSING,
    "ERROR: (gcloud.storage.buckets.describe) gs://b not found: 404.": gcloud.MISSING,
    "ERROR: (gcloud.storage.buckets.describe) [me@x.org] does not have permission to access b "
    "instance [b] (or it may not exist): me lacks storage.buckets.get": gcloud.DENIED,
    "ERROR: (gcloud.compute.tpus.tpu-vm.describe) You do not currently have an active account "
    "selected.\nPlease run:\n\n  $ gcloud auth login": gcloud.NO_ACCOUNT,
    "ERROR: (gcloud.compute.tpus.tpu-vm.describe) Error parsing [tpu].\nFailed to find attribute "
    "[project]. The attribute can be set": gcloud.NO_PROJECT,
    "ERROR: (gcloud.compute.tpus.tpu-vm.ssh) SSH Key is not present in the SSH "
    "agent. Please run": gcloud.NO_KEY,
    'ERROR: (gcloud.compute.tpus.tpu-vm.ssh) This TPU has terminal state "PREEMPTED", so it '
    "cannot be used anymore.": gcloud.LOST,
    "me@1.2.3.4: Permission denied (publickey).\nERROR: (gcloud.compute.tpus.tpu-vm.ssh) "
    "[/usr/bin/ssh] exited with return code [255].": gcloud.NO_CONNECTION,
    "ERROR: gcloud crashed (ConnectionError): ('Connection aborted.',)": gcloud.PASSING,
    "SSH: Attempting to connect to worker 0...\nbash: line 1: python3: command not "
    "found": gcloud.OTHER,
}


def failing(said, status=1):
    code = f"import sys; sys.stderr.write({said!r}); sys.exit({status})"
    return sys.executable, "-c", code


@pytest.mark.parametrize("said", SAID)
def test_failures_are_told_apart_and_keep_the_words_that_say_why(said):
    with pytest.raises(GcloudError) as error:
        Gcloud(pause=0).run(*failing(said))
    assert error.value.kind is SAID[said]
    assert error.value.kind.advice in str(error.value)
    assert "\n" not in str(error.value) and "ERROR" not in str(error.value)


def test_what_is_told_of_errors_in_json_is_their_message():
    message = r'"message": "Quota \"TPUS\" exceeded"'
    said = f'ERROR: (gcloud.compute.tpus.tpu-vm.create) {{\n  "code": 8,\n  {message}\n}}'
    with pytest.raises(GcloudError, match='Quota "TPUS" exceeded. Ask for more') as error:
        Gcloud(pause=0).run(*failing(said))
    assert error.value.kind is gcloud.QUOTA and "{" not in str(error.value)
    with pytest.raises(GcloudError, match="a tab and a line"):
        Gcloud(pause=0).run(*failing(said.replace("exceeded", "a\ttab\\nand a line")))


@pytest.mark.parametrize(
    "said, told",
    [
        (
            "E: Unable to locate package x\n##### Command execution on worker 0 failed with exit "
            "status 100. Continuing.",
            "##### Command .* status 100. Continuing. Before that: E: Unable to locate package x$",
        ),
        (
            "E: Unable to locate package x\nERROR: (gcloud.compute.tpus.tpu-vm.ssh) Could not SSH: "
            "return code [100].",
            r"Could not SSH: return code \[100\]. Before that: E: Unable to locate package x$",
        ),
        (
            "ERROR: Could not find a version\nERROR: No matching distribution",
            ": No matching distribution. Before that: ERROR: Could not find a version$",
        ),
    ],
)
def test_what_a_worker_has_said_before_it_failed_is_told(said, told):
    said = f"SSH: Attempting to connect to worker 0...\n{said}"
    with pytest.raises(GcloudError, match=told):
        Gcloud(pause=0).run(*failing(said), "ssh")


def test_several_workers_out_of_reach_are_told_by_the_status_alone():
    with pytest.raises(GcloudError) as error:
        Gcloud(pause=0).run(*failing("Exception in thread Thread-3", status=255))
    assert error.value.kind is gcloud.NO_CONNECTION


def test_a_log_is_not_followed_for_ever_and_nothing_stays_behind(tmp_path):
    pid, began = tmp_path / "pid", time.monotonic()
    script = f"sleep 60 & echo $! >{pid}; echo line; wait"  # As gcloud starts ssh.
    told = []
    Gcloud().stream("bash", "-c", script, receive=told.append, limit=1)
    assert told == [b"line\n"] and time.monotonic() - began < 30
    state = Path(f"/proc/{pid.read_text().strip()}/stat")
    while state.exists() and state.read_text().split()[2] != "Z":  # Killed, but not gone yet.
        assert time.monotonic() - began < 30
        time.sleep(0.01)


def test_a_command_that_does_not_answer_is_given_up(capsys):
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    with pytest.raises(GcloudError, match="no answer") as error:
        Gcloud(pause=0).run(*command, limit=0.2)
    assert error.value.kind is gcloud.SLOW and capsys.readouterr().out.count("Trying again") == 2
