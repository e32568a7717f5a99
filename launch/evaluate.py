"""Tells what any weights score on the splits of a config's data set, or on its corpora.

python launch/evaluate.py --config=configs/mixer_digits.py
python launch/evaluate.py --config=configs/mixer_b16_imagenet.py --weights=imagenet1k/Mixer-B_16
python launch/evaluate.py --config=configs/mixer_b16_pets.py --weights=pets.npz --split=test
python launch/evaluate.py --config=configs/mixer_b16_imagenet.py --weights=sam/Mixer-B_16 \
    --config.data.real_labels=/data/real.json
python launch/evaluate.py --config=configs/sst2_small.py

With several hosts, as launch/main.py.
"""

from absl import flags

from launch import command, config_flag, experiments, hosts_flags, weights_flag

flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(config_flag)
flags.adopt_module_key_flags(hosts_flags)
flags.adopt_module_key_flags(weights_flag)
SPLIT = flags.DEFINE_multi_string(
    "split", None, "Such as test or train[:1000]; by default the config's eval_splits. Repeatable."
)


def main() -> None:
    """Evaluates the weights. Numerics and sizes of inputs are theirs, unless a flag sets them."""
    config, name = config_flag.config_and_name()
    weights = weights_flag.weights_or_run(name)
    scoring = experiments.module_of(config, "tools.scoring")
    splits = {split: split for split in SPLIT.value or ()} or config.data.eval_splits.to_dict()
    hosts_flags.join_hosts()
    # Imported here so that --help and a wrong flag are answered at once.
    from mlp_core.distributed.agreement import check_same_run

    check_same_run(config, weights=weights, splits=splits)
    scoring.score(config, weights, config_flag.fields_set(), splits)


if __name__ == "__main__":
    command.run_command(main)
