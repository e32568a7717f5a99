import dataclasses
import threading

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from mlp_core.data.pipeline import TrainOrder
from mlp_core.data.sources import ArraySource
from mlp_core.errors import NonFiniteLossError, UserError
from mlp_core.run_folder.metrics import read_metrics
from mlp_core.train.loop import check_batch_sizes, train
from tests.mlp_core.train.quadratic import Interrupt, Quadratic, StopsAt, settings


def final_state(workdir, step=12):
    return ocp.load(workdir.absolute() / "checkpoints" / str(step))


def final_kernel(workdir, step=12):
    return np.asarray(final_state(workdir, step)["params"]["layer"]["kernel"])


def test_a_run_evaluates_at_start_every_n_and_at_the_end(tmp_path):
    results = train(Quadratic(), settings(), tmp_path)
    records = read_metrics(tmp_path / "metrics.jsonl")
    assert [r["step"] for r in records if "test/loss" in r] == [0, 4, 8, 12]
    assert [r["step"] for r in records if "train/loss" in r] == [2, 4, 6, 8, 10, 12]
    assert results["test/loss"] == pytest.approx(records[-1]["test/loss"], rel=1e-4)
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_speed_is_told_in_examples(tmp_path, capsys):
    train(Quadratic(), settings(), tmp_path)
    reports = [r for r in read_metrics(tmp_path / "metrics.jsonl") if "train/loss" in r]
    assert all(r["train/examples_per_second_per_device"] > 0 for r in reports)
    assert capsys.readouterr().out.count(" ex/s") == len(reports) == 6


def test_the_loop_ends_with_what_its_final_checkpoint_holds(tmp_path):
    task = Quadratic()
    results = train(task, settings(), tmp_path)
    rows = task.eval_sources["test"].gather(np.arange(13))["x"]
    expected = 0.5 * np.square(final_kernel(tmp_path) - rows).sum(-1).mean()
    assert results["test/loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("ema_decay", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("batches_before", [6, 11])
def test_a_run_that_goes_on_ends_bit_for_bit_where_an_undisturbed_one_does(
    tmp_path, batches_before, ema_decay
):
    config = settings(**{"train.ema_decay": ema_decay})
    undisturbed = train(Quadratic(), config, tmp_path / "a")
    broken = Quadratic(train_source=StopsAt(Quadratic().train_source, batches_before))
    with pytest.raises(Interrupt):
        train(broken, config, tmp_path / "b")
    resumed = train(Quadratic(), config, tmp_path / "b")
    assert resumed == undisturbed
    np.testing.assert_array_equal(final_kernel(tmp_path / "a"), final_kernel(tmp_path / "b"))
    evaluated = [
        [
            (r["step"], r["test/loss"])
            for r in read_metrics(folder / "metrics.jsonl")
            if "test/loss" in r
        ]
        for folder in (tmp_path / "a", tmp_path / "b")
    ]
    assert evaluated[0] == evaluated[1]


def test_a_finished_run_is_not_run_again(tmp_path, capsys):
    first = train(Quadratic(), settings(), tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    again = train(Quadratic(), settings(), tmp_path)
    assert "Nothing is left to do: all 12 steps" in capsys.readouterr().out
    assert again == first
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_latest_and_best_checkpoints_are_kept_and_the_best_is_named(tmp_path, capsys):
    # With rate 1.9 the distance grows from step to step, so the first evaluated save is best.
    config = settings(**{
        "schedule.peak_learning_rate": 1.9, "schedule.name": "constant", "optimizer.momentum": 0.5,
        "checkpoint.keep_latest": 1, "train.duration": "16 steps",
    })  # fmt: skip
    train(Quadratic(), config, tmp_path)
    scores = {
        r["step"]: r["test/top1"]
        for r in read_metrics(tmp_path / "metrics.jsonl")
        if "test/top1" in r and r["step"] > 0
    }
    best = max(scores, key=scores.get)
    assert best != 16
    kept = {int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()}
    assert kept == {best, 16}
    named = f"Best checkpoint by test/top1: {tmp_path}/checkpoints/{best}\n"
    assert named in capsys.readouterr().out


def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_and_checkpoint(tmp_path):
    rows = Quadratic().train_source.gather(np.arange(40))["x"]
    rows[:] = np.where(np.arange(40)[:, None] == 17, np.nan, rows)
    with pytest.raises(NonFiniteLossError, match="step [1-5]: the loss is nan.*none was saved"):
        train(Quadratic(train_source=ArraySource({"x": rows})), settings(), tmp_path)
    assert not [p for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()]


def test_the_last_good_checkpoint_is_named_and_whole(tmp_path):
    rows = Quadratic().train_source.gather(np.arange(40))["x"]
    rows[TrainOrder(40, 8, seed=0).batch(3)[0]] = np.nan  # The fourth step meets it.
    task = Quadratic(train_source=ArraySource({"x": rows}))
    config = settings(**{"checkpoint.every": "1 step"})
    with pytest.raises(NonFiniteLossError, match="step 4: .*it is .*checkpoints/3[.]"):
        train(task, config, tmp_path)
    assert np.isfinite(final_kernel(tmp_path, step=3)).all()


def test_where_data_cannot_be_read_any_more_the_last_good_checkpoint_is_named(tmp_path):
    class Vanishes(StopsAt):
        def gather(self, indices, draws=None):
            try:
                return super().gather(indices, draws)
            except Interrupt:
                raise UserError("data.file: missing.") from None

    task = Quadratic(train_source=Vanishes(Quadratic().train_source, 10))
    with pytest.raises(UserError, match="^data.file: missing. As for .* is .*checkpoints/8[.]"):
        train(task, settings(), tmp_path)
    assert np.isfinite(final_kernel(tmp_path, step=8)).all()


def test_an_update_that_is_not_finite_is_never_saved(tmp_path):
    config = settings(
        **{"schedule.peak_learning_rate": 3e38, "schedule.name": "constant",
           "checkpoint.every": "1 step", "optimizer.clip_global_norm": 0.0}
    )  # fmt: skip
    with pytest.raises(NonFiniteLossError, match="none was saved"):
        train(Quadratic(), config, tmp_path)


def test_a_new_best_is_saved_also_between_the_regular_saves(tmp_path):
    config = settings(**{"checkpoint.every": "0 steps", "evaluation.every": "5 steps",
                         "checkpoint.keep_best": 5})  # fmt: skip
    train(Quadratic(), config, tmp_path)
    kept = {int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()}
    assert 5 in kept and 12 in kept


def test_batches_that_do_not_fit_the_devices_are_refused():
    assert jax.device_count() == 8
    with pytest.raises(
        UserError, match="config.train.global_batch_size: 12 .* 8 devices; 16 would"
    ):
        check_batch_sizes(settings(**{"train.global_batch_size": 12}))
    with pytest.raises(UserError, match="8 devices times 2 micro-batches; 16 would"):
        check_batch_sizes(settings(**{"train.grad_accum_steps": 2}))
    with pytest.raises(UserError, match="config.evaluation.global_batch_size: 9"):
        check_batch_sizes(settings(**{"evaluation.global_batch_size": 9}))


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    train(Quadratic(), settings(), tmp_path)
    wider = dataclasses.make_dataclass("Wider", [], bases=(Quadratic,), frozen=True)
    wider.init_params = lambda self, rng: {"other": {"kernel": jax.random.normal(rng, (5,))}}
    with pytest.raises(
        UserError, match="checkpoints: no checkpoint there is whole and of this model"
    ):
        train(wider(), settings(), tmp_path)


def test_saving_leaves_no_threads_behind(tmp_path):
    before = threading.active_count()
    train(Quadratic(), settings(**{"checkpoint.every": "1 step"}), tmp_path)
    assert threading.active_count() < before + 6  # Twelve times it has been saved.
