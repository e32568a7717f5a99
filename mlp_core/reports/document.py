"""A report from folders to file."""

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

from mlp_core.process.console import escaped
from mlp_core.process.files import write_whole
from mlp_core.reports.filled_tables import fill, other_runs
from mlp_core.reports.html_page import html_page
from mlp_core.reports.markdown import markdown
from mlp_core.reports.published_tables import FOLDER, read_table
from mlp_core.reports.recipes import Recipe
from mlp_core.reports.runs import read_benchmarks, read_runs
from mlp_core.reports.sections import Section, sections

FORMS: Mapping[str, Callable[[Sequence[Section]], str]] = {".html": html_page, ".md": markdown}


def write_report(
    packages: Sequence[ModuleType],
    open_config: Callable[[str, str], ConfigDict],
    runs: Path,
    benchmarks: Path | None,
    output: Path,
) -> list[str]:
    """Writes the report; returns a sentence for each thing that was left out.

    Args:
      packages: those with a folder of published tables and `models.registry.model_costs`.
      open_config: the experiment of a config file's name and the text behind its colon.
      runs: the folder with runs below it; it may be missing.
      benchmarks: a file of lines that benchmarks printed.
      output: the file to write, of one of `FORMS`.

    Raises:
        UserError: a file of tables or benchmarks cannot be read.
    """
    records, problems = read_runs(runs)
    reports, bad_lines = read_benchmarks(benchmarks) if benchmarks else ([], [])

    @functools.cache
    def open_recipe(name: str) -> Recipe:
        return Recipe.of(name, open_config)

    tables = []
    for package in packages:
        model_costs = importlib.import_module(f"{package.__name__}.models.registry").model_costs
        for file in sorted((Path(package.__file__).parent / FOLDER).glob("*.json")):
            tables.append(fill(read_table(file), records, open_recipe, model_costs))
    problems += bad_lines
    others = other_runs(tables, records, open_recipe)
    text = FORMS[output.suffix](sections(tables, others, reports, problems))
    write_whole(output, escaped(text))
    return problems
