import importlib.util
import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SMALL = ["--config.model.num_blocks=1", "--config.augment.crop=none"]
needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)


def plan(*flags, timeout=600):
    command = [sys.executable, "launch/plan.py", *flags]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_a_plan_for_this_machine_is_told_and_written(tmp_path):
    file = tmp_path / "plan.json"
    run = plan(
        "--config=configs/mixer_digits.py", "--topology=cpu", "--steps=evaluation", *SMALL,
        f"--json={file}", f"--config.data.data_dir={tmp_path / 'nothing'}",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("cpu: 1 device of cpu")
    assert "Evaluation step: 512 images" in run.stdout and "it fits" in run.stdout
    told = json.loads(file.read_text())
    assert told["topology"] == "cpu" and told["evaluation"]["fits"]
    assert told["evaluation"]["memory"]["parameters"] == 4 * told["parameters"]
    assert "train" not in told and not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "needs --topology=..."),
        (["--topology=v9:2x2"], "there is no such topology; it is one of v2, v3"),
        (["--topology=cpu", "--steps="], "name some of train, evaluation"),
        (["--topology=cpu", "--json=README.md"], "something lies there; name another"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence(flags, message):
    run = plan("--config=configs/mixer_digits.py", *flags)
    assert run.returncode == 2 and message in run.stderr and "Traceback" not in run.stderr


@pytest.mark.slow
@needs_libtpu
def test_a_plan_for_a_tpu_that_is_not_there(tmp_path):
    file = tmp_path / "plan.json"
    run = plan(
        "--config=configs/mixer_digits.py", "--topology=v3:4x4", *SMALL, f"--json={file}",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("v3:4x4: 32 cores of TPU v3, 15.48 GiB each")
    told = json.loads(file.read_text())
    for step in ("train", "evaluation"):
        assert told[step]["fits"] and 0 < told[step]["share_of_peak"] < 1
        assert any("channel_mixing" in part["part"] for part in told[step]["costliest"])
    assert told["train"]["seconds"] > 2 * told["evaluation"]["seconds"] * 128 / 512
    assert told["run"]["core_days"] == pytest.approx(32 * told["run"]["days"])


@pytest.mark.slow
@needs_libtpu
def test_what_does_not_fit_is_made_to_fit(tmp_path):
    file = tmp_path / "plan.json"
    run = plan(
        "--config=configs/gmlp_mlm_python.py", "--topology=v2:1x1", "--steps=train",
        "--config.train.global_batch_size=131072", f"--json={file}",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "it does not fit" in run.stdout and "It does not fit. What would:" in run.stdout
    told = json.loads(file.read_text())
    assert not told["train"]["fits"]
    assert told["train"]["memory_total"] > told["train"]["memory_limit"]
    tried = {tuple(r["changes"].items()): r["train"] for r in told["remedies"]}
    needed = [told["train"]["memory_total"]]
    needed += [step["memory_total"] for change, step in tried.items() if len(change) == 1
               and change[0][0] == "train.grad_accum_steps"]  # fmt: skip
    assert len(needed) > 1 and needed == sorted(needed, reverse=True)
    assert any(step["fits"] for step in tried.values())


@pytest.mark.slow
@needs_libtpu
def test_a_sweep_is_a_table_with_a_row_for_each_combination(tmp_path):
    run = plan(
        "--config=configs/mixer_digits.py", "--topology=v5e:1x1", "--steps=evaluation", *SMALL,
        "--sweep=evaluation.global_batch_size=64,128", "--sweep=model.hidden_dim=32,64",
        f"--config.data.data_dir={tmp_path}",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    rows = [line for line in run.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 4 and len({row.count("|") for row in rows}) == 1
    assert rows[2].startswith("| 64 | 32 | 0.0") and rows[5].startswith("| 128 | 64 | 0.0")
