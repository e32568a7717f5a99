"""What needs no training in a comparison; tests/launch/test_compare.py runs a whole one."""

import dataclasses
import json
import re

import pytest

from configs import gmlp_mlm_python, mixer_digits
from mlp_core.errors import UserError
from mlp_core.run_folder.run_directory import save_config, save_results
from mlp_core.runs.compare import Entry, run_comparison
from mlp_text.tasks import experiment as text_experiment
from mlp_vision.tasks import experiment


def entry(name, **fields):
    config = mixer_digits.get_config()
    config.update(fields)
    return Entry(name, experiment, config.lock())


def finish(workdir, compared, seed, results, device_days=10, speeds=(1.5, 4.0, 2.35)):
    """The folder of a run that has reached its end."""
    folder = workdir / compared.name / f"seed={seed}"
    (folder / "checkpoints" / "5").mkdir(parents=True)
    config = compared.config.copy_and_resolve_references()
    config.seed = seed
    save_config(folder, config)
    save_results(folder, results)
    environments = [{"devices": 2, "device_kind": "TPU v3"}]
    (folder / "environment.json").write_text(json.dumps({"environments": environments}))
    lines = [
        {
            "step": step,
            "train/examples_per_second_per_device": speed,
            "train/device_days": device_days * step / len(speeds),
        }
        for step, speed in enumerate(speeds, 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_table_tells_scores_cost_and_speed_and_sums_up_seeds(tmp_path, capsys):
    small, large = entry("small"), entry("large", train={"global_batch_size": 64})
    for compared, seed, score in [(small, 0, 0.5), (small, 1, 0.6), (large, 0, 0.9), (large, 1, 1)]:
        finish(tmp_path, compared, seed, {"test/loss": 0.5, "test/top1": score})
    assert run_comparison([small, large], ["seed=0,1"], tmp_path)
    text = (tmp_path / "comparison.md").read_text()
    assert text in capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0] == (
        "| experiment | seed | result | trained on | device-minutes | examples/s/device | remark |"
    )
    assert lines[2] == "| small | 0 | test/top1 50.00 % | 2 x TPU v3 | 14,400 | 2.35 |  |"
    assert lines[5] == "| large | 1 | test/top1 100.00 % | 2 x TPU v3 | 14,400 | 2.35 |  |"
    assert lines[6:] == [
        "| small | median of 2 | test/top1 55.00 % (50.00 % to 60.00 %) |  |  |  |  |",
        "| large | median of 2 | test/top1 95.00 % (90.00 % to 100.00 %) |  |  |  |  |",
    ]


def test_each_experiment_is_trained_once_before_any_is_trained_again(tmp_path, capsys):
    entries = [entry("a"), entry("b")]
    for compared in entries:
        for seed in (0, 1):
            finish(tmp_path, compared, seed, {"test/top1": 0.5})
    assert run_comparison(entries, ["seed=0,1"], tmp_path)
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("run ")]
    order = [line.split(": ")[1] for line in told]
    assert order == [f"{name}, seed={seed} (finished before)" for seed in "01" for name in "ab"]


def test_a_wrong_value_is_told_with_the_experiment_before_anything_is_written(tmp_path):
    entries, workdir = [entry("a"), entry("b")], tmp_path / "comparison"
    with pytest.raises(UserError, match="a: --grid=model.depth=1: there is no field"):
        run_comparison(entries, ["model.depth=1"], workdir)
    with pytest.raises(UserError, match="a, optimizer.momentum=2.0: config.optimizer.mom"):
        run_comparison(entries, ["optimizer.momentum=0.5,2"], workdir)
    assert not workdir.exists()


def test_runs_are_not_put_into_the_folder_of_a_run(tmp_path):
    (tmp_path / "a" / "checkpoints" / "5").mkdir(parents=True)
    with pytest.raises(UserError, match=f"a run lies in {tmp_path / 'a'}; name another"):
        run_comparison([entry("a")], ["seed=0,1"], tmp_path)
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    with pytest.raises(UserError, match=f"a run lies in {tmp_path}; name another"):
        run_comparison([entry("b")], [], tmp_path)


def test_all_runs_are_checked_and_all_that_is_missing_is_told_before_the_first_starts(tmp_path):
    pictures = entry("pictures", data={"name": "imagenet2012", "data_dir": str(tmp_path / "none")})
    words = Entry("words", text_experiment, gmlp_mlm_python.get_config())
    words.config.data.train_split = str(tmp_path / "no_text.txt")
    with pytest.raises(UserError) as error:
        run_comparison([pictures, words], [], tmp_path / "comparison")
    assert "no_text.txt" in str(error.value)
    assert not list(tmp_path.rglob("metrics.jsonl"))


@pytest.mark.parametrize("earlier", [False, True])
def test_experiments_of_any_name_have_portable_folders_or_keep_earlier_ones(
    tmp_path, earlier, capsys
):
    compared = entry("my [config]*")
    folder = compared.name if earlier else compared.folder(tmp_path).name
    finish(tmp_path, dataclasses.replace(compared, name=folder), 0, {"test/top1": 0.5})
    assert run_comparison([compared], ["seed=0"], tmp_path)
    assert "my [config]*, seed=0 (finished before)" in capsys.readouterr().out
    assert earlier or re.fullmatch("my_config_-[0-9a-f]{8}", folder)
