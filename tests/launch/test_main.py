"""The command, as a user runs it: in a process of its own."""

import os
import subprocess
import sys

import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from mlp_core.run_folder.metrics import read_metrics
from mlp_core.weights.files import write_weight_file
from tests.conftest import ROOT
from tests.mlp_vision.weights.made_weights import made_arrays, write_tiny

DIGITS = "--config=configs/mixer_digits.py"
SHORT = (
    "--config.train.duration=30 steps",
    "--config.train.global_batch_size=32",
    "--config.schedule.warmup=5 steps",
    "--config.evaluation.every=10 steps",
    "--config.checkpoint.every=5 steps",
    "--config.log.every=5 steps",
)


@pytest.fixture(scope="module")
def environment(data_dir):
    return os.environ | {"TFDS_DATA_DIR": data_dir, "JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": ""}


def command(*args):
    return [sys.executable, "launch/main.py", *args]


def launch(environment, *args, timeout=300):
    return subprocess.run(
        command(*args), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout
    )


def final_state(workdir, step):
    return ocp.load((workdir / "checkpoints" / str(step)).absolute())


def assert_same_state(a, b):
    import jax

    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def digits_run(environment, tmp_path_factory):
    """A run of the digits where TensorFlow and matplotlib cannot be imported, and its folder."""
    folder = tmp_path_factory.mktemp("digits")
    for name in ("tensorflow", "matplotlib"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise SystemExit('{name} imported')")
    without = environment | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    run = launch(without, DIGITS, *SHORT, f"--workdir={folder / 'run'}")
    return run, folder / "run"


@pytest.mark.slow
def test_digits_train_and_the_end_says_where_everything_lies(digits_run):
    run, folder = digits_run
    assert run.returncode == 0, run.stderr
    for text in ("Devices: 1 x cpu", "Batch: 32 global, 32 per device", "73,226",
                 "step 30/30", "Done: test/top1", f"{folder}/checkpoints",
                 f"{folder}/metrics.jsonl", f"{folder}/tensorboard", "Next:"):  # fmt: skip
        assert text in run.stdout, text
    last = read_metrics(folder / "metrics.jsonl")[-1]
    assert last["step"] == 30 and last["test/top1"] > 0.2
    assert (folder / "config.json").exists() and (folder / "parameters.txt").exists()


@pytest.mark.slow
def test_training_imports_neither_tensorflow_nor_matplotlib(digits_run):
    run, _ = digits_run
    assert run.returncode == 0 and "imported" not in run.stdout + run.stderr


@pytest.mark.rare
def test_published_layout_is_fine_tuned_for_a_few_steps_at_b16_shape(environment, tmp_path):
    folder = tmp_path / "mirror" / "imagenet21k"
    folder.mkdir(parents=True)
    arrays = made_arrays("mixer_b16", 100, 224)
    write_weight_file(folder / "Mixer-B_16.npz", arrays)
    workdir = tmp_path / "run"
    args = (
        "--config=configs/mixer_b16_cifar100.py:smoke", f"--config.init.mirror={folder.parent}",
        "--config.init.weights=imagenet21k/Mixer-B_16", "--config.model.num_blocks=12",
        "--config.train.duration=3 steps", "--config.train.global_batch_size=2",
        "--config.evaluation.global_batch_size=10", "--config.data.eval_splits.test=test[:10]",
        f"--workdir={workdir}",
    )  # fmt: skip
    run = launch(environment, *args, timeout=600)
    assert run.returncode == 0, run.stderr
    assert "with a zero head of 10 classes in place of its 100" in run.stdout
    params = final_state(workdir, 3)["params"]
    stem = np.asarray(params["stem"]["kernel"])
    assert 0 < np.abs(stem - arrays["stem/kernel"]).max() < 0.01
    assert np.abs(np.asarray(params["head"]["kernel"])).max() > 0


def test_missing_data_and_weights_are_told_before_anything_is_compiled(environment, tmp_path):
    # No address is reachable through a proxy that is not there.
    offline = environment | {"https_proxy": "http://127.0.0.1:1", "no_proxy": "", "NO_PROXY": "",
                             "TFDS_DATA_DIR": str(tmp_path / "tfds")}  # fmt: skip
    run = launch(offline, "--config=configs/mixer_b16_cifar100.py", f"--workdir={tmp_path / 'run'}")
    assert run.returncode == 2
    for text in ("cifar-100-binary.tar.gz", "--config.data.data_dir", "imagenet21k/Mixer-B_16",
                 "--config.init.weights", "configs/mixer_digits.py"):  # fmt: skip
        assert text in run.stderr, text
    assert "Compiled" not in run.stdout and "Traceback" not in run.stderr


MISTAKES = {
    "no config": ([], "--config=configs/mixer_digits.py"),
    "no such config": (["--config=configs/nope.py"], "No such file or directory: 'configs/nope"),
    "no such variant": ([DIGITS + ":smok"], "no variant 'smok'"),
    "no such flag": ([DIGITS, "--workdri=x"], "Unknown command line flag 'workdri'"),
    "no flag at all": ([DIGITS, "x"], "'x' is no flag"),
    "no such field": ([DIGITS, "--config.optimizer.momentun=1"], "no field 'momentun'"),
    "wrong type": ([DIGITS, "--config.seed=abc"], "--config.seed=abc"),
    "wrong value": ([DIGITS, "--config.optimizer.momentum=2"], "config.optimizer.momentum: "),
    "split": ([DIGITS, "--config.data.train_split=dev"], "no split 'dev'"),
}


@pytest.mark.parametrize(
    "line, message",
    [
        ("    config.seed = sead", "own.py, line 6: NameError: name 'sead' is not defined"),
        ("    config.sead = (", "own.py, line 6: SyntaxError: '(' was never closed"),
    ],
)
def test_a_mistake_in_a_config_file_is_told_with_its_line(environment, tmp_path, line, message):
    (tmp_path / "own.py").write_text(
        'from configs import common\n\n\ndef get_config(arg=""):\n'
        f"    config = common.get_config()\n{line}\n    return config\n"
    )
    run = launch(environment, f"--config={tmp_path / 'own.py'}", timeout=60)
    assert run.returncode == 2 and message in run.stderr and "Traceback" not in run.stderr


@pytest.mark.parametrize("args, message", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_ends_in_a_sentence_and_a_status(environment, tmp_path, args, message):
    run = launch(environment, *args, f"--workdir={tmp_path / 'run'}")
    assert run.returncode == 2
    assert message in run.stderr
    assert "Traceback" not in run.stderr + run.stdout
    assert not (tmp_path / "run" / "checkpoints" / "0").exists()


def test_weights_that_do_not_fit_are_refused_and_debug_shows_where(environment, tmp_path):
    weights = write_tiny(tmp_path / "tiny.npz")
    args = (DIGITS, f"--config.init.weights={weights}", f"--workdir={tmp_path / 'run'}")
    run = launch(environment, *args)
    assert run.returncode == 2 and "patch_size=8" in run.stderr
    assert "Traceback" not in run.stderr
    assert "Traceback" in launch(environment, *args, "--debug").stderr


@pytest.mark.slow
def test_another_config_in_the_same_folder_is_refused_with_the_difference(environment, digits_run):
    _, folder = digits_run
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    run = launch(environment, DIGITS, *SHORT, f"--workdir={folder}", "--config.seed=7")
    assert run.returncode == 2
    assert "config.seed: 0 there, 7 now" in run.stderr
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_that_cannot_be_written_is_refused(environment, tmp_path):
    (tmp_path / "file").write_text("kept")
    run = launch(environment, DIGITS, f"--workdir={tmp_path / 'file' / 'run'}")
    assert run.returncode == 2 and "cannot write there" in run.stderr
    assert (tmp_path / "file").read_text() == "kept"


def test_a_dry_run_checks_everything_and_trains_nothing(environment, tmp_path):
    run = launch(environment, DIGITS, "--dry_run", f"--workdir={tmp_path}")
    assert run.returncode == 0
    assert "73,226 parameters, 1,000 steps of 128 examples. Nothing was trained" in run.stdout
    assert not (tmp_path / "checkpoints").exists()


def test_help_lists_the_flags(environment):
    run = launch(environment, "--help")
    assert run.returncode == 0
    for flag in ("--config", "--workdir", "--[no]dry_run", "--[no]debug"):
        assert flag in run.stdout


@pytest.mark.slow
def test_a_full_disk_and_a_damaged_checkpoint_are_told_and_the_run_ends_as_if_neither_had_been(
    environment, tmp_path
):
    args = (DIGITS, *SHORT, f"--workdir={tmp_path / 'run'}")
    run = launch(environment, *args)
    assert run.returncode == 0, run.stderr
    final = final_state(tmp_path / "run", 30)
    array_files = [p for p in (tmp_path / "run/checkpoints/30/state").rglob("d/*") if p.is_file()]
    for file in array_files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    largest = max(file.stat().st_size for file in array_files)  # Half of what one needs.
    limit = ["bash", "-c", f'ulimit -f {largest // 1024} && exec "$@"', "-"]
    full = subprocess.run(
        limit + command(*args), cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert full.returncode == 2, full.stderr
    assert "damaged_30" in full.stdout and "goes on from step 25" in full.stdout
    (line,) = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
    assert "no room is left on the disk" in line and "checkpoints/25." in line
    assert "Traceback" not in full.stderr
    run = launch(environment, *args)
    assert run.returncode == 0, run.stderr
    assert_same_state(final_state(tmp_path / "run", 30), final)
