"""Archives in the form in which data sets are published, of a few made pictures."""

import io

import numpy as np
from PIL import Image
from scipy.io import savemat

from tests.mlp_core.data.tfds.made_archive import described, made_archive


def picture(seed, kind="jpeg", mode="RGB"):
    """A smooth made picture of 20 to 40 pixels a side, encoded."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(20, 41, 2)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 3, 3), np.uint8))
    image = coarse.resize((int(width), int(height)), Image.Resampling.BICUBIC).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def trimap(seed):
    """A made segmentation as PNG, values 1 to 3."""
    values = np.random.default_rng(seed).integers(1, 4, (20, 30), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "png")
    return buffer.getvalue()


BOX = """<annotation><size><width>40</width><height>20</height><depth>3</depth></size>
<object><name>cat</name><bndbox><xmin>10</xmin><ymin>5</ymin><xmax>30</xmax><ymax>15</ymax></bndbox>
</object></annotation>"""


def made_pets(folder):
    """The two archives of Pets in `folder`: 5 and 3 pictures; returns descriptions and contents.

    As in the published ones, nothing is compressed, some .jpg files are of other kinds, hidden
    files of another system lie about, and not every picture has a box.
    """
    images = {f"images/Abyssinian_{i}.jpg": picture(i) for i in range(1, 5)}
    images["images/Abyssinian_5.jpg"] = picture(5, "png", "RGBA")
    images["images/Egyptian_Mau_6.jpg"] = picture(6, "gif", "P")
    images["images/yorkshire_terrier_7.jpg"] = picture(7, "bmp")
    images["images/yorkshire_terrier_8.jpg"] = picture(8, "jpeg", "L")
    names = [name.removeprefix("images/").removesuffix(".jpg") for name in images]
    breed = {"Abyssinian": "1 1 1", "Egyptian_Mau": "12 1 6", "yorkshire_terrier": "37 2 25"}
    lines = [f"{name} {breed[name.rsplit('_', 1)[0]]}\n" for name in names]
    annotations = {
        "annotations/trainval.txt": "".join(lines[::2] + lines[1:2]).encode(),
        "annotations/test.txt": "".join(lines[3::2]).encode(),
        "annotations/._trainval.txt": b"hidden",
        "annotations/trimaps/._Abyssinian_1.png": b"hidden",
    }
    annotations |= {f"annotations/trimaps/{name}.png": trimap(i) for i, name in enumerate(names)}
    annotations |= {"annotations/xmls/Abyssinian_1.xml": BOX.encode()}
    archives = {
        "images": made_archive(
            folder / "images.tar.gz", {"images/Abyssinian_101.mat": b"other"} | images, False
        ),
        "annotations": made_archive(folder / "annotations.tar.gz", annotations, False),
    }
    return archives, images | annotations


def made_flowers(folder):
    """The three files of Flowers in `folder`, of 9 pictures; returns descriptions and pictures."""
    images = {f"jpg/image_{i:05d}.jpg": picture(i) for i in range(1, 10)}
    archives = {"images": made_archive(folder / "102flowers.tgz", images)}
    labels = np.array([[77, 77, 1, 1, 102, 102, 50, 50, 3]], np.uint8)
    savemat(folder / "imagelabels.mat", {"labels": labels})
    splits = {"trnid": [[9, 1, 3]], "valid": [[2, 4]], "tstid": [[5, 6, 7, 8]]}
    savemat(folder / "setid.mat", {k: np.array(v, np.uint16) for k, v in splits.items()})
    archives["labels"] = described(folder / "imagelabels.mat")
    archives["splits"] = described(folder / "setid.mat")
    return archives, images
