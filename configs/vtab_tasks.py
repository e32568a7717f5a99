"""The 19 tasks of VTAB-1k (Zhai et al., arXiv:1910.04867); numbers and names alone.

Source: google-research/task_adaptation, whose train800, val200 and test these splits are: the first
800 pictures of its training part and the first 200 of its validation part, which is a part of
TFDS's training split where TFDS has no validation split. Caltech-101's training split is taken to
have 3,060 pictures, 30 of each of 102 classes. The groups are the benchmark's.

Sizes: MLP-Mixer (arXiv:2105.01601), appendix C, has 224 or 448 pixels by the size of the pictures,
following BiT-HyperRule (arXiv:1912.11370), to which pictures are small below 96 x 96 pixels.
Flips: left and right stay what they are in the natural tasks but for house numbers; elsewhere we
leave pictures alone.
"""

from typing import NamedTuple


class Task(NamedTuple):
    """A task."""

    group: str  # natural, specialized or structured.
    dataset: str  # TFDS's name.
    train: str  # 800 pictures.
    validation: str  # 200 others.
    test: str
    image_size: int  # Pixels a side.
    flip: bool = False
    label: str | None = None  # None: the feature `label`.


TASKS = {
    "caltech101": Task(
        "natural", "caltech101", "train[:800]", "train[2754:2954]", "test", 448, flip=True
    ),
    "cifar100": Task(
        "natural", "cifar100", "train[:800]", "train[45000:45200]", "test", 224, flip=True
    ),
    "dtd": Task("natural", "dtd", "train[:800]", "validation[:200]", "test", 448, flip=True),
    "flowers": Task(
        "natural", "oxford_flowers102", "train[:800]", "validation[:200]", "test", 448, flip=True
    ),
    "pets": Task(
        "natural", "oxford_iiit_pet", "train[:800]", "train[2944:3144]", "test", 448, flip=True
    ),
    "sun397": Task(
        "natural", "sun397/tfds", "train[:800]", "validation[:200]", "test", 448, flip=True
    ),
    "svhn": Task("natural", "svhn_cropped", "train[:800]", "train[65931:66131]", "test", 224),
    "patch_camelyon": Task(
        "specialized", "patch_camelyon", "train[:800]", "validation[:200]", "test", 448
    ),
    "eurosat": Task(
        "specialized", "eurosat/rgb", "train[:800]", "train[16200:16400]", "train[21600:]", 224
    ),
    "resisc45": Task(
        "specialized", "resisc45", "train[:800]", "train[18900:19100]", "train[25200:]", 448
    ),
    "retinopathy": Task(
        "specialized",
        "diabetic_retinopathy_detection/btgraham-300",
        *("train[:800]", "validation[:200]", "test"),
        image_size=448,
    ),
    "clevr_count": Task(
        "structured",
        "clevr",
        *("train[:800]", "train[63000:63200]", "validation"),
        image_size=448,
        label="clevr_count",
    ),
    "clevr_distance": Task(
        "structured",
        "clevr",
        *("train[:800]", "train[63000:63200]", "validation"),
        image_size=448,
        label="clevr_distance",
    ),
    "dmlab": Task("structured", "dmlab", "train[:800]", "validation[:200]", "test", 448),
    "kitti_distance": Task(
        "structured",
        "kitti",
        *("train[:800]", "validation[:200]", "test"),
        image_size=448,
        label="kitti_distance",
    ),
    "dsprites_location": Task(
        "structured",
        "dsprites",
        *("train[:800]", "train[589824:590024]", "train[663552:]"),
        image_size=224,
        label="dsprites_location",
    ),
    "dsprites_orientation": Task(
        "structured",
        "dsprites",
        *("train[:800]", "train[589824:590024]", "train[663552:]"),
        image_size=224,
        label="dsprites_orientation",
    ),
    "smallnorb_azimuth": Task(
        "structured",
        "smallnorb",
        *("train[:800]", "test[:200]", "test[12150:]"),
        image_size=448,
        label="label_azimuth",
    ),
    "smallnorb_elevation": Task(
        "structured",
        "smallnorb",
        *("train[:800]", "test[:200]", "test[12150:]"),
        image_size=448,
        label="label_elevation",
    ),
}
