"""What the benchmarks share: summaries of repetitions, and the JSON line each one prints."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import jax


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median and range of repetitions, to four significant digits."""
    figures = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def print_report(benchmark: str, figures: Mapping[str, Any], sizes: Mapping[str, Any]) -> None:
    """Prints figures, sizes and what they were measured on as one line of JSON."""
    devices = jax.devices()
    report = {
        "benchmark": benchmark,
        "figures": figures,
        "sizes": sizes,
        "device_kind": devices[0].device_kind,
        "devices": len(devices),
        "cpus": os.cpu_count(),
        "jax": jax.__version__,
        "python": platform.python_version(),
    }
    print(json.dumps(report))
