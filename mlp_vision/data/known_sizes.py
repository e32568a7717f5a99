"""Image data sets by their figures, read from disk where they are prepared and else from a table.

Nothing is fetched and no picture is read.
"""

import dataclasses

from mlp_core.data.tfds.prepared import find_prepared
from mlp_core.planning.known_dataset import CountedExamples, KnownDataset
from mlp_vision.data.image_dataset import (
    ImageDataset,
    is_folder_of_pictures,
    open_image_dataset,
)


@dataclasses.dataclass(frozen=True)
class KnownPictures(KnownDataset):
    """An `ImageDataset` of which only the figures are known."""

    picture_size: tuple[int, int] | None = None  # Height and width, where all have the same.

    @property
    def in_memory(self) -> bool:
        """Whether pictures come as they are; else as the model's views cut them."""
        return self.picture_size is not None

    def load(self, split: str) -> CountedExamples:
        """As many examples as the split has."""
        return CountedExamples(self.num_examples(split))

    records = load


# ImageNet-21k as TFDS-style builders prepare it. JFT-300M is not public: MLP-Mixer, section 3, and
# Sun et al. (arXiv:1707.02968) for its classes.
KNOWN = {
    dataset.name: dataset
    for dataset in (
        KnownPictures("cifar10", 10, {"train": 50_000, "test": 10_000}, (32, 32)),
        KnownPictures("cifar100", 100, {"train": 50_000, "test": 10_000}, (32, 32)),
        KnownPictures("digits", 10, {"train": 1_437, "test": 360}, (8, 8)),
        KnownPictures("synthetic", 10, {"train": 256, "test": 100}, (32, 32)),
        KnownPictures("oxford_iiit_pet", 37, {"train": 3_680, "test": 3_669}),
        KnownPictures(
            "oxford_flowers102", 102, {"train": 1_020, "validation": 1_020, "test": 6_149}
        ),
        KnownPictures("imagenet2012", 1_000, {"train": 1_281_167, "validation": 50_000}),
        KnownPictures("imagenet21k", 21_843, {"full": 14_197_122}),
        KnownPictures("jft_300m", 18_291, {"full": 303_000_000}),
    )
}


def find_dataset(name: str, data_dir: str | None, label: str | None = None) -> ImageDataset | None:
    """What is known of a data set, or None; see `open_image_dataset`.

    Raises:
        UserError: it lies on this machine and is damaged, or is no data set of pictures.
    """
    if is_folder_of_pictures(name):
        return open_image_dataset(name, data_dir, label)
    if find_prepared(name, data_dir) is None:
        return KNOWN.get(name)
    dataset = open_image_dataset(name, data_dir, label)
    shape = dataset.builder.info.features["image"].shape[:2] if dataset.in_memory else None
    sizes = {split: dataset.num_examples(split) for split in dataset.splits}
    return KnownPictures(name, dataset.num_classes, sizes, shape)
