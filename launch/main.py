"""Trains, or fine-tunes, what a config file describes; run again, it goes on where it stopped.

python launch/main.py --config=configs/mixer_digits.py
python launch/main.py --config=configs/mixer_b16_cifar100.py --config.train.duration="5 epochs"
python launch/main.py --config=configs/mixer_b16_cifar100.py:smoke

With several hosts, run it on each; Slurm and Cloud TPUs tell it of the others. Elsewhere:

python launch/main.py --config=... --coordinator_address=HOST0:1234 --num_processes=N --process_id=I
"""

from pathlib import Path

from absl import flags

from launch import command, config_flag, experiments, hosts_flags

flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(config_flag)
flags.adopt_module_key_flags(hosts_flags)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run; runs/<name of the config file> by default."
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Checks the config, fetches data and weights, and trains nothing."
)
PROFILE = flags.DEFINE_bool(
    "profile", False, "Traces ten steps after the first ten, for XProf or ui.perfetto.dev."
)
ALLOW_CHANGED_DATA = flags.DEFINE_bool(
    "allow_changed_data", False, "Resumes a run although its data differ from when it started."
)


def main() -> None:
    """Trains the configured experiment."""
    config, name = config_flag.config_and_name()
    workdir = command.path_of(WORKDIR) if WORKDIR.value else Path("runs", name)
    experiment = experiments.experiment_of(config)
    hosts_flags.join_hosts()
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_core.distributed.agreement import check_same_run, check_shared_folder

    options = {"dry_run": DRY_RUN.value, "allow_changed_data": ALLOW_CHANGED_DATA.value}
    check_same_run(config, **options)
    check_shared_folder(workdir)
    experiment.train(config, workdir, profile=PROFILE.value, **options)


if __name__ == "__main__":
    command.run_command(
        main, when_interrupted="; the same command goes on from the last checkpoint"
    )
