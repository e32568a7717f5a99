"""scikit-learn's 1,797 scans of handwritten digits as a TFDS data set."""

import numpy as np
import tensorflow_datasets as tfds

from mlp_vision.data.image_codec import encode_png

TEST_EVERY = 5  # Every fifth scan, since scans are ordered by writer.


class Digits(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """8 x 8 grey images of ten digits: 1,437 for training and 360 for testing."""

    name = "digits"
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Optical recognition of handwritten digits (UCI), as in scikit-learn.",
            homepage="https://archive.ics.uci.edu/dataset/80",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(False), "test": self._generate_examples(True)}

    def _generate_examples(self, held_out: bool):
        # Imported here because the import is slow and only preparation needs it.
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)  # Stored as 0 to 16.
        for i, (image, label) in enumerate(zip(images, digits.target, strict=True)):
            if (i % TEST_EVERY == 0) == held_out:
                yield i, {"image": encode_png(image), "label": int(label)}
