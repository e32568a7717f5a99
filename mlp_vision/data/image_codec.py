"""Pictures to bytes for data set builders, and bytes of any kind to RGB pictures."""

import dataclasses
import io
from collections.abc import Callable, Iterator

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

END_OF_IMAGE = b"\xff\xd9"
# Markers (ITU-T T.81, table B.1), each the second byte of two; the first is 0xFF.
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2  # Frames of Huffman codes.
OTHER_FRAMES = {0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)}
START_OF_SCAN = 0xDA
METADATA = 0xE1  # Of EXIF or XMP.
STANDALONE = {0x01, *range(0xD0, 0xDA)}  # Have no length; none belongs before the scan.
# What may be behind the name of a picture, whatever its suffix. Others stay out: Pillow would
# hand PostScript, say, to another program.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
# How to undo the turn that EXIF says a camera was held at.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
NO_PICTURES = {
    b"<!doctype html": "a web page, not a picture",
    b"<html": "a web page, not a picture",
    b"<head": "a web page, not a picture",
    b"<!--": "a web page, not a picture",
    b"<?xml": "a text in XML, not a picture",
    b"<svg": "a drawing in SVG, which cannot be read",
    b"{": "a text in JSON, not a picture",
    b"version https://git-lfs": "a placeholder of Git LFS, not the picture itself",
}
MOST_PICTURE_BYTES = 1 << 30  # Of a file.
# To decode one picture, copies included: 167 million pixels of a usual JPEG or PNG.
MOST_DECODED_BYTES = 5 << 28
RGB_BYTES = 4  # A pixel in RGB, as Pillow stores it.
# What decoders hold a pixel beside the picture itself, measured and rounded up; the rest is small.
DECODER_BYTES = {"WEBP": 13, "AVIF": 16, "PPM": 8, "BMP": 2}
JPEG2000_BYTES = 6  # The same of each channel.
MARGIN = 8  # Rows and columns by which decoders and resizing exceed a picture, if it is thin.
TOO_DEEP = "32 bits a pixel, of which only 8 and 16 are read"
BLOCK_PIXELS = 1 << 17  # Converted at a time.
START_OF_JPEG = b"\xff\xd8"
STARTS_OF_PICTURES = (START_OF_JPEG, b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")


@dataclasses.dataclass(frozen=True)
class JpegHeader:
    """Size and kind of a JPEG with 8 bits a channel, as it is stored."""

    height: int
    width: int
    num_components: int
    rows_per_block_row: int  # Pixels that are decoded together.
    largest_factor: int  # Of sampling, across or down.
    height_at: int  # Where the two bytes of the height lie.
    scan_at: int  # Where the header ends.
    decodes_downwards: bool  # One scan holds all, row after row.
    has_metadata: bool  # EXIF or XMP, which may say that it is turned.

    @property
    def coefficient_bytes(self) -> int:
        """A pixel, at most: what a decoder holds until the last scan, beside the pixels."""
        return 0 if self.decodes_downwards else 2 * self.num_components


def read_jpeg_header(encoded: bytes) -> JpegHeader | None:
    """The header of a JPEG; None where it is not of a common kind, or not a JPEG."""
    try:
        return _read(encoded)
    except IndexError:  # It ends too early.
        return None


def _read(encoded: bytes) -> JpegHeader | None:
    if encoded[:2] != b"\xff\xd8":
        return None
    place, frame_at, has_metadata = 2, None, False
    while True:
        if encoded[place] != 0xFF:
            return None
        marker, length = encoded[place + 1], _two_bytes(encoded, place + 2)
        if marker in OTHER_FRAMES or marker in STANDALONE or length < 2:
            return None
        if marker == START_OF_SCAN:
            break
        if marker in (BASELINE, EXTENDED, PROGRESSIVE):
            frame_at = place
        has_metadata |= marker == METADATA
        place += 2 + length
    if frame_at is None or encoded[frame_at + 4] != 8:
        return None
    num_components = encoded[frame_at + 9]
    factors = [divmod(encoded[frame_at + 11 + 3 * i], 16) for i in range(num_components)]
    return JpegHeader(
        height=_two_bytes(encoded, frame_at + 5),
        width=_two_bytes(encoded, frame_at + 7),
        num_components=num_components,
        rows_per_block_row=8 * max((down for _, down in factors), default=1),
        largest_factor=max((max(factor) for factor in factors), default=1),
        height_at=frame_at + 5,
        scan_at=place,
        decodes_downwards=(
            encoded[frame_at + 1] != PROGRESSIVE and encoded[place + 4] == num_components
        ),
        has_metadata=has_metadata,
    )


def _two_bytes(encoded: bytes, place: int) -> int:
    return encoded[place] << 8 | encoded[place + 1]


class BadPictureError(ValueError):
    """Bytes that are no picture that can be read; the text is the reason, in a few words."""


def encode_png(image: np.ndarray) -> bytes:
    """A [H, W] or [H, W, 3] uint8 picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def as_jpeg(encoded: bytes) -> bytes:
    """The same bytes where they are a JPEG, else the picture as a JPEG of quality 95.

    Raises:
        BadPictureError: as `decode_picture`.
    """
    picture = decode_picture(encoded)
    if encoded.startswith(START_OF_JPEG):
        return encoded
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=95)
    return buffer.getvalue()


def decode_rgb(encoded: bytes) -> np.ndarray:
    """An encoded picture of any mode as [H, W, 3] uint8; see `decode_picture`."""
    image = decode_picture(encoded)
    return as_array(image, (0, 0, *image.size))


def as_array(image: Image.Image, box: tuple[int, int, int, int]) -> np.ndarray:
    """What is in `box` (left, top, right, bottom) of an RGB picture, as [H, W, 3] uint8."""
    left, top, right, bottom = box
    pixels = np.empty((bottom - top, right - left, 3), np.uint8)
    for x0, y0, x1, y1 in _blocks(right - left, bottom - top):
        pixels[y0:y1, x0:x1] = image.crop((left + x0, top + y0, left + x1, top + y1))
    return pixels


def decode_picture(encoded: bytes) -> Image.Image:
    """An encoded picture of any mode as people see it: RGB, upright.

    Turned as its EXIF orientation says. What is transparent shows a white background, as in a
    browser; TensorFlow and torchvision would show the colours hidden there instead, often black.
    Grey of 16 bits is scaled to 8, not clipped. CMYK is inverted where a JPEG follows Adobe. Of an
    animation the first frame counts. Apart from transparency and EXIF the result is that of
    Pillow's `convert("RGB")`.

    Raises:
        BadPictureError: the bytes are no whole picture of a known format, or decoding would take
          more than `MOST_DECODED_BYTES`, or it has more than 179 million pixels (Pillow's limit).
    """
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
        _check_memory(image, encoded)
        image.load()
        orientation = _orientation(image)
        image = _to_rgb(image)  # What has been loaded is freed before the turn makes a copy.
        return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything.
        raise BadPictureError(_what_is_wrong(encoded, error)) from error


def orientation_of_jpeg(encoded: bytes) -> int | None:
    """How a JPEG is turned, by EXIF's numbers, without decoding it; None where nothing is said."""
    try:
        return _orientation(Image.open(io.BytesIO(encoded), formats=("JPEG",)))
    except Exception:  # To be told by whoever decodes it.
        return None


def _check_memory(image: Image.Image, encoded: bytes) -> None:
    """Refuses a picture, of which only the header has been read, that takes too much memory.

    Raises:
        BadPictureError: it does, or it has 32 bits a channel.
    """
    if image.mode == "F":
        raise BadPictureError(TOO_DEEP)
    needed = decoding_bytes(image, encoded)
    if needed > MOST_DECODED_BYTES:
        raise BadPictureError(
            f"too large: decoding takes {needed / 2**30:.2f} GiB, and the limit is "
            f"{MOST_DECODED_BYTES / 2**30:.2f}"
        )


def decoding_bytes(image: Image.Image, encoded: bytes) -> int:
    """The memory that `decode_picture` takes at most, from the header that `image` has read."""
    # The picture in RGB, beside which there is the loaded one, or a turned or cut copy.
    pixel_bytes = 2 * RGB_BYTES + _decoder_bytes(image, encoded)
    return (image.width + MARGIN) * (image.height + MARGIN) * pixel_bytes + _tile_bytes(image)


def _decoder_bytes(image: Image.Image, encoded: bytes) -> int:
    """What the decoder holds a pixel beside the picture."""
    if encoded.startswith(START_OF_JPEG):
        header = read_jpeg_header(encoded)
        return header.coefficient_bytes if header else 2 * len(image.getbands())
    if image.format == "JPEG2000":
        return JPEG2000_BYTES * len(image.getbands())
    return DECODER_BYTES.get(image.format, 0)


def _tile_bytes(image: Image.Image) -> int:
    """What a decoder of TIFF holds at a time: a tile, which may exceed the picture, or a strip."""
    if image.format != "TIFF":
        return 0
    tags, names = image.tag_v2, ExifTags.Base
    rows_of_strip = min(tags.get(names.RowsPerStrip, image.height), image.height)
    width = tags.get(names.TileWidth, image.width)
    height = tags.get(names.TileLength, rows_of_strip)
    bits = tags.get(names.BitsPerSample, (8,))
    return width * height * max(bits) * tags.get(names.SamplesPerPixel, 1) // 8


def _blocks(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) of at most `BLOCK_PIXELS` that cover a picture."""
    columns = max(min(width, BLOCK_PIXELS), 1)
    rows = BLOCK_PIXELS // columns
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield left, top, min(left + columns, width), min(top + rows, height)


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Damaged EXIF data do not make a damaged picture.
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _block_by_block(image, _from_deep_grey)
    if image.has_transparency_data:
        return _block_by_block(image, _on_white)
    return image.convert("RGB")


def _block_by_block(
    image: Image.Image, convert: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    """The RGB picture that `convert` makes of blocks, so that its own copies are small."""
    result = Image.new("RGB", image.size)
    for box in _blocks(*image.size):
        result.paste(convert(image.crop(box)), box)
    return result


def _on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    background = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(background, image).convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, which Pillow would clip at 255."""
    levels = np.asarray(image)
    if levels.min() < 0 or levels.max() > 65535:
        raise BadPictureError(TOO_DEEP)
    eight_bits = np.round(levels / 257).astype(np.uint8)
    return Image.fromarray(eight_bits).convert("RGB")


def _what_is_wrong(encoded: bytes, error: Exception) -> str:
    if isinstance(error, BadPictureError):
        return str(error)
    if not encoded:
        return "an empty file"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} million pixels"
    start = encoded[:1000].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, reason in NO_PICTURES.items():
        if start.startswith(beginning):
            return reason
    if encoded[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        return "a HEIC picture, which is not read; turn it into JPEG"
    if "truncated" in str(error).lower():
        return "cut short"
    if not isinstance(error, UnidentifiedImageError):
        return f"damaged: {str(error) or type(error).__name__}"
    if encoded.startswith(STARTS_OF_PICTURES):
        return "damaged or cut short"
    return "no picture of a known format"
