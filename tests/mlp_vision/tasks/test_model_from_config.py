"""What a configuration leaves open is as in the weights that a run starts from."""

import numpy as np
import pytest
from PIL import Image

from configs import common
from mlp_core.config import parse_config
from mlp_core.errors import UserError
from mlp_core.run_folder.metrics import read_metrics
from mlp_vision.tasks import experiment
from mlp_vision.tasks.config import ImageClassificationConfig
from mlp_vision.tasks.model_from_config import departures, wanted_spec
from mlp_vision.weights.loading import open_weights
from tests.configs.config_files import load
from tests.conftest import ROOT
from tests.mlp_vision.weights.made_weights import TINY, write_tiny

TIMM = ROOT / "tests" / "data" / "mixer_timm.safetensors"


def settings(**fields):
    config = common.get_config()
    config.model.name = "mixer"
    config.data.image_size = fields.pop("image_size", 32)
    config.data.value_range = fields.pop("value_range", None)
    config.model.update(fields)
    return parse_config(ImageClassificationConfig, config)


@pytest.fixture
def start(tmp_path):
    return open_weights(write_tiny(tmp_path / "tiny.npz")).spec


def test_sizes_and_numerics_are_those_of_the_weights():
    start = open_weights(TIMM).spec
    spec = wanted_spec(settings(), start, num_classes=3)
    assert spec.sizes == start.sizes and spec.num_classes == 3
    assert (spec.gelu, spec.eval_preset) == ("erf", "timm")


def test_a_random_start_has_defaults_and_needs_sizes():
    spec = wanted_spec(settings(**TINY), None, num_classes=3)
    assert (spec.gelu, spec.layer_norm_epsilon) == ("tanh", 1e-6)
    assert (spec.eval_preset, spec.value_range) == ("squash", (-1.0, 1.0))
    with pytest.raises(UserError, match="'mixer' needs config.model.patch_size, config.model.hid"):
        wanted_spec(settings(), None, num_classes=3)


def test_fields_that_are_set_hold_and_departures_are_told(start):
    asked = settings(gelu="erf", value_range=(0.0, 1.0))
    spec = wanted_spec(asked, start, num_classes=3)
    assert (spec.gelu, spec.value_range) == ("erf", (0.0, 1.0))
    assert departures(asked, start) == [
        "Note: config.model.gelu=erf, but the weights were trained with tanh.",
        "Note: config.data.value_range=(0.0, 1.0), but the weights were trained with (-1.0, 1.0).",
    ]
    assert not departures(settings(), start)


@pytest.mark.parametrize("width", [None, 24])
def test_token_mlps_grow_with_a_whole_factor_and_stay_otherwise(start, width):
    for image_size, expected in [(32, 24), (64, 96), (96, 216), (40, 24), (16, 24)]:
        asked = settings(image_size=image_size, tokens_mlp_dim=width)
        assert wanted_spec(asked, start, num_classes=3).tokens_mlp_dim == expected


def test_patches_that_change_places_must_divide_the_pictures():
    def resnet(permutation, permuted_patch=None):
        config = common.get_config()
        config.model.name, config.data.image_size = "resnet_50x1", 40
        config.data.permutation, config.data.permuted_patch = permutation, permuted_patch
        return wanted_spec(parse_config(ImageClassificationConfig, config), None, num_classes=3)

    assert resnet("pixels") and resnet("patches", 8).moved_patch == 8
    with pytest.raises(UserError, match="data.permuted_patch: .*patches of 16 pixels do not div"):
        resnet("patches")
    with pytest.raises(UserError, match="data.permuted_patch: .*patches of 16 pixels do not div"):
        resnet("none").adapted(permutation="patches")


@pytest.mark.slow
@pytest.mark.parametrize("image_size, kind", [(64, "by the paper's"), (24, "resampled")])
def test_fine_tuning_at_another_size_trains_and_resumes(
    tmp_path, data_dir, capsys, image_size, kind
):
    config = load(ROOT / "configs" / "mixer_digits.py", "smoke")
    config.data.data_dir = data_dir
    config.model.update(TINY)
    config.data.image_size = image_size
    config.init.weights = str(write_tiny(tmp_path / "tiny.npz"))
    config.train.duration = "2 steps"
    config.evaluation.every = config.checkpoint.every = "1 step"
    for dry_run in (True, False):
        experiment.train(config, tmp_path / "run", dry_run=dry_run)
        assert f"32 to {image_size} pixels" in (out := capsys.readouterr().out) and kind in out
    (tmp_path / "tiny.npz").unlink()  # A run that goes on needs no weights.
    assert experiment.train(config, tmp_path / "run")
    assert "Nothing is left to do" in capsys.readouterr().out
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == 2
    model = open_weights(tmp_path / "run").spec
    assert (model.image_size, model.gelu) == (image_size, "tanh")


def test_a_run_whose_classes_have_changed_does_not_go_on(tmp_path):
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (data / split / name).mkdir(parents=True)
            for i in range(8):
                pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(data / split / name / f"{i}.png")
    config = load(ROOT / "configs" / "mixer_digits.py", "smoke")
    config.model.update(TINY)
    config.data.image_size = 32
    config.data.name = str(data)
    config.data.train_split = "train"
    config.data.eval_splits = {"validation": "train[:50%]", "test": "test"}
    config.train.duration = "2 steps"
    experiment.train(config, tmp_path / "run")
    for split in ("train", "test"):
        (data / split / "cat").rename(data / split / "zebra")
    with pytest.raises(UserError, match="for other classes than .*: 'zebra' is not among its 2"):
        experiment.train(config, tmp_path / "run")
    for split in ("train", "test"):
        (data / split / "zebra").rename(data / split / "cat")
    (tmp_path / "run" / "model.json").unlink()
    with pytest.raises(UserError, match="model.json: the description of the model cannot be read"):
        experiment.train(config, tmp_path / "run")
