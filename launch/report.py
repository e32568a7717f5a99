"""Sets finished runs and benchmarks beside the tables of the papers, as a page or in Markdown.

python launch/report.py
python launch/report.py --runs=/data/runs --benchmarks=benchmarks.jsonl --output=report.md

A run fills a cell only if its configuration is that of the config file that the table names, and it
has reached its end: shortened and changed runs are told by themselves, with what differs.
"""

import importlib

from absl import flags

from launch import command
from mlp_core.errors import UserError
from mlp_core.process.console import print_line

flags.adopt_module_key_flags(command)
RUNS = flags.DEFINE_string("runs", "runs", "Folder with runs and sweeps below it.")
BENCHMARKS = flags.DEFINE_string(
    "benchmarks", None, "File of the JSON lines that benchmarks/*.py have printed."
)
OUTPUT = flags.DEFINE_string("output", "report.html", "File to write, .html or .md.")


def main() -> None:
    """Writes the report."""
    # Imported here so that --help and a wrong flag are answered at once.
    import mlp_text
    import mlp_vision
    from mlp_core.process.files import check_output
    from mlp_core.reports.document import FORMS, write_report

    output = command.path_of(OUTPUT)
    runs = command.path_of(RUNS)
    benchmarks = command.path_of(BENCHMARKS) if BENCHMARKS.value else None
    check_output(output, tuple(FORMS))
    if not runs.exists():
        print_line(f"Note: --runs={runs}: there is no such folder; nothing measured is told.")
    elif not runs.is_dir():
        raise UserError(f"--runs={runs}: this is no folder; name one with runs below it.")
    for problem in write_report([mlp_vision, mlp_text], open_config, runs, benchmarks, output):
        print_line(f"Note: {problem}")
    print_line(f"Report  {output}")


def open_config(name: str, variant: str):
    """The experiment of a config file that comes with this project."""
    return importlib.import_module(f"configs.{name}").get_config(variant)


if __name__ == "__main__":
    command.run_command(main)
