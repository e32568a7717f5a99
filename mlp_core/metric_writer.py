"""Metrics on disk: JSON lines and TensorBoard events, written by the first host."""

import json
from pathlib import Path

import jax
from tensorboardX import SummaryWriter


class MetricWriter:
    """Appends to a file of JSON lines and to a folder of TensorBoard events."""

    def __init__(self, jsonl: Path, tensorboard: Path, first_step: int):
        """Opens the files; what a killed run wrote past `first_step` is dropped first."""
        self._writes = jax.process_index() == 0
        if self._writes:
            self._file = _reopen(jsonl, first_step)
            self._events = SummaryWriter(str(tensorboard), purge_step=first_step + 1)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Writes one line and one event a metric; what is on disk survives a kill."""
        if not self._writes:
            return
        rounded = {name: float(f"{value:.6g}") for name, value in metrics.items()}
        self._file.write(json.dumps({"step": step} | rounded) + "\n")
        self._file.flush()
        for name, value in metrics.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes the events."""
        if self._writes:
            self._file.close()
            self._events.close()


def read_metrics(jsonl: Path) -> list[dict[str, float]]:
    """The lines of a metrics file; a half-written last line is left out."""
    lines = jsonl.read_text().splitlines() if jsonl.exists() else []
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def latest_metrics(jsonl: Path) -> dict[str, float]:
    """The last value written of every metric."""
    return {name: value for record in read_metrics(jsonl) for name, value in record.items()}


def _reopen(jsonl: Path, last_step: int):
    """Opens the file for appending after rewriting it without steps past `last_step`."""
    kept = [record for record in read_metrics(jsonl) if record["step"] <= last_step]
    rewritten = jsonl.with_suffix(".tmp")
    rewritten.write_text("".join(json.dumps(record) + "\n" for record in kept))
    rewritten.replace(jsonl)
    return jsonl.open("a")
