"""Pictures of differing sizes, and files that only look like pictures."""

import io

import numpy as np
from PIL import Image


def photo(seed: int, mode: str = "RGB") -> Image.Image:
    """Soft random shapes, 40 to 80 pixels a side."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
    width, height = (int(n) for n in rng.integers(40, 80, 2))
    return coarse.resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, format: str = "jpeg") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


BAD_FILES = {
    "cut.jpg": encoded(photo(100))[:400],
    "empty.jpg": b"",
    "page.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
}


def write_folder(root, splits=("train", "test"), classes=("cat", "dog"), pictures=12):
    """A folder data set; dogs differ from cats by the format of their files, too."""
    for s, split in enumerate(splits):
        for c, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(pictures):
                suffix = ("jpg", "png")[c % 2]
                content = encoded(photo(1000 * s + 100 * c + i), ("jpeg", "png")[c % 2])
                (folder / f"{i}.{suffix}").write_bytes(content)
    return root


def add_odd_and_bad_files(folder):
    """Pictures of every mode, and three files that are no pictures."""
    for i, (mode, format) in enumerate(
        [("CMYK", "jpeg"), ("RGBA", "png"), ("P", "png"), ("L", "jpeg")]
    ):
        (folder / f"{mode}.jpg").write_bytes(encoded(photo(200 + i, mode), format))
    for name, content in BAD_FILES.items():
        (folder / name).write_bytes(content)
