"""A plan in figures, by parts of the model, in words, and as a table in Markdown."""

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax

from mlp_core.nn.parameters import count
from mlp_core.planning.chips import GIB, MIB, Chip
from mlp_core.planning.planned_run import PlannedRun
from mlp_core.planning.planner import EVALUATION, TRAIN, Trial
from mlp_core.planning.step_cost import StepCost
from mlp_core.runs.grid import describe as describe_point
from mlp_core.runs.tables import markdown_head, markdown_row

DEPTH = 3  # Modules within one another that are told apart.
OTHER, LOOP = "other", "arrays that a loop carries"

_WRAPPED = re.compile(r"(\w+)\((.*)\)")
_STRUCTURE = re.compile(
    r"|while|body|cond|closed_call|core_call|eval_jaxpr|remat\d*|checkpoint|"
    r"rematted_computation|shard_map|"
    r"branch_\d+_fun|custom_[jv][jv]p_call\w*|"
    r"\w+\.\w+|"  # A method of a module: Flax's transforms.
    r".*->.*"  # An einsum.
)
_MODEL = re.compile(r"[A-Z][A-Za-z]*(?<!Blocks)")  # The outermost module has no number.
_BLOCK = re.compile(r"(\w*Block)_\d+")
COSTLIEST = 12  # Parts that are told.
SECONDS_A_DAY = 86_400
TITLES = {TRAIN: "Training step", EVALUATION: "Evaluation step"}


def part_of(op_name: str) -> tuple[str, str]:
    """The part and the phase of an operation: ("MixerBlock_*/token_mixing/Dense_0", "backward").

    Blocks count as one. The phase is empty outside the model and its derivative.
    """
    *components, _ = op_name.removeprefix("(").partition(":")[0].split("/")  # Of several, one.
    phase, path, is_loops_own = "", [], False
    for component in components:
        if component == "rematted_computation":
            phase = "recomputed"
        is_loops_own |= component == "while"
        component, functions = _unwrapped(component)
        if "transpose" in functions:
            phase = "backward"
        elif "jvp" in functions:
            phase = phase or "forward"
        is_model = "jvp" in functions or (not path and not phase and _MODEL.fullmatch(component))
        is_call = "jit" in functions or "pjit" in functions
        if not (is_model or is_call or _STRUCTURE.fullmatch(component)):
            path.append(_BLOCK.sub(r"\1_*", component))
            is_loops_own = False
    path = path[:DEPTH] + [LOOP] * is_loops_own
    return "/".join(path) or OTHER, phase


def _unwrapped(component: str) -> tuple[str, list[str]]:
    """`transpose(jvp(Mixer))` as `Mixer` and the functions around it."""
    functions = []
    while wrapped := _WRAPPED.fullmatch(component):
        functions.append(wrapped.group(1))
        component = wrapped.group(2)
    return component, functions


def cycles_by_part(cycles: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """Part, phase and cycles, the costliest first, from the cycles of operations by name."""
    parts: collections.Counter[tuple[str, str]] = collections.Counter()
    for op_name, number in cycles.items():
        parts[part_of(op_name)] += number
    return [(part, phase, number) for (part, phase), number in parts.most_common()]


@dataclasses.dataclass(frozen=True)
class Target:
    """The devices that a plan is for."""

    topology: str
    count: int
    device_kind: str
    compiler: str  # Its name and version.
    chip: Chip | None
    memory_limit: float | None  # Bytes of one.

    @property
    def unit(self) -> str:
        """What one is called."""
        return self.chip.unit if self.chip else "device"


def figures(trial: Trial, target: Target) -> dict[str, Any]:
    """Everything that is known of a trial, fit for JSON; bytes, seconds and rates of one device."""
    told: dict[str, Any] = {"changes": dict(trial.changes)}
    if trial.problem:
        return told | {"problem": trial.problem}
    run = trial.run
    told["parameters"] = _num_parameters(run)
    for step, cost in trial.costs.items():
        told[step] = _step_figures(run, step, cost, target)
    if TRAIN in trial.costs:
        told["run"] = _run_figures(run, told[TRAIN], target)
    return told


def _step_figures(run: PlannedRun, step: str, cost: StepCost, target: Target) -> dict[str, Any]:
    batch = getattr(run.settings, step).global_batch_size
    told = {
        "global_batch_size": batch,
        "examples": batch / target.count,
        "compile_seconds": round(cost.compile_seconds, 1),
        "memory": dict(cost.memory),
        "memory_total": cost.total_memory,
        "memory_limit": target.memory_limit,
        "fits": cost.fits,
        "flops": cost.flops,
    }
    seconds = cost.seconds(target.chip)
    if cost.program:
        told["bytes_sent"] = dict(cost.program.bytes_sent)
        told["uncounted_loops"] = cost.program.uncounted_loops
    if seconds:
        parts = cycles_by_part(cost.program.cycles)
        told |= {
            "cycles": cost.program.total_cycles,
            "seconds": seconds,
            "seconds_are_trusted": target.chip.is_trusted,
            "least_seconds": cost.least_seconds(target.chip),
            "waiting_seconds": cost.waiting_seconds(target.chip),
            "examples_per_second": batch / target.count / seconds,
            "share_of_peak": cost.share_of_peak(target.chip),
            "sending_seconds": cost.sending_seconds(target.chip),
            "costliest": [
                {"part": part, "phase": phase, "share": cycles / cost.program.total_cycles}
                for part, phase, cycles in parts[:COSTLIEST]
            ],
        }
    if step == EVALUATION:
        told["paper_examples_per_second"] = run.paper.examples_per_core_second
    return told


def _run_figures(run: PlannedRun, step: Mapping[str, Any], target: Target) -> dict[str, Any]:
    steps = run.plan().total
    told = {"steps": steps, "examples": steps * step["global_batch_size"]}
    if "seconds" in step:
        days, least = (steps * step[key] / SECONDS_A_DAY for key in ("seconds", "least_seconds"))
        told |= {"days": days, f"{target.unit}_days": days * target.count}
        told |= {"least_days": least, f"least_{target.unit}_days": least * target.count}
    return told | {"paper_core_days": run.paper.core_days}


def heading(target: Target) -> str:
    """The devices and the compiler in one line; for TPUs, a second on how far to trust times."""
    several = "s" if target.count > 1 else ""
    text = f"{target.topology}: {target.count} {target.unit}{several} of {target.device_kind}"
    if target.memory_limit:
        text += f", {_size(target.memory_limit)} each"
    if target.chip:
        text += f", {target.chip.peak_flops / 1e12:.1f} TFLOP/s, {target.chip.clock / 1e6:.0f} MHz"
    text += f"; {target.compiler}"
    if target.chip:
        text += (
            f"\nTimes by the compiler's cycles, on {target.chip.generation} {target.chip.check}."
        )
    return text


def describe(trial: Trial, target: Target) -> str:
    """A plan in words, below the `heading`."""
    told, run = figures(trial, target), trial.run
    lines = [f"{run.title}: {told['parameters']:,} parameters"]
    for step in trial.costs:
        lines += ["", *_step_lines(TITLES[step], told[step], run.unit, target)]
    if TRAIN in told:
        lines += ["", *_run_lines(told["run"], run.unit, target)]
    return "\n".join(lines)


def remedy_line(trial: Trial, target: Target) -> str:
    """What came of a change that might make a training step fit."""
    changes = describe_point(trial.changes)
    if trial.problem:
        return f"  {changes}: cannot be ({trial.problem})"
    told = figures(trial, target)[TRAIN]
    verdict = "it fits" if told["fits"] else "too much"
    text = f"  {changes}: {_size(told['memory_total'])} a {target.unit}, {verdict}"
    if "seconds" in told:
        rate = f"{told['examples_per_second']:,.1f} {trial.run.unit}/s a {target.unit}"
        text += f"; {1e3 * told['seconds']:,.1f} ms, {rate}"
    return text


def table_head(fields: Iterable[str], step: str, examples: str, target: Target) -> str:
    """The head of a table of trials that change these fields."""
    titles = [*fields, f"GiB a {target.unit}", "fits"]
    if target.chip:
        titles += ["ms", "at least", f"{examples}/s a {target.unit}", "of peak", "waiting, ms"]
        titles += ["paper, TPU v3"] if step == EVALUATION else [f"{target.unit}-days"]
    return markdown_head(titles)


def table_row(trial: Trial, step: str, target: Target) -> str:
    """The row of a trial."""
    told = figures(trial, target)
    cells = [str(value) for value in trial.changes.values()]
    nothing = [""] * 6 if target.chip else []
    if trial.problem:
        return markdown_row([*cells, "", f"no: {trial.problem}", *nothing])
    of_step = told[step]
    total = of_step["memory_total"]
    cells += [_gib(total), "yes" if of_step["fits"] else "no"]
    if "seconds" in of_step:
        rate = of_step["examples_per_second"]
        cells += [
            f"{1e3 * of_step['seconds']:,.1f}",
            f"{1e3 * of_step['least_seconds']:,.1f}",
            f"{rate:,.0f}" if rate > 100 else f"{rate:,.1f}",
            f"{of_step['share_of_peak']:.0%}",
            f"{1e3 * of_step['waiting_seconds']:,.1f}",
        ]
        if step == TRAIN:
            cells.append(_days(told["run"][f"{target.unit}_days"]))
        else:
            paper = of_step["paper_examples_per_second"]
            cells.append(f"{paper:,g}" if paper else "")
    else:
        cells += nothing
    return markdown_row(cells)


def _step_lines(
    title: str, told: Mapping[str, Any], examples: str, target: Target
) -> Iterable[str]:
    unit = target.unit
    yield (
        f"{title}: {told['global_batch_size']:,} {examples}, {told['examples']:g} a {unit}; "
        f"compiled in {told['compile_seconds']:.0f} s"
    )
    kinds = ", ".join(f"{kind} {_size(size)}" for kind, size in told["memory"].items())
    of_all = f" of {_size(told['memory_limit'])}" if told["memory_limit"] else ""
    fits = "it fits" if told["fits"] else "it does not fit"
    yield f"  memory      {_size(told['memory_total'])}{of_all} a {unit}, {fits}: {kinds}"
    yield f"  arithmetic  {told['flops'] / 1e9:,.4g} GFLOP a {unit} in matrix products"
    if "seconds" in told:
        if not told["seconds_are_trusted"]:
            yield (
                f"  at least    {1e3 * told['least_seconds']:,.1f} ms: matrix products at peak, "
                "and collectives that nothing hides"
            )
        yield (
            f"  time        {1e3 * told['seconds']:,.1f} ms by the compiler's cycles: "
            f"{told['examples_per_second']:,.1f} {examples}/s a {unit}, "
            f"{told['share_of_peak']:.0%} of peak"
        )
        if paper := told.get("paper_examples_per_second"):
            yield f"              the paper measured {paper:,g} {examples}/s a core on TPU v3"
        yield (
            f"  sending     {_size(sum(told['bytes_sent'].values()))} a {unit}: "
            f"{1e3 * told['sending_seconds']:,.1f} ms, of which nothing hides "
            f"{1e3 * told['waiting_seconds']:,.1f} ms; these are part of the time"
        )
        yield "  costliest"
        for row in told["costliest"]:
            phase = f", {row['phase']}" if row["phase"] else ""
            yield f"    {row['share']:6.1%}  {row['part']}{phase}"
    if told.get("uncounted_loops"):
        yield f"  {told['uncounted_loops']} loops are counted once; how often they run is not known"


def _run_lines(told: Mapping[str, Any], examples: str, target: Target) -> Iterable[str]:
    text = f"Whole run: {told['steps']:,} steps, {told['examples']:,} {examples}"
    if "days" in told:
        in_all = _days(told[f"{target.unit}_days"])
        text += f"; {_duration(told['days'])}, {in_all} {target.unit}-days, without evaluations"
        if not target.chip.is_trusted:
            least = _days(told[f"least_{target.unit}_days"])
            text += f"; at least {_duration(told['least_days'])}, {least} {target.unit}-days"
    yield text
    if told["paper_core_days"]:
        yield f"  the paper's took {told['paper_core_days']:,g} core-days of TPU v3"


def _num_parameters(run: PlannedRun) -> int:
    return count(jax.eval_shape(run.task.init_params, jax.random.key(0)))


def _gib(size: float) -> str:
    return f"{size / GIB:,.2f}"


def _size(size: float) -> str:
    return f"{_gib(size)} GiB" if size > GIB / 10 else f"{size / MIB:,.2f} MiB"


def _duration(days: float) -> str:
    if days < 1 / 24:
        return f"{days * 24 * 60:,.2g} minutes"
    return f"{days * 24:,.1f} hours" if days < 2 else f"{days:,.1f} days"


def _days(days: float) -> str:
    return f"{days:,.0f}" if days >= 10 else f"{days:,.2f}"
