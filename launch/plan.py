"""Tells what a run needs and how long it takes, by compiling it for a TPU that is not there.

python launch/plan.py --config=configs/mixer_b16_imagenet21k.py --topology=v3:8x8
python launch/plan.py --config=configs/gmlp_mlm_c4.py:l144 --topology=v4:4x4x4 \\
    --config.train.scan_layers --sweep=train.remat=none,dots,blocks
python launch/plan.py --config=configs/mixer_digits.py --topology=cpu

Memory by kind, arithmetic, the compiler's estimate of the time, the costliest parts. Where training
does not fit, it tries what makes it fit. Nothing is downloaded.
"""

import json

from absl import flags

from launch import command, config_flag, experiments
from mlp_core.process.files import write_whole

flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(config_flag)
TOPOLOGY = flags.DEFINE_string(
    "topology",
    None,
    "A TPU generation and its chips, such as v3:4x4, v4:2x2x1, v5e:2x4, v5p:2x2x1, v6e:2x2; or cpu "
    "or gpu, for what is there.",
)
SWEEP = flags.DEFINE_multi_string(
    "sweep", [], "FIELD=VALUE,VALUE,...; repeated: all combinations, a table in Markdown."
)
STEPS = flags.DEFINE_list("steps", ["train", "evaluation"], "Which steps to compile.")
NUM_EXAMPLES = flags.DEFINE_integer(
    "num_examples", None, "To train on, if not as many as the data set has.", lower_bound=1
)
JSON = flags.DEFINE_string("json", None, "File to write all figures to.")


def main() -> None:
    """Plans the configured experiment."""
    config, _ = config_flag.config_and_name()
    command.require(TOPOLOGY)
    output = command.file_to_write(JSON)
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_core.planning import plans

    planned_run = experiments.module_of(config, "tasks.planning").planned_run
    planner, target = plans.open_planner(
        config, planned_run, NUM_EXAMPLES.value, TOPOLOGY.value, STEPS.value
    )
    plan = plans.sweep if SWEEP.value else plans.plan
    told = plan(planner, target, *([SWEEP.value] if SWEEP.value else []))
    if output:
        write_whole(output, json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    command.run_command(main)
