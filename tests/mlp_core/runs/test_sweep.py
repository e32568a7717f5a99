"""The parts of a sweep that need no training; tests/launch/test_sweep.py runs whole ones."""

import copy
import json

import pytest
from ml_collections import ConfigDict

from configs import mixer_digits
from mlp_core.errors import UserError
from mlp_core.run_folder.run_directory import save_config, save_results
from mlp_core.runs.grid import at_point, earlier_folder_name, folder_name
from mlp_core.runs.several import Run
from mlp_core.runs.sweep import final_run, run_sweep
from mlp_vision.tasks import experiment


def held_out():
    config = mixer_digits.get_config()
    config.data.train_split = "train[:80%]"
    config.data.eval_splits = ConfigDict({"validation": "train[80%:]", "test": "test"})
    config.evaluation.best_metric = "validation/top1"
    config.sweep.train_split = "train"
    return config.lock()


def test_the_final_run_trains_on_everything_and_chooses_nothing(tmp_path):
    config = held_out()
    final = final_run(Run({"seed": 0}, config, tmp_path / "seed=0"), tmp_path)
    assert final.folder == tmp_path / "best"
    assert final.config.data.train_split == "train"
    assert final.config.data.eval_splits.to_dict() == {"test": "test"}
    assert final.config.evaluation.best_metric == "test/top1"
    assert final.config.checkpoint.keep_best == 0
    changed = {"train_split", "eval_splits", "best_metric", "keep_best"}
    for group, fields in final.config.items():
        for name, value in fields.items() if isinstance(fields, ConfigDict) else ():
            assert name in changed or value == config[group][name]


@pytest.mark.parametrize(
    "entry, message",
    [
        ("optimizer.momentun=0.9", "no field 'optimizer.momentun'"),
        ("optimizer.momentum=0.5,high", "'high' is no float"),
        ("optimizer.momentum=0.5,2", "optimizer.momentum=2.0: config.optimizer.momentum: "),
        ("schedule.warmup=1 step,soon", "schedule.warmup=soon: config.schedule.warmup: 'soon'"),
    ],
)
def test_a_wrong_value_is_told_before_anything_is_written(entry, message, tmp_path):
    with pytest.raises(UserError, match="--grid") as error:
        run_sweep(experiment, held_out(), [entry], tmp_path / "sweep")
    assert message in str(error.value)
    assert not (tmp_path / "sweep").exists()


def test_a_final_run_without_a_split_to_evaluate_is_refused(tmp_path):
    config = mixer_digits.get_config()
    config.sweep.train_split = "train"
    with pytest.raises(UserError, match="'test' is the only split"):
        run_sweep(experiment, config, ["optimizer.momentum=0.8,0.9"], tmp_path / "sweep")


def test_all_members_are_checked_with_their_devices_before_the_first_starts(tmp_path, data_dir):
    config = held_out()
    config.data.data_dir = data_dir
    with pytest.raises(UserError, match="train.grad_accum_steps=3: config.train.global_batch_size"):
        run_sweep(experiment, config, ["train.grad_accum_steps=1,3"], tmp_path)
    assert not list(tmp_path.rglob("metrics.jsonl"))


def test_members_of_another_experiment_are_not_mixed_in(tmp_path):
    other = held_out()
    other.seed = 5
    folder = tmp_path / "optimizer.momentum=0.5"
    (folder / "checkpoints" / "5").mkdir(parents=True)
    save_config(folder, other)
    with pytest.raises(UserError, match="config.seed: 5 there, 0 now"):
        run_sweep(experiment, held_out(), ["optimizer.momentum=0.8"], tmp_path)


def test_among_seeds_nothing_is_chosen_and_median_and_spread_are_told(tmp_path, capsys):
    config = held_out()
    for seed, score in ((0, 0.91), (1, 0.95), (2, 0.9)):
        member = copy.deepcopy(config)
        member.seed = seed
        folder = tmp_path / f"seed={seed}"
        (folder / "checkpoints" / "5").mkdir(parents=True)
        save_config(folder, member)
        results = {"validation/loss": 0.5, "validation/top1": score, "test/top1": score - 0.1}
        save_results(folder, results)
    assert run_sweep(experiment, config, ["seed=0,1,2"], tmp_path)
    text = (tmp_path / "sweep.md").read_text()
    assert "| median of 3 | 91.00 % | 90.00 % to 95.00 % |" in text
    assert (
        "Median of 3 (lowest to highest): validation/top1 91.00 % (90.00 % to 95.00 %), "
        "test/top1 81.00 % (80.00 % to 85.00 %)\n"
    ) in text
    assert "best" not in text.lower() and not (tmp_path / "best").exists()
    assert "no final run: among seeds" in capsys.readouterr().out


def test_parts_of_a_training_set_stand_in_the_order_of_their_sizes(tmp_path):
    config = held_out()
    config.sweep.train_split = None
    splits = ["train[:5%]", "train[:10%]", "train[:80%]"]
    for i, split in enumerate(splits):
        member = copy.deepcopy(config)
        member.data.train_split = split
        folder = tmp_path / f"data.train_split={split}"
        (folder / "checkpoints" / "5").mkdir(parents=True)
        save_config(folder, member)
        save_results(folder, {"validation/top1": 0.5 + 0.1 * i, "test/top1": 0.4})
    # As texts, 10 comes before 5.
    grid = ["data.train_split=train[:80%],train[:10%],train[:5%]"]
    assert run_sweep(experiment, config, grid, tmp_path)
    rows = [line for line in (tmp_path / "sweep.md").read_text().splitlines() if "train[" in line]
    assert [row.split(" | ")[0] for row in rows[:3]] == [f"| {split}" for split in splits]
    assert not (tmp_path / "best").exists()


LONG = {
    "schedule.warmup": "0 steps",
    "optimizer.weight_decay": 0.001,
    "schedule.peak_learning_rate": 0.001,
    "data.train_split": "train[:50%]",
}


def finished(config, point, folder, score):
    """Leaves the folder of a member that has reached its end."""
    member = at_point(config, point)
    (folder / "checkpoints" / "5").mkdir(parents=True)
    save_config(folder, member)
    save_results(folder, {"validation/top1": score, "test/top1": 0.4})


@pytest.mark.parametrize("name", [folder_name, earlier_folder_name])
def test_finished_members_are_found_under_their_names_of_now_and_earlier(tmp_path, name, capsys):
    config = held_out()
    config.sweep.train_split = None
    points = [LONG, LONG | {"data.train_split": "train[:5%]"}]
    for i, point in enumerate(points):
        finished(config, point, tmp_path / name(point), 0.5 + 0.1 * i)
    before = sorted(tmp_path.iterdir())
    grid = [f"{field}={value}" for field, value in LONG.items()]
    grid[-1] += ",train[:5%]"
    assert run_sweep(experiment, config, grid, tmp_path)
    assert capsys.readouterr().out.count("(finished before)") == 2
    after = set(tmp_path.iterdir()) - {tmp_path / n for n in (".lock", "sweep.md", "sweep.png")}
    assert sorted(after) == before


def test_members_of_other_grids_are_known_by_what_their_folders_say(tmp_path):
    config = held_out()
    config.sweep.train_split = None
    many = LONG | {"model.hidden_dim": 64, "optimizer.momentum": 0.5}
    folder = tmp_path / folder_name(many)
    assert len(folder.name) == 99 and "momentum" not in folder.name
    finished(config, many, folder, 0.75)
    (folder / "point.json").write_text(json.dumps(many))
    finished(config, {"optimizer.momentum": 0.8}, tmp_path / "optimizer.momentum=0.8", 0.5)
    assert run_sweep(experiment, config, ["optimizer.momentum=0.8"], tmp_path)
    rows = [line for line in (tmp_path / "sweep.md").read_text().splitlines() if "75.00 %" in line]
    assert rows and "train[:50%]" in rows[0] and " 0.5 " in rows[0]
