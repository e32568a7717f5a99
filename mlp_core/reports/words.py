"""What a report says, in words."""

from mlp_core.reports.filled_tables import Cell, Measurement, OtherRun
from mlp_core.reports.published_tables import Column, Row
from mlp_core.run_folder.metrics import in_words

MEMORY = "†"
LEGEND = (
    "First the published figure, then, in bold, that of here: computed from the code, or the "
    "median over the runs of the whole recipe. Blank: nothing was run. "
    f"{MEMORY}: not compared with the printed paper."
)
MOST_DIFFERENCES = 6


def published(cell: Cell, decimals: int) -> str:
    """The published figure, with as many places as its column has."""
    if cell.published is None:
        return ""
    return f"{cell.published:,.{decimals}f}" + (MEMORY if cell.from_memory else "")


def here(cell: Cell) -> str:
    """That of here, to four places."""
    if cell.here is None:
        return ""
    return f"{cell.here:#.4g}" if cell.here < 1000 else f"{cell.here:,.0f}"


def measured(row: Row, column: Column, measurement: Measurement) -> str:
    """What is behind a figure: the recipe, seeds, spread, hardware and time."""
    values = measurement.values
    of_seeds = f"{values[0]:.2f}, one seed"
    if len(values) > 1:
        of_seeds = (
            f"median {measurement.median:.2f} of {len(values)} seeds, "
            f"{min(values):.2f} to {max(values):.2f}"
        )
    runs = "; ".join(f"{run.name} ({run.hardware}, {run.cost})" for run in measurement.runs)
    return f"{row.name}, {column.title}, by {measurement.recipe}: {of_seeds}. Runs: {runs}"


def outcome(other: OtherRun) -> str:
    """What a run measured, or how far it came."""
    record = other.record
    if record.results is None:
        return f"not finished; metrics up to step {record.last_step:,}"
    return in_words(record.results)


def difference(other: OtherRun) -> str:
    """Why a run fills no cell."""
    if other.nearest is None:
        return "no table is of this model and data"
    if not other.differences:
        return f"{other.nearest}: it has not reached its end"
    lines = other.differences[:MOST_DIFFERENCES]
    more = len(other.differences) - len(lines)
    return f"{other.nearest}: " + "; ".join(lines) + (f"; and {more} more" if more else "")
