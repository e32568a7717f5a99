"""Whether a run is one of a recipe: its configuration is that of a config file.

Seed, devices, folders, and how often a run evaluates and saves are free; so is a value among those
that the config's own sweep chooses from. All else counts, the duration first of all. Of files of
text, their names and the folder they are in count.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mlp_core.nn.parameters import flatten
from mlp_core.run_folder.run_directory import NOT_OF_THE_RUN, by_field, lines_of_differences
from mlp_core.runs.grid import at_point, parse_grid

WEIGHTS = "init/weights"
RUNS = "runs"  # Where runs lie by default; each has the name of its config.
FREE = (
    *NOT_OF_THE_RUN,
    *("seed", "data/data_dir", "data/made_files_dir", "init/mirror", "train/compute_dtype"),
    *("evaluation/", "checkpoint/", "log/"),
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A config file's experiment, trained on what the paper trains on."""

    name: str
    config: ConfigDict

    @classmethod
    def of(cls, name: str, open_config: Callable[[str, str], ConfigDict]) -> "Recipe":
        """The recipe that a table names: "gmlp_mlm_c4:l36 model.gating=linear".

        `open_config` gives the experiment of a config file's name and the text behind its colon.
        """
        file, *changes = name.split(" ")
        config = open_config(*file.partition(":")[::2])
        if changes:
            config = at_point(config, parse_grid(config, changes)[0])
        return cls(name, config)

    def differences(self, config: Mapping[str, Any], metric: str) -> list[str]:
        """How a run's configuration departs from it, in lines; none for a run of the recipe.

        Of evaluations only the split of `metric` counts.
        """
        there = _values(flatten(dict(config)), metric)
        here = _values(self._final, metric)
        if self.start and Path(str(there.get(WEIGHTS))).name == self.start:
            there[WEIGHTS] = here[WEIGHTS]  # Wherever that run lies.
        for name, values in self._swept.items():
            if name in here and there.get(name) in values:
                here[name] = there[name]
        return lines_of_differences(by_field(there), by_field(here), "in the recipe")

    @property
    def start(self) -> str | None:
        """The recipe of the run that it starts from; None where it starts from no run."""
        weights = self.config.get("init", {}).get("weights")
        return Path(weights).name if weights and Path(weights).parts[0] == RUNS else None

    @functools.cached_property  # A report sets it beside every run.
    def _final(self) -> dict[str, Any]:
        """Its values by slash-separated names, of the final run where its sweep ends with one."""
        values, sweep = json.loads(json.dumps(self.config.to_dict())), self.config.sweep
        if sweep.grid and sweep.train_split:
            values["data"]["train_split"] = sweep.train_split
        return flatten(values)

    @functools.cached_property
    def _swept(self) -> dict[str, list[Any]]:
        if not self.config.sweep.grid:
            return {}
        points = parse_grid(self.config, self.config.sweep.grid)
        return {field.replace(".", "/"): [point[field] for point in points] for field in points[0]}


def _values(config: Mapping[str, Any], metric: str) -> dict[str, Any]:
    split = f"data/eval_splits/{metric.split('/')[0]}"
    are_files = config.get("data/name") is None
    return {
        name: _in_its_folder(value) if are_files and name in (split, "data/train_split") else value
        for name, value in config.items()
        if value not in (None, [])
        and not name.startswith(FREE)
        and (not name.startswith("data/eval_splits/") or name == split)
    }


def _in_its_folder(file: Any) -> Any:
    return "/".join(Path(file).parts[-2:]) if isinstance(file, str) else file
