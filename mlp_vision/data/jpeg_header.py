"""What the header of a JPEG says, read without decoding anything."""

import dataclasses

END_OF_IMAGE = b"\xff\xd9"
# Markers (ITU-T T.81, table B.1), each the second byte of two; the first is 0xFF.
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2  # Frames of Huffman codes.
OTHER_FRAMES = {0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)}
START_OF_SCAN = 0xDA
METADATA = 0xE1  # Of EXIF or XMP.
STANDALONE = {0x01, *range(0xD0, 0xDA)}  # Have no length; none belongs before the scan.


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
