"""Lines that benchmarks/*.py have printed, one JSON object each."""

import json
from pathlib import Path
from typing import Any

from mlp_core.errors import UserError
from mlp_core.process.small_files import parse_json, read_text


def read_benchmarks(file: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The reports in a file, and a sentence for each line that looks like one and is none.

    Other lines, which a benchmark may print besides, are passed over.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        lines = read_text(file).splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--benchmarks={file}: cannot be read ({reason}).") from error
    reports, problems = [], []
    for number, line in enumerate(lines, 1):
        if not line.startswith("{"):
            continue
        try:
            report = parse_json(line)
        except ValueError as error:
            problems.append(f"{file}, line {number}, is left out: no JSON ({error})")
            continue
        parts = (report.get("figures"), report.get("sizes", {}))
        if "benchmark" in report and all(isinstance(part, dict) for part in parts):
            reports.append(report)
        else:
            problems.append(f"{file}, line {number}, is left out: no benchmark's line")
    return reports, problems


def benchmark_row(report: dict[str, Any]) -> list[str]:
    """Name, figures, sizes and hardware, in words."""
    kind, devices = report.get("device_kind", "?"), report.get("devices", "?")
    hardware = f"{devices} x {kind}, {report.get('cpus', '?')} CPU cores, JAX {report.get('jax')}"
    return [
        str(report["benchmark"]),
        _in_words(report["figures"]),
        _in_words(report.get("sizes") or {}),
        hardware,
    ]


def _in_words(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in values.items()
    )
