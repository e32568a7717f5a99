"""What a config of images asks and cannot have is told before anything is compiled."""

import pytest

from mlp_core.errors import UserError
from mlp_vision.tasks import experiment
from tests.configs.config_files import load
from tests.conftest import ROOT

MISTAKES = {
    "patch": ("model.patch_size", 3, "patches of 3 pixels do not divide"),
    "batch": ("train.grad_accum_steps", 3, "config.train.global_batch_size: 128"),
    "classes": ("model.num_classes", 5, "config.model.num_classes: 5 is too few"),
    "model": ("model.name", "resmlp", "no model 'resmlp'"),
    "split": ("data.train_split", "dev", "no split 'dev'"),
    "metric": ("evaluation.best_metric", "dev/top1", "is not measured"),
    "range": ("data.value_range", (1.0, 0.0), "config.data.value_range: the lower"),
    "sharding": ("sharding.rules", ("head/bias=data",), "8 devices along 'data' do not divide 10"),
    "decay": ("optimizer.weight_decay_pattern", "kernel", "matches no parameter"),
}


@pytest.mark.parametrize("field, value, message", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_field_that_does_not_fit_is_named(field, value, message, data_dir, tmp_path):
    config = load(ROOT / "configs" / "mixer_digits.py")
    config.data.data_dir = data_dir
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=message):
        experiment.train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints" / "0").exists()


def test_a_head_is_split_by_the_number_of_classes_that_the_data_have(data_dir, tmp_path, capsys):
    config = load(ROOT / "configs" / "mixer_digits.py")
    config.data.data_dir = data_dir
    config.sharding.model_parallel = 2
    config.sharding.rules = ("head/kernel=-,model", "head/bias=model")
    experiment.train(config, tmp_path / "run", dry_run=True)
    assert "Nothing was trained" in capsys.readouterr().out
