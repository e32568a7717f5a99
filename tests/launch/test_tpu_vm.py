"""Jobs on Cloud TPU VMs, from flags to results, against a stand-in for gcloud."""

import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys

import pytest

from tests.conftest import HEAR_CTRL_C, ROOT

STAND_IN = ROOT / "tests/launch/stand_in"
JOB = (
    *("--name=first", "--zone=us-central1-a", "--accelerator_type=v3-16", "--version=base"),
    *("--bucket=gs://my-bucket", "--config=configs/mixer_digits.py:smoke", "--poll_seconds=0.05"),
)
NODE = {"state": "READY", "acceleratorType": "v3-16", "labels": {"made-with": "all-mlp"}}
BUCKET = {"location": "US-CENTRAL1", "hierarchicalNamespace": {"enabled": True}}
CONFIG_FILE = ROOT / "configs/mixer_digits.py"


class Cloud:
    """The stand-in's cloud, and the command run against it."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir()
        gcloud = folder / "bin/gcloud"
        gcloud.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {STAND_IN}/gcloud.py "$@"\n')
        gcloud.chmod(0o755)
        self.save("bucket.json", BUCKET)
        self.plan("end 0")

    def save(self, name, value):
        (self.folder / name).write_text(json.dumps(value))

    def plan(self, *lines):
        (self.folder / "plan").write_text("\n".join(lines))

    def start(self, action, *flags, job=JOB):
        config = [re.sub(r"^--config=configs/", f"--config={ROOT}/configs/", flag) for flag in job]
        environment = os.environ | {
            "CLOUD": str(self.folder),
            "STAND_IN": str(STAND_IN),
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        command = (
            f"{HEAR_CTRL_C}import runpy\nrunpy.run_module('launch.tpu_vm', run_name='__main__')"
        )
        return subprocess.Popen(
            [sys.executable, "-c", command, action, *config, *flags],
            cwd=self.folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, action, *flags, job=JOB):
        process = self.start(action, *flags, job=job)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def calls(self, verb=None):
        path = self.folder / "calls.jsonl"
        calls = [json.loads(line) for line in path.open()] if path.exists() else []
        return [call for call in calls if verb in (None, call[3])]

    @property
    def node(self):
        path = self.folder / "node.json"
        return json.loads(path.read_text()) if path.exists() else None


@pytest.fixture
def cloud(tmp_path):
    return Cloud(tmp_path)


def test_a_run_survives_preemptions_and_ends_with_results_here_and_no_tpu(cloud):
    cloud.plan("preempt 75", "end 0")
    status, out, err = cloud.run("run", "--spot")
    assert (status, err) == (0, "")
    assert len(cloud.calls("create")) == 2 and cloud.node is None
    assert "--spot" in cloud.calls("create")[0]
    assert out.count("training begins") == 2 and "training ends with 0" in out
    assert "PREEMPTED; deleted, to be created anew" in out
    assert (cloud.folder / "runs/first/results.json").exists()
    verbs = [call[3] if call[0] == "compute" else call[1] for call in cloud.calls()]
    assert verbs.index("rsync") > max(i for i, verb in enumerate(verbs) if verb == "delete")


def test_values_reach_main_py_as_they_were_typed(cloud):
    nasty = '/data/it\'s "mine";  $(touch hacked) `touch hacked` \\ $HOME %d *'
    flag = f"--config.data.name={nasty}"
    cloud.save("node.json", NODE)
    for action in ("copy", "install", "start", "logs"):
        status, _, err = cloud.run(action, flag)
        assert (status, err) == (0, ""), action
    for worker in range(2):
        given = (cloud.folder / f"worker{worker}/arguments").read_text().split("\0")
        assert given[2:-1] == [
            *(f"--workdir={cloud.folder}/bucket/runs/first",),
            *("--config=configs/mixer_digits.py:smoke", flag),
        ]
    assert not list(cloud.folder.rglob("hacked"))


def test_fields_in_a_file_of_flags_reach_main_py(cloud):
    file = cloud.folder / "flags"
    file.write_text("--config.seed=3\n")
    _, out, _ = cloud.run("start", f"--flagfile={file}", "--dry_run")
    assert "--config.seed=3" in out


def test_training_does_not_begin_without_the_bucket(cloud):
    cloud.save("node.json", NODE)
    for action in ("copy", "install"):
        assert cloud.run(action)[0] == 0
    for worker in range(2):  # As after the machine was started anew.
        shutil.rmtree(cloud.folder / f"worker{worker}/units")
    cloud.run("start")
    _, out, _ = cloud.run("logs")
    assert "the bucket is not mounted" in out and "exit 2 (2 of 2 workers)" in out
    assert "training begins" not in out


def test_ctrl_c_leaves_all_running_and_says_what_it_costs(cloud):
    cloud.plan("wait 0")
    process = cloud.start("run")
    for line in process.stdout:
        if "training begins" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "cost until it is deleted" in err and "delete --name=first --zone=us-central1-a" in err
    assert "the same command goes on" in err and cloud.node == NODE
    (cloud.folder / "go_on").touch()
    status, out, _ = cloud.run("run")
    assert status == 0 and len(cloud.calls("create")) == 1
    assert "training begins" in out and "training ends with 0" in out  # All of the log again.
    assert len(list(cloud.folder.glob("begun_worker0*"))) == 1


def test_sigterm_says_what_goes_on_costing(cloud):
    cloud.plan("wait 0")
    process = cloud.start("run")
    for line in process.stdout:
        if "training begins" in line:
            break
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 75 and "cost until it is deleted" in err
    (cloud.folder / "go_on").touch()


def test_a_start_that_keeps_ending_soon_on_a_tpu_that_stays_is_given_up(cloud):
    cloud.plan(*["end 75"] * 6)
    status, out, err = cloud.run("run")
    assert status == 2 and "exit 75 (2 of 2 workers), 5 times in a row" in err
    assert out.count("training ends with 75") == 5 and "cost until it is deleted" in err


def test_a_run_goes_on_after_a_preemption_with_the_code_it_began_with(cloud):
    cloud.plan("preempt 75", "end 0")
    assert cloud.run("run")[0] == 0 and len(cloud.calls("scp")) == 2
    archive = cloud.folder / "runs/first/code.tar.gz"
    assert archive.stat().st_mtime < (cloud.folder / "begun_worker0_0").stat().st_mtime


def test_training_that_fails_is_not_repeated_and_the_tpu_stays(cloud):
    cloud.plan("end 2")
    status, out, err = cloud.run("run")
    assert status == 2 and "training ends with 2" in out
    assert "error: training ended with exit 2 (2 of 2 workers)" in err
    assert "cost until it is deleted" in err and cloud.node == NODE


def test_restarts_are_limited(cloud):
    cloud.plan("end 75", "end 75")
    status, out, err = cloud.run("run", "--restarts=1")
    assert status == 2 and "more than --restarts=1 times" in err
    assert out.count("training ends with 75") == 2  # No line of the log is lost or told twice.


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("quota", "Limit: 0 in zone us-central1-a. Ask for more in the console"),
        ("denied", "Your account needs the roles"),
        ("login", "Run: gcloud auth login"),
    ],
)
def test_what_cannot_be_had_is_one_sentence_with_what_to_do(cloud, fault, told):
    cloud.save("faults.json", {"create": [fault]})
    status, out, err = cloud.run("create")
    assert status == 2 and told in err and len(err.splitlines()) == 1
    assert len(cloud.calls("create")) == 1


def test_capacity_is_waited_for_but_not_for_ever(cloud):
    cloud.save("faults.json", {"create": ["capacity", "capacity"]})
    status, out, err = cloud.run("create")
    assert (status, err) == (0, "") and cloud.node == NODE
    assert out.count("There is no more capacity") == 1 and "waits 1440 minutes at most" in out
    cloud.run("delete")
    cloud.save("faults.json", {"create": ["capacity"]})
    status, _, err = cloud.run("create", "--wait_hours=0")
    assert status == 2 and "or --queued, which waits in line" in err


def test_a_tpu_that_is_there_is_used_if_it_is_ours_and_of_the_type(cloud):
    cloud.save("node.json", NODE)
    assert cloud.run("create")[0] == 0
    status, _, err = cloud.run("create", "--accelerator_type=v3-32")
    assert status == 2 and "is there already as v3-16" in err
    cloud.save("node.json", NODE | {"labels": {}})
    for action in ("create", "delete"):
        status, _, err = cloud.run(action)
        assert status == 2 and "not made with this command" in err
    cloud.save("node.json", NODE | {"state": "STOPPED"})
    assert "by someone's hand" in cloud.run("create")[2]
    assert not cloud.calls("create") and not cloud.calls("delete")


def test_a_creation_that_got_through_after_all_is_no_error(cloud):
    cloud.save("faults.json", {"create": ["unavailable"], "describe": ["missing"]})
    cloud.save("node.json", NODE)
    assert cloud.run("create")[0] == 0 and len(cloud.calls("create")) == 2


def test_ssh_is_tried_again_but_not_for_ever(cloud):
    cloud.save("node.json", NODE)
    cloud.save("faults.json", {"ssh": ["connection"] * 2})
    status, out, _ = cloud.run("status")
    assert status == 0 and "none (2 of 2 workers)" in out and len(cloud.calls("ssh")) == 3
    cloud.save("faults.json", {"ssh": ["connection"] * 10})
    status, _, err = cloud.run("status", "--poll_seconds=0.001")
    assert status == 2 and "port 22" in err and len(cloud.calls("ssh")) == 13


def test_a_queued_tpu_is_waited_for_and_asked_for_anew_when_suspended(cloud):
    cloud.save("queue.json", ["ACCEPTED", "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"])
    status, out, err = cloud.run("create", "--queued", "--spot")
    assert (status, err) == (0, "") and "WAITING_FOR_RESOURCES; waits" in out
    (create,) = cloud.calls("create")
    assert {"--node-id=first", "--runtime-version=base", "--spot"} <= set(create)
    (cloud.folder / "node.json").unlink()
    cloud.save("queue.json", ["SUSPENDED", "SUSPENDED", "ACCEPTED", "ACTIVE"])
    assert cloud.run("create", "--queued")[0] == 0
    assert "--force" in cloud.calls("delete")[0] and cloud.node == NODE
    (cloud.folder / "node.json").unlink()
    cloud.save("queue.json", ["WAITING_FOR_RESOURCES"] * 2 + ["ACTIVE"])
    assert "WAITING_FOR_RESOURCES" in cloud.run("status")[1]  # Though --queued is not told.
    assert cloud.run("create")[0] == 0 and cloud.node == NODE
    assert len(cloud.calls("create")) == 2  # No second TPU was asked for.
    assert cloud.run("delete")[0] == 0 and cloud.node is None  # Queued or not need not be told.
    assert not (cloud.folder / "queued.json").exists()


def test_the_queue_has_a_time_limit_and_may_fail(cloud):
    cloud.save("queue.json", ["WAITING_FOR_RESOURCES"])
    status, _, err = cloud.run("create", "--queued", "--wait_hours=0")
    assert status == 2 and "after 0 minutes; wait longer with --wait_hours" in err
    assert "cost until it is deleted" in err
    cloud.save("queue.json", ["FAILED"])
    status, _, err = cloud.run("create", "--queued")
    assert status == 2 and "has failed (no such version)" in err


def test_a_bucket_that_cannot_hold_checkpoints_is_told_before_a_tpu_is_asked_for(cloud):
    for metadata, told in (
        (BUCKET | {"hierarchicalNamespace": {}}, "no hierarchical namespace"),
        (None, "there is none; create it: gcloud storage buckets create gs://my-bucket"),
    ):
        cloud.save("bucket.json", metadata)
        if metadata is None:
            cloud.save("faults.json", {"buckets": ["missing bucket"]})
        status, _, err = cloud.run("run")
        assert status == 2 and told in err and "--enable-hierarchical-namespace" in err
    assert not [call for call in cloud.calls() if call[2] == "tpu-vm"]


def test_delete_and_fetch_work_without_a_tpu(cloud):
    (cloud.folder / "bucket/runs/first").mkdir(parents=True)
    (cloud.folder / "bucket/runs/first/metrics.jsonl").write_text("{}\n")
    status, out, _ = cloud.run("delete", "--zone=us-east1-d")
    assert status == 0 and not cloud.calls("delete")
    assert "there is none to be deleted, with --zone=us-east1-d" in out
    assert cloud.run("fetch")[0] == 0
    assert (cloud.folder / "runs/first/metrics.jsonl").read_text() == "{}\n"


@pytest.mark.parametrize(
    ("action", "flags", "told"),
    [
        ("run", ["--config.no_such=1"], "no field 'no_such'"),
        ("run", ["--spott"], "spot"),
        ("run", ["--config.data.name", "pets"], "--config.data.name=VALUE"),
        ("run", [f"--config={ROOT}/tests/../benchmarks/x.py"], "x.py"),
        ("create", ["--name=First TPU"], "not a name that gcloud takes"),
        ("create", ["--zone=us-central1"], "not a zone"),
        ("install", ["--bucket=gs://my-bucket/folder"], "give a bucket, such as"),
        ("restart", [], "takes one of create, copy"),
    ],
)
def test_mistakes_are_told_before_gcloud_is_called(cloud, action, flags, told):
    status, _, err = cloud.run(action, *flags)
    assert (status, cloud.calls()) == (2, []) and told in err and "Traceback" not in err


def test_a_config_file_that_would_not_be_copied_is_refused(cloud):
    elsewhere = cloud.folder / "mine.py"
    shutil.copy(CONFIG_FILE, elsewhere)
    status, _, err = cloud.run("start", f"--config={elsewhere}")
    assert status == 2 and "only the folders configs, launch" in err


def test_missing_flags_are_named(cloud):
    status, _, err = cloud.run("run", job=["--name=first"])
    assert status == 2 and "--zone=..." in err and "--bucket=..." in err and "--config=..." in err


def test_a_dry_run_prints_commands_that_a_shell_takes_and_runs_none(cloud):
    flag = "--config.data.name=/data/it's mine"
    status, out, err = cloud.run("run", "--dry-run", "--queued", "--project=p", flag)
    assert (status, err, cloud.calls()) == (0, "", [])
    subprocess.run(["bash", "-n"], input=out, text=True, check=True)
    commands = shlex.split(out, comments=True)
    verbs = [after for word, after in zip(commands, commands[1:], strict=False) if word == "tpu-vm"]
    assert [verb for verb in verbs if verb != "describe"] == [
        *("ssh", "scp", "ssh", "ssh", "ssh", "ssh", "delete")
    ]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed here")
def test_the_real_gcloud_takes_every_flag(cloud):
    environment = os.environ | {"CLOUDSDK_CONFIG": str(cloud.folder), "HOME": str(cloud.folder)}
    environment["CLOUDSDK_CORE_DISABLE_PROMPTS"] = "1"
    commands = {}
    for flags in (["--spot"], ["--queued"]):
        _, out, _ = cloud.run("run", "--dry_run", "--project=p", *flags)
        words = shlex.split(out, comments=True)
        starts = [i for i, word in enumerate(words) if word in ("gcloud", "mkdir", "tar")]
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            if words[start] == "gcloud":
                commands[tuple(words[start : start + 5])] = words[start:end]
    assert len(commands) == 10
    for command in commands.values():
        said = subprocess.run(command, env=environment, capture_output=True, text=True).stderr
        assert "active account" in said, command  # And no complaint about a flag.


def test_help_comes_at_once_and_without_jax(cloud):
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = "import sys, launch.tpu_vm; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    status, out, _ = cloud.run("run", "--help")
    assert status == 0 and "--accelerator_type" in out
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # Others may use the processor, too.
    assert used.ru_utime - began.ru_utime < 5
