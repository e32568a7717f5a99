"""Metrics as people read them: "test/top1 99.17 %", "validation/perplexity 12.34"."""

from collections.abc import Mapping

PLAIN = ("perplexity",)  # Metrics that are no part of a whole.


def in_words(results: Mapping[str, float]) -> str:
    """The scores of an evaluation, without its losses."""
    scores = {name: value for name, value in results.items() if not name.endswith("loss")}
    return ", ".join(f"{name} {value_in_words(name, value)}" for name, value in scores.items())


def value_in_words(metric: str, value: float) -> str:
    """The value of a metric such as `test/top1`: accuracies in percent, perplexities as such."""
    return f"{value:.2f}" if metric.endswith(PLAIN) else f"{100 * value:.2f} %"
