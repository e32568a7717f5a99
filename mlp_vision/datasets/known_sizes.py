"""Image data sets by their figures, read from disk where they are prepared and else from a table.

Nothing is fetched and no picture is read.
"""

import dataclasses
from collections.abc import Mapping

from mlp_core.datasets.prepared import find_prepared
from mlp_core.datasets.splits import parts_of
from mlp_core.planning.planned_run import CountedExamples
from mlp_vision.datasets.image_dataset import TfdsDataset, is_folder_of_pictures
from mlp_vision.datasets.image_folder import FolderDataset


@dataclasses.dataclass(frozen=True)
class KnownDataset:
    """An `ImageDataset` of which only the figures are known."""

    name: str
    num_classes: int
    sizes: Mapping[str, int]  # Of its splits.
    picture_size: tuple[int, int] | None = None  # Height and width, where all have the same.

    @property
    def splits(self) -> list[str]:
        """The names of the splits."""
        return list(self.sizes)

    @property
    def class_names(self) -> list[str]:
        """Not known."""
        return []

    @property
    def in_memory(self) -> bool:
        """Whether pictures come as they are; else as the model's views cut them."""
        return self.picture_size is not None

    def num_examples(self, split: str) -> int:
        """How many examples a split such as "train[:98%]" has; ValueError if there is none."""
        parts = parts_of(split, self.sizes, self.sizes.get)
        return sum(len(range(self.sizes[name])[cut]) for name, cut in parts)

    def load(self, split: str) -> CountedExamples:
        """As many examples as the split has."""
        return CountedExamples(self.num_examples(split))

    records = load


# ImageNet-21k as TFDS-style builders prepare it. JFT-300M is not public: MLP-Mixer, section 3, and
# Sun et al. (arXiv:1707.02968) for its classes.
KNOWN = {
    dataset.name: dataset
    for dataset in (
        KnownDataset("cifar10", 10, {"train": 50_000, "test": 10_000}, (32, 32)),
        KnownDataset("cifar100", 100, {"train": 50_000, "test": 10_000}, (32, 32)),
        KnownDataset("digits", 10, {"train": 1_437, "test": 360}, (8, 8)),
        KnownDataset("synthetic", 10, {"train": 256, "test": 100}, (32, 32)),
        KnownDataset("oxford_iiit_pet", 37, {"train": 3_680, "test": 3_669}),
        KnownDataset(
            "oxford_flowers102", 102, {"train": 1_020, "validation": 1_020, "test": 6_149}
        ),
        KnownDataset("imagenet2012", 1_000, {"train": 1_281_167, "validation": 50_000}),
        KnownDataset("imagenet21k", 21_843, {"full": 14_197_122}),
        KnownDataset("jft_300m", 18_291, {"full": 303_000_000}),
    )
}


def find_dataset(name: str, data_dir: str | None) -> KnownDataset | FolderDataset | None:
    """What is known of a data set, or None.

    Raises:
        UserError: it lies on this machine and is damaged, or is no data set of pictures.
    """
    if is_folder_of_pictures(name):
        return FolderDataset(Path(name).expanduser())
    builder = find_prepared(name, data_dir)
    if builder is None:
        return KNOWN.get(name)
    dataset = TfdsDataset(name, builder)
    sizes = {split: dataset.num_examples(split) for split in dataset.splits}
    shape = builder.info.features["image"].shape[:2] if dataset.in_memory else None
    return KnownDataset(name, dataset.num_classes, sizes, shape)
