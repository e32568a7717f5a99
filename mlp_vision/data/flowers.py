"""Oxford Flowers-102 from the published archive, as a TFDS data set.

Name, version, splits, features and example order match TFDS's builder.
"""

from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from mlp_core.data.tfds.archives import ArchiveBuilder, read_members
from mlp_core.weights.downloads import RemoteFile

# TFDS's class names, in the order of the class numbers in the published files.
NAMES = """
    pink primrose, hard-leaved pocket orchid, canterbury bells, sweet pea, english marigold,
    tiger lily, moon orchid, bird of paradise, monkshood, globe thistle, snapdragon, colt's foot,
    king protea, spear thistle, yellow iris, globe-flower, purple coneflower, peruvian lily,
    balloon flower, giant white arum lily, fire lily, pincushion flower, fritillary, red ginger,
    grape hyacinth, corn poppy, prince of wales feathers, stemless gentian, artichoke,
    sweet william, carnation, garden phlox, love in the mist, mexican aster, alpine sea holly,
    ruby-lipped cattleya, cape flower, great masterwort, siam tulip, lenten rose, barbeton daisy,
    daffodil, sword lily, poinsettia, bolero deep blue, wallflower, marigold, buttercup,
    oxeye daisy, common dandelion, petunia, wild pansy, primula, sunflower, pelargonium,
    bishop of llandaff, gaura, geranium, orange dahlia, pink-yellow dahlia?, cautleya spicata,
    japanese anemone, black-eyed susan, silverbush, californian poppy, osteospermum,
    spring crocus, bearded iris, windflower, tree poppy, gazania, azalea, water lily, rose,
    thorn apple, morning glory, passion flower, lotus, toad lily, anthurium, frangipani, clematis,
    hibiscus, columbine, desert-rose, tree mallow, magnolia, cyclamen, watercress, canna lily,
    hippeastrum, bee balm, ball moss, foxglove, bougainvillea, camellia, mallow, mexican petunia,
    bromelia, blanket flower, trumpet creeper, blackberry lily
"""
SPLITS = {"train": "trnid", "validation": "valid", "test": "tstid"}  # Variables of setid.mat.
URL = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102"


class Flowers102(ArchiveBuilder, skip_registration=True):
    """Oxford Flowers-102: 1,020, 1,020 and 6,149 photographs of 102 kinds of flowers."""

    name = "oxford_flowers102"
    VERSION = tfds.core.Version("2.1.1")
    archives = {
        "images": RemoteFile(
            f"{URL}/102flowers.tgz",
            344_862_509,
            "2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
        ),
        "labels": RemoteFile(
            f"{URL}/imagelabels.mat",
            502,
            "4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d",
        ),
        "splits": RemoteFile(
            f"{URL}/setid.mat",
            14_989,
            "46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd",
        ),
    }

    def _info(self) -> tfds.core.DatasetInfo:
        names = " ".join(NAMES.split()).split(", ")
        return tfds.core.DatasetInfo(
            builder=self,
            description="Photographs of 102 kinds of flowers, 40 to 258 a kind.",
            homepage=f"{URL}/",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(),
                    "label": tfds.features.ClassLabel(names=names),
                    "file_name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        # Imported here because only preparation needs it.
        from scipy.io import loadmat

        paths = self.fetch_archives()
        labels = loadmat(paths["labels"])["labels"][0]
        members = loadmat(paths["splits"])
        return {
            split: self._generate_examples(paths["images"], labels, members[variable][0])
            for split, variable in SPLITS.items()
        }

    def _generate_examples(self, images: Path, labels: np.ndarray, numbers: np.ndarray):
        """Yields examples; `numbers` and label values count from 1."""
        label_of = {f"image_{i:05d}.jpg": int(labels[i - 1]) - 1 for i in numbers}
        for member, content in read_members(images, [f"jpg/{name}" for name in label_of]):
            name = member.removeprefix("jpg/")
            yield name, {"image": content, "label": label_of[name], "file_name": name}
