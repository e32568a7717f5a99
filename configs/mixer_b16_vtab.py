"""Fine-tunes Mixer-B/16, pre-trained by Google on ImageNet-21k, on a task of VTAB-1k.

The task stands behind the colon, cifar100 without one; configs/vtab_tasks.py has all 19 with their
data, labels and sizes. "smoke" may follow, as in svhn,smoke.
Recipe: MLP-Mixer (arXiv:2105.01601), appendix C: 2,500 steps, the learning rate of 0.003, 0.01 and
0.03 that is best on 200 pictures after training on 800, then all 1,000; batches of 512, SGD, cosine
decay and no weight decay as in configs/fine_tuning.py. Not told, and so ours: 100 steps of warm-up,
no crops (pictures are squashed to a square in training as in evaluation), and which tasks flip.
Expected: not yet run. The paper prints the mean over all tasks alone, 74.95 % for Mixer-L/16 of
ImageNet-21k (Table 2); `launch/report.py` tells it here once all have been run.
Cost: a run of 2,500 x 512 images takes 97 PFLOP at 224 pixels and 0.52 EFLOP at 448, 16 and 86
minutes at 100 TFLOP/s; a sweep has four runs. All tasks, by a loop that goes on where it stopped:

    python launch/main.py --config=configs/mixer_b16_vtab.py:svhn
    for task in $(python -c "from configs.vtab_tasks import TASKS; print(*TASKS)"); do
      python launch/prepare.py --config=configs/mixer_b16_vtab.py:$task
      python launch/sweep.py --config=configs/mixer_b16_vtab.py:$task
    done

Mixer-L/16: --config.model.name=mixer_l16 --config.init.weights=imagenet21k/Mixer-L_16 besides, and
a --workdir of its own.
Downloads: the weights (290 MiB), once, and the data sets. TFDS prepares all but CIFAR-100, Flowers
and Pets with TensorFlow; RESISC45 and the retinopathy pictures are fetched by hand, as it says.
"""

from ml_collections import ConfigDict

from configs import common, fine_tuning, run_fields
from configs.vtab_tasks import TASKS


def get_config(arg: str = ""):
    """The experiment; `arg` may be a task, "smoke", or both with a comma between them."""
    name, rest = run_fields.choice_and_variant(arg, TASKS, default="cifar100", kind="task")
    task = TASKS[name]
    config = fine_tuning.on_few_pictures()
    config.model.name = "mixer_b16"
    config.init.weights = "imagenet21k/Mixer-B_16"
    config.data.name = task.dataset
    config.data.label = task.label
    config.data.train_split = task.train
    config.data.eval_splits = ConfigDict({"validation": task.validation, "test": task.test})
    config.data.image_size = task.image_size
    config.augment.flip = task.flip
    config.sweep.train_split = f"{task.train}+{task.validation}"
    # Micro-batches of 64 and 16 are meant for a 16 GiB device.
    config.train.grad_accum_steps = 8 if task.image_size == 224 else 32
    return common.variant(config, rest)
