"""Data sets with made content, as TFDS prepares them."""

from pathlib import Path

import tensorflow_datasets as tfds


def write_tfds(folder, features, rows, name="made"):
    """A data set `name/1.0.0` in `folder` of one split, `train`; returns its directory."""

    class Made(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            yield from enumerate(rows)

    Made.name = name
    builder = Made(data_dir=str(folder), file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_path)
