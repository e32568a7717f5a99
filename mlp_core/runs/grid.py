"""Grids of settings: parses "optimizer.momentum=0.8,0.9" to points, directories and configs."""

import copy
import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from mlp_core.errors import UserError
from mlp_core.urls import masked, without_secrets

Point = dict[str, Any]  # Full field name, such as schedule.warmup: value.

READERS = {float: float, int: int, str: str, bool: flags.BooleanParser().parse}
LONGEST_NAME = 99  # Characters of a directory name.
_NOT_PORTABLE = re.compile(r"[^A-Za-z0-9._=-]+")
_DURATION = re.compile(r"[0-9.]+ [a-z]+")
_BETWEEN_FIELDS = re.compile(r",|__(?=[\w.]+=)")  # Earlier versions used a comma in names.
_NOT_IN_EARLIER_NAMES = re.compile(r"[^-\w.:%+\[\]]+")


def parse_grid(config: ConfigDict, entries: Sequence[str], flag: str = "--grid") -> list[Point]:
    """Returns the product of all entries, each "FIELD=VALUE,VALUE,...", in their order.

    A value is parsed as the type of the field in `config`. Equal values count once. Error messages
    name the `flag` that the entries come from.

    Raises:
        UserError: an entry is malformed, or names a field that cannot be swept.
    """
    if not entries:
        raise UserError(
            "--grid: nothing to sweep, and config.sweep.grid is empty; name values such as "
            "--grid=schedule.peak_learning_rate=0.003,0.01."
        )
    axes: dict[str, list[Any]] = {}
    for entry in entries:
        where, (field, _, texts) = f"{flag}={entry}", entry.partition("=")
        if field in axes:
            raise UserError(f"{where}: {field} has values already; list them all at once.")
        kind = _kind(config, field, where)
        axes[field] = list(dict.fromkeys(_read(text, kind, where) for text in texts.split(",")))
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    if len({folder_name(point) for point in points}) < len(points):
        raise UserError(f"{flag}: two values have one directory name; sweep them one by one.")
    return points


def describe(point: Mapping[str, Any]) -> str:
    """Formats a point in one line: "schedule.warmup=10 steps, seed=1"."""
    return masked(", ".join(f"{field}={value}" for field, value in point.items()))


def folder_name(point: Mapping[str, Any]) -> str:
    """Returns a point's directory name: "schedule.warmup=10_steps__seed=1"; see `portable_name`."""
    return portable_name("__".join(f"{f}={_in_name(value)}" for f, value in point.items()))


def portable_name(text: str) -> str:
    """Returns a directory name for `text`: at most 99 characters, letters, digits or any of ._=-

    Other characters become an underscore. Eight digits of the SHA-256 of `text` follow if
    characters were replaced or cut off, so that different texts have different names.
    """
    name = _NOT_PORTABLE.sub("_", text).lstrip(".-")
    if name == text and len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - len(digest) - 1]}-{digest}"


def earlier_folder_name(point: Mapping[str, Any]) -> str:
    """Returns the directory name of a point in earlier versions."""
    return ",".join(
        f"{field}={_NOT_IN_EARLIER_NAMES.sub('_', str(value))}" for field, value in point.items()
    )


def fields_of(name: str) -> list[str]:
    """Returns the fields in a point's directory name; empty for any other name."""
    parts = [part.partition("=") for part in _BETWEEN_FIELDS.split(name)]
    return [field for field, _, _ in parts] if all(equals for _, equals, _ in parts) else []


def _in_name(value: Any) -> str:
    """Formats a value with few special characters: "10_steps", "1e30" for 10 steps, 1e+30."""
    if isinstance(value, float):
        return str(value).replace("e+", "e")
    text = without_secrets(str(value)) if "://" in str(value) else str(value)
    return text.replace(" ", "_") if _DURATION.fullmatch(text) else text


def at_point(config: ConfigDict, point: Mapping[str, Any]) -> ConfigDict:
    """Returns a copy of `config` with the values of `point`."""
    changed = copy.deepcopy(config)
    for field, value in point.items():
        *groups, name = field.split(".")
        group = changed
        for part in groups:
            group = group[part]
        group[name] = value
    return changed


def value_at(config: Mapping[str, Any], field: str) -> Any:
    """Returns the value of a field such as "schedule.warmup".

    Raises:
        KeyError: the field does not exist.
    """
    for part in field.split("."):
        config = config[part]
    return config


def _kind(config: ConfigDict, field: str, where: str) -> type:
    """Returns the type of `field` after checking that it can be swept."""
    *groups, name = field.split(".")
    group = config
    for part in groups:
        group = group.get(part) if isinstance(group, ConfigDict) else None
    if not isinstance(group, ConfigDict) or name not in group:
        raise UserError(
            f"{where}: there is no field {field!r}; write FIELD=VALUE,VALUE, with a field "
            "of the config such as schedule.peak_learning_rate."
        )
    kind = group.get_type(name)
    if kind not in READERS or groups[:1] == ["sweep"]:
        raise UserError(f"{where}: {field} cannot be swept; set it with --config.{field}.")
    return kind


def _read(text: str, kind: type, where: str) -> Any:
    try:
        if text.strip():
            return READERS[kind](text.strip())
    except ValueError:
        pass
    raise UserError(f"{where}: {text!r} is no {kind.__name__}.")
