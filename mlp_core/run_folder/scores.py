"""Metrics as people read them: "test/top1 99.17 %", "validation/perplexity 12.34"."""

import statistics
from collections.abc import Mapping, Sequence

PLAIN = ("perplexity",)  # Metrics that are no part of a whole.


def in_words(results: Mapping[str, float]) -> str:
    """The scores of an evaluation, without its losses."""
    scores = {name: value for name, value in results.items() if not name.endswith("loss")}
    return ", ".join(f"{name} {value_in_words(name, value)}" for name, value in scores.items())


def spread_in_words(runs: Sequence[Mapping[str, float]]) -> str:
    """The scores of runs that measured the same: "test/top1 98.60 % (98.10 % to 99.20 %)"."""
    names = [name for name in runs[0] if not name.endswith("loss")]
    spreads = [(name, *median_and_range(name, [run[name] for run in runs])) for name in names]
    return ", ".join(f"{name} {median} ({spread})" for name, median, spread in spreads)


def median_and_range(metric: str, values: Sequence[float]) -> tuple[str, str]:
    """The median of a metric's values, and the lowest and the highest: "98.10 % to 99.20 %"."""
    median, lowest, highest = (
        value_in_words(metric, of(values)) for of in (statistics.median, min, max)
    )
    return median, f"{lowest} to {highest}"


def value_in_words(metric: str, value: float) -> str:
    """The value of a metric such as `test/top1`: accuracies in percent, perplexities as such."""
    return f"{value:.2f}" if metric.endswith(PLAIN) else f"{100 * value:.2f} %"
