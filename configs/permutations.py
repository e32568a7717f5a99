"""A Mixer or a ResNet on pictures whose pixels have changed places: MLP-Mixer, figure 4.

Name the model behind the colon, mixer (without a name) or resnet. A sweep trains it on CIFAR-10 as
it is, with patches and the pixels within them permuted alike, and with all pixels permuted; one
permutation for all pictures.
Recipe: ours, small enough for a CPU: 32 pixels, patches of 4, one epoch without flips and
crops, which would be done before pixels change places. The paper trains Mixer-B/16 and ResNet-50x1
on JFT-300M and tells linear 5-shot accuracy on ImageNet.
Expected: as in the paper, the Mixer does as well on permuted patches and loses on permuted pixels;
the ResNet loses much by either. Figures in docs/results.md.
Cost: a few minutes of two CPU cores a run.

    python launch/sweep.py --config=configs/permutations.py:mixer
    python launch/sweep.py --config=configs/permutations.py:resnet
    python launch/main.py --config=configs/permutations.py:resnet
"""

from configs import common, run_fields, small_images

MODELS = {
    "mixer": dict(
        patch_size=4, hidden_dim=128, num_blocks=4, tokens_mlp_dim=128, channels_mlp_dim=512
    ),
    "resnet": dict(units=(1, 1, 1), width_factor=1),
}


def get_config(arg: str = ""):
    """The experiment; `arg` may be a model, "smoke", or both with a comma between them."""
    model, rest = run_fields.choice_and_variant(arg, MODELS, default="mixer", kind="model")
    config = small_images.cifar("cifar10")
    config.model.name = model
    config.model.update(MODELS[model])
    config.data.permutation = "none"
    config.data.permuted_patch = 4
    config.augment.crop = "none"
    config.augment.flip = False
    config.train.duration = "1 epoch"
    config.train.global_batch_size = 64
    config.schedule.warmup = "50 steps"
    config.schedule.peak_learning_rate = 2e-3
    config.sweep.grid = ("data.permutation=none,patches,pixels",)
    config.sweep.train_split = None
    return common.variant(config, rest)
