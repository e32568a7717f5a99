"""Metrics as text, and on disk as JSON lines and TensorBoard events, written by host 0."""

import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from mlp_core.config import MOST_STEPS
from mlp_core.process.files import parse_json, write_whole

PLAIN = ("perplexity",)  # Metrics that are not fractions.


def in_words(results: Mapping[str, float]) -> str:
    """Formats the scores of an evaluation, without its losses."""
    scores = {name: value for name, value in results.items() if not name.endswith("loss")}
    return ", ".join(f"{name} {value_in_words(name, value)}" for name, value in scores.items())


def spread_in_words(runs: Sequence[Mapping[str, float]]) -> str:
    """Formats the scores of several runs: "test/top1 98.60 % (98.10 % to 99.20 %)"."""
    names = [name for name in runs[0] if not name.endswith("loss")]
    spreads = [(name, *median_and_range(name, [run[name] for run in runs])) for name in names]
    return ", ".join(f"{name} {median} ({spread})" for name, median, spread in spreads)


def median_and_range(metric: str, values: Sequence[float]) -> tuple[str, str]:
    """Formats the median of a metric's values, and their range: "98.10 % to 99.20 %"."""
    median, lowest, highest = (
        value_in_words(metric, of(values)) for of in (statistics.median, min, max)
    )
    return median, f"{lowest} to {highest}"


def value_in_words(metric: str, value: float) -> str:
    """Formats a metric such as `test/top1`: accuracies in percent, perplexities as numbers."""
    return f"{value:.2f}" if metric.endswith(PLAIN) else f"{100 * value:.2f} %"


class MetricWriter:
    """Appends to a JSON-lines file and to a directory of TensorBoard events."""

    def __init__(self, jsonl: Path, tensorboard: Path, first_step: int):
        """Opens the files and drops what a killed run wrote past `first_step`.

        A run that starts at step 0 keeps nothing.
        """
        last_kept = first_step if first_step > 0 else -1
        self._writes = jax.process_index() == 0
        if self._writes:
            self._file = _reopen(jsonl, last_kept)
            tensorboard.mkdir(parents=True, exist_ok=True)
            # tensorboardX's SummaryWriter writes in its own thread, and blocks forever if that
            # thread has died on a full disk.
            self._events = EventsWriter(str(tensorboard / "events"))
            self._write_event(last_kept + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Writes one line and one event; what is on disk survives a kill."""
        if not self._writes:
            return
        rounded = {name: float(f"{value:.6g}") for name, value in metrics.items()}
        self._file.write(json.dumps({"step": step} | rounded) + "\n")
        self._file.flush()
        self._write_event(
            step,
            summary=Summary(
                value=[
                    Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()
                ]
            ),
        )
        self._events.flush()

    def close(self) -> None:
        """Flushes the events."""
        if self._writes:
            self._file.close()
            self._events.close()

    def _write_event(self, step: int, **content: Summary | SessionLog) -> None:
        self._events.write_event(Event(step=step, wall_time=time.time(), **content))


def read_metrics(jsonl: Path) -> list[dict[str, float]]:
    """Reads the records of a metrics file; skips truncated or foreign lines and values."""
    lines = jsonl.read_text(errors="replace").splitlines() if jsonl.exists() else []
    records = []
    for line in lines:
        try:
            record = parse_json(line)
        except ValueError:
            continue
        if isinstance(record, dict) and _is_step(record.get("step")):
            records.append({n: value for n, value in record.items() if _is_number(value)})
    return records


def latest_metrics(jsonl: Path) -> dict[str, float]:
    """Returns the last value written of every metric."""
    return {name: value for record in read_metrics(jsonl) for name, value in record.items()}


def _is_step(value: object) -> bool:
    return type(value) is int and 0 <= value <= MOST_STEPS


def _is_number(value: object) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < sys.maxsize)


def _reopen(jsonl: Path, last_step: int):
    """Removes steps past `last_step` from the file and opens it for appending."""
    kept = [record for record in read_metrics(jsonl) if record["step"] <= last_step]
    write_whole(jsonl, "".join(json.dumps(record) + "\n" for record in kept))
    return jsonl.open("a")
