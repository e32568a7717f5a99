"""Oxford-IIIT Pets from the published archives, as a TFDS data set.

Name, version, splits, features and example order match TFDS's builder. Writing sorts a split in
memory, which takes about 400 MB.
"""

from pathlib import Path
from xml.etree import ElementTree

import tensorflow_datasets as tfds

from mlp_core.data.tfds.archives import ArchiveBuilder, read_files, read_members
from mlp_core.errors import UserError
from mlp_core.weights.downloads import RemoteFile
from mlp_vision.data.image_codec import BadPictureError, as_jpeg

BREEDS = """
    Abyssinian american_bulldog american_pit_bull_terrier basset_hound beagle Bengal Birman Bombay
    boxer British_Shorthair chihuahua Egyptian_Mau english_cocker_spaniel english_setter
    german_shorthaired great_pyrenees havanese japanese_chin keeshond leonberger Maine_Coon
    miniature_pinscher newfoundland Persian pomeranian pug Ragdoll Russian_Blue saint_bernard
    samoyed scottish_terrier shiba_inu Siamese Sphynx staffordshire_bull_terrier wheaten_terrier
    yorkshire_terrier
"""
LISTS = {"train": "annotations/trainval.txt", "test": "annotations/test.txt"}
NO_BOX = tfds.features.BBox(ymin=0.0, xmin=0.0, ymax=0.0, xmax=0.0)
URL = "https://thor.robots.ox.ac.uk/~vgg/data/pets"


class Pets(ArchiveBuilder, skip_registration=True):
    """Oxford-IIIT Pets: 3,680 and 3,669 photographs of 37 breeds of cats and dogs.

    A dozen .jpg files are in fact PNG, GIF or BMP; they are converted to JPEG.
    """

    name = "oxford_iiit_pet"
    VERSION = tfds.core.Version("4.0.0")
    archives = {
        "images": RemoteFile(
            f"{URL}/images.tar.gz",
            791_918_971,
            "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
        ),
        "annotations": RemoteFile(
            f"{URL}/annotations.tar.gz",
            19_173_078,
            "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
        ),
    }

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Photographs of cats and dogs of 37 breeds, about 200 a breed.",
            homepage="https://www.robots.ox.ac.uk/~vgg/data/pets/",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(names=BREEDS.split()),
                    "species": tfds.features.ClassLabel(names=["Cat", "Dog"]),
                    "file_name": tfds.features.Text(),
                    "segmentation_mask": tfds.features.Image(
                        shape=(None, None, 1), use_colormap=True
                    ),
                    "head_bbox": tfds.features.BBoxFeature(),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        paths = self.fetch_archives()
        lists = dict(read_members(paths["annotations"], LISTS.values()))
        return {
            split: self._generate_examples(paths["images"], paths["annotations"], lists[member])
            for split, member in LISTS.items()
        }

    def _generate_examples(self, images: Path, annotations: Path, listed: bytes):
        # Columns: name, breed from 1, species from 1, breed within the species.
        rows = {line.split()[0]: line.split()[1:3] for line in listed.decode().splitlines()}
        masks = dict(read_members(annotations, [f"annotations/trimaps/{n}.png" for n in rows]))
        boxes = {name: xml for name, xml in read_files(annotations) if name.endswith(".xml")}
        for member, content in read_members(images, [f"images/{name}.jpg" for name in rows]):
            file_name = member.removeprefix("images/")
            name = file_name.removesuffix(".jpg")
            try:
                image = as_jpeg(content)
            except BadPictureError as error:
                raise UserError(f"{images}: {member} is {error}.") from error
            breed, species = rows[name]
            box = boxes.get(f"annotations/xmls/{name}.xml")
            yield (
                file_name,
                {
                    "image": image,
                    "label": int(breed) - 1,
                    "species": int(species) - 1,
                    "file_name": file_name,
                    "segmentation_mask": masks[f"annotations/trimaps/{name}.png"],
                    "head_bbox": _head_box(box) if box else NO_BOX,
                },
            )


def _head_box(xml: bytes) -> tfds.features.BBox:
    """Reads the head's bounding box, relative to height and width, from an annotation file."""
    root = ElementTree.fromstring(xml)
    width, height = (float(root.findtext(f"size/{side}")) for side in ("width", "height"))
    ymin, xmin, ymax, xmax = (
        float(root.findtext(f"object/bndbox/{side}")) for side in ("ymin", "xmin", "ymax", "xmax")
    )
    return tfds.features.BBox(
        ymin=ymin / height, xmin=xmin / width, ymax=ymax / height, xmax=xmax / width
    )
