"""Fetches and prepares what a run will need, so that the run itself downloads nothing.

python launch/prepare.py --config=configs/mixer_b16_cifar100.py
python launch/prepare.py --config=configs/sst2_small.py
python launch/prepare.py --config=configs/mixer_b16_cifar100.py --directory=/mnt/shared

For text it makes the vocabulary, too, and tokenises corpora. The last is for a pod, whose hosts
share a folder: it prints the flags for the run.
"""

from absl import flags

from launch import command, config_flag, experiments

flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(config_flag)
DIRECTORY = flags.DEFINE_string(
    "directory",
    None,
    "Folder for data set and weights, in tfds/ and weights/, and for what is made of text; where a "
    "run looks by default.",
)


def main() -> None:
    """Prepares the configured experiment."""
    config, _ = config_flag.config_and_name()
    directory = command.path_of(DIRECTORY) if DIRECTORY.value else None
    experiments.module_of(config, "tasks.preparation").prepare(config, directory)


if __name__ == "__main__":
    command.run_command(main)
