import jax.numpy as jnp
import pytest

from mlp_core.distributed.mesh import make_mesh
from mlp_core.errors import UserError
from mlp_vision.data import synthetic
from mlp_vision.data.digits import Digits
from mlp_vision.tasks.planning import KNOWN, find_dataset, planned_run
from tests.configs.config_files import CONFIGS, load
from tests.conftest import ROOT

OF_IMAGES = [path for path in CONFIGS if load(path).task == "image_classification"]


def config_of(name, data_dir, arg=""):
    config = load(ROOT / "configs" / f"{name}.py", arg)
    config.data.data_dir = str(data_dir)  # Where nothing is prepared.
    return config


@pytest.mark.parametrize("path", OF_IMAGES, ids=lambda path: path.stem)
def test_every_config_of_images_can_be_planned_without_its_data(path, tmp_path):
    run = planned_run(config_of(path.stem, tmp_path), None, "tpu")
    assert run.plan().total > 0 and run.unit == "images"
    assert run.task.model.dtype == jnp.bfloat16
    assert not any(tmp_path.iterdir())


def test_steps_and_figures_of_the_paper_are_those_of_the_whole_data_set(tmp_path):
    run = planned_run(config_of("mixer_b16_imagenet21k", tmp_path), None, "tpu")
    assert run.plan().total == round(300 * (14_197_122 - 51_200) / 4096)
    assert run.paper.examples_per_core_second == 1384 and run.paper.core_days == 150


@pytest.mark.parametrize(("field", "value"), [("data.image_size", 448), ("model.num_blocks", 1)])
def test_a_model_that_the_paper_has_not_measured_is_not_set_beside_it(tmp_path, field, value):
    config = config_of("mixer_b16_imagenet21k", tmp_path)
    config.update_from_flattened_dict({field: value})
    paper = planned_run(config, None, "tpu").paper
    assert paper.core_days is None and paper.examples_per_core_second is None


@pytest.mark.parametrize(
    ("name", "train", "evaluation"),
    [
        ("mixer_digits", (8, 8, 3), (8, 8, 3)),  # In memory; views are made on the device.
        ("mixer_b16_cifar10", (32, 32, 3), (32, 32, 3)),
        ("mixer_cifar10_strong", (32, 32, 3), (32, 32, 3)),
        ("mixer_b16_pets", (224, 224, 3), (224, 224, 3)),  # Photographs, cut by the host.
    ],
)
def test_pictures_arrive_as_they_do_in_a_run(name, train, evaluation, tmp_path):
    run, mesh = planned_run(config_of(name, tmp_path), None, "tpu"), make_mesh()
    batch, size = run.train_batch(mesh), run.settings.train.global_batch_size
    assert batch["image"].shape == (size, *train) and batch["image"].dtype == jnp.uint8
    assert batch["label"].shape == (size,)
    batch = run.eval_batch(mesh)
    assert batch["image"].shape[1:] == evaluation and batch["mask"].dtype == jnp.float32


def test_a_policy_needs_pictures_of_the_models_size(tmp_path):
    config = config_of("mixer_b16_cifar10", tmp_path)
    config.augment.policy = "randaugment"
    assert planned_run(config, None, "tpu").train_example["image"].shape == (224, 224, 3)


def test_a_data_set_that_is_here_tells_its_own_sizes(data_dir):
    Digits(data_dir=data_dir, file_format="array_record").download_and_prepare()
    assert find_dataset("digits", data_dir) == KNOWN["digits"]
    assert KNOWN["synthetic"].sizes == synthetic.SIZES


def test_of_an_unknown_data_set_flags_must_tell_the_figures(tmp_path):
    config = config_of("mixer_b16_imagenet_scratch", tmp_path)
    config.data.name = "unheard_of"
    with pytest.raises(UserError, match="unheard_of .*--num_examples .*--config.model.num_classes"):
        planned_run(config, 1000, "tpu")
    config.model.num_classes = 7
    run = planned_run(config, 5_000_000, "tpu")
    assert run.num_examples == 5_000_000 and run.task.spec.num_classes == 7


@pytest.mark.parametrize(
    ("name", "field", "split", "message"),
    [
        ("imagenet21k", "train_split", "train[:99%]", r"has full \(14,197,122\).*'full\[:98%\]'"),
        ("cifar10", "eval_splits.test", "validation", r"has train \(50,000\), test \(10,000\)"),
        ("digits", "train_split", "train[95", "has train"),
        ("digits", "eval_splits.test", "", "has train"),
    ],
)
def test_a_split_that_the_data_set_does_not_have_is_refused(name, field, split, message, tmp_path):
    config = config_of("mixer_digits", tmp_path)
    config.update_from_flattened_dict({"data.name": name, f"data.{field}": split})
    with pytest.raises(UserError, match=rf"^config.data.{field}: {name} has no split .*{message}"):
        planned_run(config, None, "tpu")
    with pytest.raises(UserError, match="has no split"):
        planned_run(config, 1000, "tpu")


def test_an_empty_split_is_refused(tmp_path):
    config = config_of("mixer_digits", tmp_path)
    config.data.eval_splits.test = "test[:0%]"
    with pytest.raises(UserError, match="config.data.eval_splits.test: .* holds no example"):
        planned_run(config, None, "tpu")


@pytest.mark.parametrize(("platform", "dtype"), [("cpu", "float32"), ("gpu", "bfloat16")])
def test_the_type_is_that_of_the_devices_to_plan_for(platform, dtype, tmp_path):
    run = planned_run(config_of("mixer_digits", tmp_path), None, platform)
    assert run.settings.train.compute_dtype == dtype == run.task.model.dtype.name
