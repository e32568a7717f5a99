"""What a report reads: folders of runs, without their checkpoints, and lines of benchmarks."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlp_core.errors import UserError
from mlp_core.process.files import parse_json, read_text
from mlp_core.run_folder.metrics import latest_metrics
from mlp_core.run_folder.run_directory import (
    RunFiles,
    hardware_in_words,
    read_config,
    read_environments,
    read_finished_results,
)

HOURS_A_DAY = 24


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


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """A run."""

    name: str  # Its folder, seen from the folder of all runs.
    config: Mapping[str, Any]
    results: Mapping[str, float] | None  # The last evaluation; None: it has not reached its end.
    last_step: int  # That metrics tell of.
    environments: list[dict[str, Any]]  # What it ran on, in order; none: older than such notes.
    device_days: float | None  # Of training, without evaluations; over all parts of the run.

    @property
    def hardware(self) -> str:
        """In words: "8 x TPU v3"."""
        return hardware_in_words(self.environments) or "hardware not recorded"

    @property
    def cost(self) -> str:
        """How long it trained, in words."""
        if self.device_days is None:
            return "time not recorded"
        return f"{HOURS_A_DAY * self.device_days:.3g} device-hours of training"


def read_runs(root: Path) -> tuple[list[RunRecord], list[str]]:
    """All runs below `root`, and a sentence for each that cannot be read."""
    records, problems = [], []
    for file in sorted(root.rglob(RunFiles.of(root).config.name)):
        try:
            records.append(_read_run(file.parent, root))
        except UserError as error:
            problems.append(f"{file.parent.relative_to(root)} is left out: {error}")
    return records, problems


def _read_run(workdir: Path, root: Path) -> RunRecord:
    config, results = read_config(workdir), read_finished_results(workdir)
    if not all(isinstance(config.get(group), dict) for group in ("data", "model", "train")):
        raise UserError(f"{RunFiles.of(workdir).config}: no configuration of a run.")
    if not all(_is_number(value) for value in (results or {}).values()):
        raise UserError(f"{RunFiles.of(workdir).results}: results that are no numbers.")
    metrics = latest_metrics(RunFiles.of(workdir).metrics)
    days = metrics.get("train/device_days")
    return RunRecord(
        name=str(workdir.relative_to(root)),
        config=config,
        results=results,
        last_step=metrics.get("step", 0),
        environments=read_environments(workdir),
        device_days=days if _is_number(days) else None,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
