"""CIFAR-10 and CIFAR-100 from the official binary archives, as TFDS data sets.

Name, version, splits, features and example order match TFDS's builders.
"""

from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from mlp_core.data.tfds.archives import ArchiveBuilder, read_members
from mlp_core.weights.downloads import RemoteFile
from mlp_vision.data.image_codec import encode_png

IMAGE_BYTES = 3 * 32 * 32


class _Cifar(ArchiveBuilder, skip_registration=True):
    """Base builder: records of label bytes followed by 3 x 32 x 32 pixel bytes."""

    VERSION = tfds.core.Version("3.0.2")
    folder: str
    files: dict[str, list[str]]  # By split.
    labels: dict[str, str]  # Label feature, in record order: file of its class names.

    def _info(self) -> tfds.core.DatasetInfo:
        counts = {"cifar10": {"label": 10}, "cifar100": {"label": 100, "coarse_label": 20}}
        classes = {
            label: tfds.features.ClassLabel(num_classes=count)
            for label, count in counts[self.name].items()
        }
        image = tfds.features.Image(shape=(32, 32, 3))
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{self.name}: 60,000 colour pictures of 32 x 32 pixels.",
            homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
            features=tfds.features.FeaturesDict(
                {"id": tfds.features.Text(), "image": image} | classes
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        path = self.fetch_archives()["all"]
        for label, file in self.labels.items():
            names = self._read(path, [file]).decode().split()
            self.info.features[label].names = names
        return {split: self._generate_examples(path, split) for split in self.files}

    def _generate_examples(self, path: Path, split: str):
        records = np.frombuffer(self._read(path, self.files[split]), np.uint8)
        records = records.reshape(-1, len(self.labels) + IMAGE_BYTES)
        for i, record in enumerate(records):
            labels = record[: len(self.labels)]
            pixels = record[len(self.labels) :].reshape(3, 32, 32).transpose(1, 2, 0)
            example = {name: int(label) for name, label in zip(self.labels, labels, strict=True)}
            yield i, example | {"id": f"{split}_{i:05d}", "image": encode_png(pixels)}

    def _read(self, archive: Path, files: list[str]) -> bytes:
        """Returns the concatenated contents of files."""
        members = [f"{self.folder}/{file}" for file in files]
        contents = dict(read_members(archive, members))
        return b"".join(contents[member] for member in members)


class Cifar10(_Cifar, skip_registration=True):
    """CIFAR-10: 50,000 and 10,000 images in 10 classes."""

    name = "cifar10"
    archives = {
        "all": RemoteFile(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        )
    }
    folder = "cifar-10-batches-bin"
    files = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
    labels = {"label": "batches.meta.txt"}


class Cifar100(_Cifar, skip_registration=True):
    """CIFAR-100: 50,000 and 10,000 images in 100 classes, grouped into 20 coarse ones."""

    name = "cifar100"
    archives = {
        "all": RemoteFile(
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            168_513_733,
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        )
    }
    folder = "cifar-100-binary"
    files = {"train": ["train.bin"], "test": ["test.bin"]}
    labels = {"coarse_label": "coarse_label_names.txt", "label": "fine_label_names.txt"}
