"""A record of a run's training and evaluation data, kept as `data.json` in its directory.

Batches are a pure function of the seed, the step and the data. If the data of a run change, so do
its order of examples, its length and its schedule: it no longer matches its configuration. The
record holds a digest of each split. It contains no paths, so data keep their record when moved.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import jax
import pydantic
from ml_collections import ConfigDict

from mlp_core.config import frozen_settings
from mlp_core.data.sources import digest_of
from mlp_core.distributed.agreement import agree
from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_core.process.files import read_text
from mlp_core.run_folder.run_directory import (
    RunFiles,
    differences_in_data_fields,
    has_checkpoint,
    lines_of_differences,
)
from mlp_core.train.task import Task

FLAG = "--allow_changed_data"  # A flag of launch/main.py.
SHOWN_CHARACTERS = 12  # Characters of a digest in messages.
SHOWN_LINES = 8  # Lines of differences in messages; hundreds of classes may differ.


@frozen_settings
class SplitRecord:
    """One split: its number of examples, and a digest of their content, labels and order."""

    examples: int
    digest: str

    def __str__(self) -> str:
        """The form used in messages."""
        return f"{self.examples:,} examples, digest {self.digest[:SHOWN_CHARACTERS]}"


@frozen_settings
class DataRecord:
    """A run's splits by the configuration field that names them, its classes and tokenizer."""

    splits: dict[str, SplitRecord]
    class_names: tuple[str, ...] = ()
    tokenizer: str | None = None  # A digest; None for images.

    @classmethod
    def of(
        cls, task: Task, class_names: Sequence[str] = (), tokenizer: str | None = None
    ) -> "DataRecord":
        """Returns the record of the data of `task`; `tokenizer` is its JSON text.

        Reads all examples that are in memory, and a sample of the others.
        """
        sources = {"config.data.train_split": task.train_source} | {
            f"config.data.eval_splits.{name}": source for name, source in task.eval_sources.items()
        }
        splits = {
            field: SplitRecord(examples=len(source), digest=source.digest())
            for field, source in sources.items()
        }
        record = cls(splits=splits, class_names=tuple(class_names))
        return record.with_tokenizer(tokenizer) if tokenizer else record

    def with_tokenizer(self, text: str) -> "DataRecord":
        """Returns the same record with a tokenizer, given as its JSON text."""
        return dataclasses.replace(self, tokenizer=digest_of([text.encode()]))

    @classmethod
    def from_json(cls, text: str) -> "DataRecord":
        """Parses the output of `to_json`; raises ValueError for any other text."""
        return pydantic.TypeAdapter(cls).validate_json(text)

    def to_json(self) -> str:
        """Returns the content of `data.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def differences_from(self, there: "DataRecord", here: str) -> list[str]:
        """Returns lines that describe how this record differs from `there`; see `_by_name`.

        Each ends in `here`, such as "now".
        """
        lines = lines_of_differences(there._by_name(), self._by_name(), here)
        left_out = len(lines) - SHOWN_LINES
        return lines[:SHOWN_LINES] + ([f"and {left_out:,} more"] if left_out > 0 else [])

    def _by_name(self) -> dict[str, str]:
        """Returns all parts of the record as text, by their name in messages."""
        splits = {field: str(split) for field, split in self.splits.items()}
        classes = {f"name of class {i}": name for i, name in enumerate(self.class_names)}
        digest = self.tokenizer and self.tokenizer[:SHOWN_CHARACTERS]
        return splits | classes | ({"digest of the tokenizer": digest} if digest else {})


def check_same_data(
    workdir: Path, record: DataRecord, config: ConfigDict, allow_changes: bool
) -> None:
    """Refuses to resume the run in `workdir` on other data than it was started on.

    A run without a record, from an earlier version, is resumed.

    Args:
      workdir: the directory of the run.
      record: the record of the current data.
      config: the current configuration.
      allow_changes: prints the differences instead.

    Raises:
        UserError: the data differ, or the saved record cannot be read.
    """
    file = RunFiles.of(workdir).data
    if not has_checkpoint(workdir) or not file.exists():
        return
    try:
        there = DataRecord.from_json(read_text(file))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file}: this record of the run's data is damaged; delete it to resume the run "
            "without comparing its data."
        ) from error
    differences = record.differences_from(there, "now")
    if not differences:
        return
    listed = "\n  ".join([*differences, *differences_in_data_fields(workdir, config)])
    if not allow_changes:
        raise UserError(
            f"--workdir={workdir}: the data are not those on which the run there was started; "
            f"restore them, name another --workdir, or resume it on these with {FLAG}:\n  {listed}"
        )
    say(f"Note: this run resumes on other data than it was started on ({FLAG}):\n  {listed}")


def check_same_data_on_all_hosts(record: DataRecord, total_steps: int) -> None:
    """Checks that all hosts have the same data and number of steps as host 0.

    Raises:
        UserError: names what differs on some host; the same on all hosts.
    """

    def objection(first: str) -> str:
        steps, text = json.loads(first)
        lines = lines_of_differences({"steps": steps}, {"steps": total_steps}, "here")
        lines += record.differences_from(DataRecord.from_json(text), "here")
        head = (
            f"host {jax.process_index()} (here) sees other data than host 0 (there); give all "
            "hosts the same data:"
        )
        return "\n  ".join([head, *lines]) if lines else ""

    agree("data", json.dumps([total_steps, record.to_json()]), objection)
