"""Image encoding for data set builders, and decoding of common formats to RGB."""

import dataclasses
import io
from collections.abc import Callable, Iterator

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

END_OF_IMAGE = b"\xff\xd9"
# Markers (ITU-T T.81, table B.1): the second of two bytes; the first is 0xFF.
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2  # Huffman-coded frames.
OTHER_FRAMES = {0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)}
START_OF_SCAN = 0xDA
METADATA = 0xE1  # EXIF or XMP.
STANDALONE = {0x01, *range(0xD0, 0xDA)}  # Without length; invalid before the scan.
# Accepted formats, regardless of the file's suffix. Others are excluded because Pillow would, for
# example, run another program for PostScript.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
# Transposes that undo the orientation in EXIF.
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
MOST_PICTURE_BYTES = 1 << 30  # Per file.
# Memory to decode one image, with copies: 167 million pixels of a common JPEG or PNG.
MOST_DECODED_BYTES = 5 << 28
RGB_BYTES = 4  # Per pixel, as Pillow stores RGB.
# Decoder memory per pixel, without the image, measured and rounded up; other formats need little.
DECODER_BYTES = {"WEBP": 13, "AVIF": 16, "PPM": 8, "BMP": 2}
JPEG2000_BYTES = 6  # Per pixel and channel.
MARGIN = 8  # Extra rows and columns of decoders and resizing, relevant for thin images.
TOO_DEEP = "32 bits a pixel, of which only 8 and 16 are read"
BLOCK_PIXELS = 1 << 17  # Converted at once.
START_OF_JPEG = b"\xff\xd8"
STARTS_OF_PICTURES = (START_OF_JPEG, b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")


@dataclasses.dataclass(frozen=True)
class JpegHeader:
    """Stored size and coding of a JPEG with 8 bits per channel."""

    height: int
    width: int
    num_components: int
    rows_per_block_row: int  # In pixels.
    largest_factor: int  # Of sampling, horizontal or vertical.
    height_at: int  # Offset of the two bytes of the height.
    scan_at: int  # Offset of the end of the header.
    decodes_downwards: bool  # Sequential, in a single scan.
    has_metadata: bool  # EXIF or XMP, which may hold an orientation.

    @property
    def coefficient_bytes(self) -> int:
        """Maximum bytes per pixel that a decoder holds until the last scan, without the pixels."""
        return 0 if self.decodes_downwards else 2 * self.num_components


def read_jpeg_header(encoded: bytes) -> JpegHeader | None:
    """Returns the header of a JPEG; None for uncommon JPEGs and other formats."""
    try:
        return _read(encoded)
    except IndexError:  # The file is truncated.
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
    """An image that cannot be decoded; the message is a short reason."""


def encode_png(image: np.ndarray) -> bytes:
    """Encodes a uint8 image [H, W] or [H, W, 3] as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def as_jpeg(encoded: bytes) -> bytes:
    """Returns JPEG bytes unchanged, other images re-encoded as a JPEG of quality 95.

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
    """Decodes an image of any mode to uint8 [H, W, 3]; see `decode_picture`."""
    image = decode_picture(encoded)
    return as_array(image, (0, 0, *image.size))


def as_array(image: Image.Image, box: tuple[int, int, int, int]) -> np.ndarray:
    """Returns `box` (left, top, right, bottom) of an RGB image as uint8 [H, W, 3]."""
    left, top, right, bottom = box
    pixels = np.empty((bottom - top, right - left, 3), np.uint8)
    for x0, y0, x1, y1 in _blocks(right - left, bottom - top):
        pixels[y0:y1, x0:x1] = image.crop((left + x0, top + y0, left + x1, top + y1))
    return pixels


def decode_picture(encoded: bytes) -> Image.Image:
    """Decodes an image of any mode to upright RGB.

    Applies the EXIF orientation. Transparent pixels are blended with white, as in a browser;
    TensorFlow and torchvision would show their hidden colours instead, often black. 16-bit grey is
    scaled to 8 bits, not clipped. CMYK is inverted for JPEGs that follow Adobe. Animations give
    their first frame. Apart from transparency, 16-bit grey and EXIF, the result matches Pillow's
    `convert("RGB")`.

    Raises:
        BadPictureError: the bytes are not a complete image of a known format, decoding would take
          more than `MOST_DECODED_BYTES`, or it has more than 179 million pixels (Pillow's limit).
    """
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
        _check_memory(image, encoded)
        image.load()
        orientation = _orientation(image)
        image = _to_rgb(image)  # Frees the loaded image before the transposed copy.
        return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything.
        raise BadPictureError(_what_is_wrong(encoded, error)) from error


def orientation_of_jpeg(encoded: bytes) -> int | None:
    """Reads the EXIF orientation of a JPEG without decoding it; None if there is none."""
    try:
        return _orientation(Image.open(io.BytesIO(encoded), formats=("JPEG",)))
    except Exception:  # Decoding reports the error.
        return None


def _check_memory(image: Image.Image, encoded: bytes) -> None:
    """Checks the decoding memory of an image whose header has been read.

    Raises:
        BadPictureError: decoding takes too much memory, or the image has 32 bits per channel.
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
    """Returns the maximum memory of `decode_picture`, from the header that `image` has read."""
    # Two images at most: the RGB one, and the loaded one or a transposed or cropped copy.
    pixel_bytes = 2 * RGB_BYTES + _decoder_bytes(image, encoded)
    return (image.width + MARGIN) * (image.height + MARGIN) * pixel_bytes + _tile_bytes(image)


def _decoder_bytes(image: Image.Image, encoded: bytes) -> int:
    """Returns the decoder's memory per pixel, without the image."""
    if encoded.startswith(START_OF_JPEG):
        header = read_jpeg_header(encoded)
        return header.coefficient_bytes if header else 2 * len(image.getbands())
    if image.format == "JPEG2000":
        return JPEG2000_BYTES * len(image.getbands())
    return DECODER_BYTES.get(image.format, 0)


def _tile_bytes(image: Image.Image) -> int:
    """Returns the TIFF decoder's buffer size: a strip or a tile, which may exceed the image."""
    if image.format != "TIFF":
        return 0
    tags, names = image.tag_v2, ExifTags.Base
    rows_of_strip = min(tags.get(names.RowsPerStrip, image.height), image.height)
    width = tags.get(names.TileWidth, image.width)
    height = tags.get(names.TileLength, rows_of_strip)
    bits = tags.get(names.BitsPerSample, (8,))
    return width * height * max(bits) * tags.get(names.SamplesPerPixel, 1) // 8


def _blocks(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields boxes (left, top, right, bottom) of at most `BLOCK_PIXELS` that cover an image."""
    columns = max(min(width, BLOCK_PIXELS), 1)
    rows = BLOCK_PIXELS // columns
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield left, top, min(left + columns, width), min(top + rows, height)


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # The image may be intact even if its EXIF data are not.
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
    """Converts an image to RGB block by block, to keep the copies of `convert` small."""
    result = Image.new("RGB", image.size)
    for box in _blocks(*image.size):
        result.paste(convert(image.crop(box)), box)
    return result


def _on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    background = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(background, image).convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """Scales 16-bit grey to 8 bits, which Pillow would clip at 255."""
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
