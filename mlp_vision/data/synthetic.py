"""Synthetic, learnable images for smoke runs and tests, without a download."""

import numpy as np
import tensorflow_datasets as tfds

from mlp_vision.data.image_codec import encode_png

SIZES = {"train": 256, "test": 100}


class Synthetic(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """32 x 32 images in ten classes: a coarse colour pattern per class, with noise."""

    name = "synthetic"
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Random colour patterns under noise; nothing real.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(32, 32, 3)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in SIZES}

    def _generate_examples(self, split: str):
        patterns = np.random.default_rng(0).integers(0, 256, (10, 4, 4, 3))
        patterns = patterns.repeat(8, axis=1).repeat(8, axis=2)
        noise = np.random.default_rng(list(SIZES).index(split) + 1)
        for i in range(SIZES[split]):
            image = patterns[i % 10] + noise.normal(0, 40, (32, 32, 3))
            encoded = encode_png(np.clip(image, 0, 255).astype(np.uint8))
            yield i, {"image": encoded, "label": i % 10}
