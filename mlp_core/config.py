"""Experiment settings: parses a config file's ConfigDict into frozen, validated dataclasses.

Every range and choice is declared on its field, so that an invalid value is reported before
anything is downloaded or compiled. Defaults are in `configs/run_fields.py`.
"""

import difflib
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from ml_collections import ConfigDict
from pydantic import Field
from pydantic.dataclasses import dataclass

from mlp_core.errors import UserError

T = TypeVar("T")

frozen_settings = dataclass(
    frozen=True, kw_only=True, config=pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)
)

MOST_STEPS = 2**31 - 1  # Steps are counted in 32 bits on the device.
MOST_BLOCKS = 1000  # Deeper than any model, yet checked in seconds.
PositiveInt = Annotated[int, Field(gt=0, lt=2**31)]
NumBlocks = Annotated[int, Field(gt=0, le=MOST_BLOCKS)]
NonNegativeInt = Annotated[int, Field(ge=0, lt=2**31)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


@frozen_settings
class Duration:
    """A training duration in optimizer steps, epochs or examples."""

    amount: Annotated[float, Field(ge=0, le=1e12)]
    unit: Literal["steps", "epochs", "examples"]

    @classmethod
    def parse(cls, text: str | int) -> "Duration":
        """Reads "10000 steps", "30 epochs", "50000 examples"; a bare number means steps."""
        words = str(text).split()
        amount, unit = words if len(words) == 2 else (words[0] if words else "", "steps")
        unit = unit if unit.endswith("s") else unit + "s"
        try:
            return cls(amount=float(amount), unit=unit)
        except ValueError as error:
            raise ValueError(
                f"{str(text)!r} is no duration; write it as '10000 steps', '30 epochs' or "
                "'50000 examples'"
            ) from error

    def steps(self, num_examples: int, global_batch_size: int) -> int:
        """Converts to optimizer steps; a non-zero duration is at least one step."""
        examples = {
            "steps": self.amount * global_batch_size,
            "epochs": self.amount * num_examples,
            "examples": self.amount,
        }[self.unit]
        return max(round(examples / global_batch_size), 1 if self.amount > 0 else 0)


def _or_text(settings_class: type) -> Any:
    """The type of a field that also accepts text, which `settings_class.parse` reads."""

    def parsed(value: Any) -> Any:
        return value if isinstance(value, settings_class) else settings_class.parse(value)

    return Annotated[settings_class, pydantic.BeforeValidator(parsed)]


AnyDuration = _or_text(Duration)


def _more_than_nothing(duration: Duration) -> Duration:
    if duration.amount == 0:
        raise ValueError("there is nothing to train; make it at least '1 step'")
    return duration


@frozen_settings
class RateFactor:
    """Learning-rate multiplier of some parameters; 0 freezes them."""

    pattern: str  # Regular expression on their whole names.
    factor: NonNegativeFloat

    @classmethod
    def parse(cls, text: str) -> "RateFactor":
        """Reads "encoder/.*=0.1"."""
        pattern, equals, factor = str(text).rpartition("=")
        try:
            re.compile(pattern)
            return cls(pattern=pattern, factor=float(factor) if equals else math.nan)
        except (ValueError, re.error) as error:
            raise ValueError(
                f"{str(text)!r} is no rate factor; write it as 'PATTERN=FACTOR', a regular "
                "expression on parameter names and a number of 0 or more"
            ) from error


AnyRateFactor = _or_text(RateFactor)


@frozen_settings
class ShardingRule:
    """Sharding of parameters: a keyword, or a mesh axis for each dimension."""

    pattern: str  # Regular expression on their whole names.
    placement: Literal["replicated", "fsdp"] | tuple[Literal["data", "model"] | None, ...]

    @classmethod
    def parse(cls, text: str) -> "ShardingRule":
        """Reads ".*/kernel=fsdp" or "head/kernel=-,model"."""
        pattern, _, placement = str(text).rpartition("=")
        axes = tuple(None if axis == "-" else axis for axis in placement.split(","))
        try:
            re.compile(pattern)
            is_word = placement in ("replicated", "fsdp")
            return cls(pattern=pattern, placement=placement if is_word else axes)
        except (ValueError, re.error) as error:
            raise ValueError(
                f"{str(text)!r} is no sharding rule; write it as 'PATTERN=PLACEMENT', a regular "
                "expression on parameter names and replicated, fsdp, or for each dimension data, "
                "model or -, such as '-,model'"
            ) from error


AnyShardingRule = _or_text(ShardingRule)


@frozen_settings
class ShardingConfig:
    """How devices share the work and the training state."""

    model_parallel: PositiveInt
    layout: Literal["replicated", "fsdp", "tensor", "fsdp+tensor"]
    rules: tuple[AnyShardingRule, ...]


@frozen_settings
class OptimizerConfig:
    """The update rule. Weight decay is decoupled and scaled by the learning rate (AdamW)."""

    name: Literal["sgd", "adamw"]
    momentum: Fraction
    momentum_dtype: Literal["float32", "bfloat16"]
    beta1: Fraction
    beta2: Fraction
    epsilon: PositiveFloat
    weight_decay: NonNegativeFloat
    weight_decay_pattern: str
    rate_factors: tuple[AnyRateFactor, ...]
    clip_global_norm: NonNegativeFloat


@frozen_settings
class ScheduleConfig:
    """The learning rate over time: linear warm-up, then a decay to `final_learning_rate`.

    "steps" instead divides it by 10 at each fraction of the run in `decay_at`.
    """

    name: Literal["cosine", "linear", "constant", "steps"]
    peak_learning_rate: PositiveFloat
    final_learning_rate: NonNegativeFloat
    warmup: AnyDuration
    decay_at: tuple[Fraction, ...] = ()


@frozen_settings
class DataConfig:
    """How data is read."""

    num_workers: NonNegativeInt


@frozen_settings
class TrainConfig:
    """Training duration, batch size, precision and memory settings."""

    duration: Annotated[AnyDuration, pydantic.AfterValidator(_more_than_nothing)]
    global_batch_size: PositiveInt
    grad_accum_steps: PositiveInt
    compute_dtype: Literal["auto", "float32", "bfloat16"]
    ema_decay: Fraction
    scan_layers: bool
    remat: Literal["none", "blocks", "dots"]
    stall_limit: NonNegativeFloat


@frozen_settings
class EvaluationConfig:
    """When to evaluate, at which batch size, and the metric that selects the best checkpoint."""

    every: AnyDuration
    global_batch_size: PositiveInt
    best_metric: str


@frozen_settings
class CheckpointConfig:
    """When to save, and how many of the latest and the best checkpoints to keep."""

    every: AnyDuration
    keep_latest: PositiveInt
    keep_best: NonNegativeInt


@frozen_settings
class LogConfig:
    """When to write training metrics."""

    every: AnyDuration


@frozen_settings
class SweepConfig:
    """The grid of `launch/sweep.py`, and the training split of the final run with the best."""

    grid: tuple[str, ...]
    train_split: str | None


@frozen_settings
class RunConfig:
    """Settings common to all tasks; tasks add their model and data."""

    task: str
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    data: DataConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    train: TrainConfig
    sharding: ShardingConfig
    evaluation: EvaluationConfig
    checkpoint: CheckpointConfig
    log: LogConfig
    sweep: SweepConfig


def parse_config(settings_class: type[T], config: ConfigDict | Mapping[str, Any]) -> T:
    """Validates `config` against `settings_class` and returns it frozen.

    Raises:
        UserError: a field is unknown, missing or out of range; gives the full path of each.
    """
    values = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
    try:
        return pydantic.TypeAdapter(settings_class).validate_python(values)
    except pydantic.ValidationError as error:
        lines = [_describe(settings_class, problem) for problem in error.errors()]
        raise UserError("\n".join(lines)) from error


def _describe(settings_class: type, problem: Mapping[str, Any]) -> str:
    """Formats a validation error: the field, what is wrong, and valid values."""
    *parents, field = [str(part) for part in problem["loc"]]
    path = ".".join(["config", *parents, field])
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _field_names(settings_class, parents)
        close = difflib.get_close_matches(field, known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"the fields here are {sorted(known)}."
        return f"{path}: there is no such field; {hint}"
    if problem["type"] in ("missing", "missing_argument"):
        return (
            f"{path}: this field is missing; `configs/common.py`, for text "
            "`configs/text_common.py`, gives every field a value."
        )
    reason = problem["msg"].removeprefix("Value error, ")
    return f"{path}: {reason[0].lower()}{reason[1:]} (it is {problem['input']!r})."


def _field_names(settings_class: type, parents: list[str]) -> list[str]:
    for name in parents:
        settings_class = settings_class.__dataclass_fields__[name].type
    return list(settings_class.__dataclass_fields__)
