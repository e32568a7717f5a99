import pytest

from configs import common
from mlp_core.config import Duration, parse_config
from mlp_core.errors import UserError
from mlp_vision.tasks.config import ImageClassificationConfig


def parse(**changes):
    config = common.get_config().to_dict()
    for path, value in changes.items():
        *groups, field = path.split("__")
        target = config
        for group in groups:
            target = target[group]
        target[field] = value
    return parse_config(ImageClassificationConfig, config)


def test_defaults_are_valid_and_frozen():
    settings = parse()
    assert settings.optimizer.momentum == 0.9
    with pytest.raises(AttributeError):
        settings.optimizer.momentum = 0.5


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("optimizer__momentun", 1.0, "config.optimizer.momentun: .* did you mean 'momentum'"),
        ("optimiser", {}, "config.optimiser: there is no such field"),
        ("optimizer__momentum", 1.5, "config.optimizer.momentum: .*less than 1.* 1.5"),
        ("optimizer__name", "lion", "config.optimizer.name: .*'sgd' or 'adamw'.*lion"),
        ("train__global_batch_size", 0, "config.train.global_batch_size: .*greater than 0"),
        ("train__duration", "ten epochs", "config.train.duration: 'ten epochs' is no duration"),
        ("train__duration", "-1 epochs", "config.train.duration: '-1 epochs' is no duration"),
        ("train__duration", "0 steps", "config.train.duration: there is nothing to train"),
        ("train__duration", "1e99 epochs", "config.train.duration: '1e99 epochs' is no duration"),
        ("train__duration", "3 weeks", "config.train.duration: '3 weeks' is no duration"),
        ("schedule__peak_learning_rate", float("nan"), "config.schedule.peak_learning_rate: .*fin"),
        ("augment__crop_min_area", 1.1, "config.augment.crop_min_area: .*less than or equal to 1"),
        ("optimizer__rate_factors", ("head", ".*=1"), "rate_factors.0: 'head' is no rate factor"),
        ("optimizer__rate_factors", ("1",), "rate_factors.0: '1' is no rate factor"),
        ("data__num_workers", 2**31, "config.data.num_workers: .*less than 2147483648"),
        ("model__tiny_attention_dim", 10**30, "config.model.tiny_attention_dim: .*less than"),
        ("checkpoint__keep_best", 10**30, "config.checkpoint.keep_best: .*less than"),
        ("data__image_size", (16, 32), "config.data.image_size: .*integer.*[(]16, 32[)]"),
        ("optimizer__rate_factors", ("head=x",), "rate_factors.0: 'head=x' is no rate factor"),
        ("optimizer__rate_factors", ("head=-1",), "rate_factors.0: 'head=-1' is no rate factor"),
        ("optimizer__rate_factors", ("head=nan",), "rate_factors.0: 'head=nan' is no rate factor"),
        ("optimizer__rate_factors", ("(=0",), "rate_factors.0: '[(]=0' is no rate factor"),
        ("data__eval_preset", "centre", "config.data.eval_preset: .*resmall_crop"),
        ("data__value_range", (0.0,), "config.data.value_range.1: this field is missing"),
    ],
)
def test_wrong_fields_and_values_are_named(path, value, message):
    with pytest.raises(UserError, match=message):
        parse(**{path: value})


def test_every_mistake_is_told_at_once():
    with pytest.raises(UserError) as error:
        parse(optimizer__momentum=2.0, seed=-1)
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    "text, steps",
    [("100 steps", 100), ("100", 100), (7, 7), ("2 epochs", 20), ("1 epoch", 10), ("0.5 epochs", 5),
     ("320 examples", 10), ("1 example", 1), ("0 steps", 0), ("0 epochs", 0)],
)  # fmt: skip
def test_durations_become_steps(text, steps):
    assert Duration.parse(text).steps(num_examples=320, global_batch_size=32) == steps
