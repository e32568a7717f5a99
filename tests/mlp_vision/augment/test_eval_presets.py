import pytest

from mlp_vision.augment.eval_presets import EVAL_PRESETS

# Height and width of the picture; height, width, top and left of resized picture and crop at 224.
GEOMETRY = [
    ("squash", (333, 500), (224, 224, 0, 0)),
    ("resize_crop", (333, 500), (256, 256, 16, 16)),
    ("resmall_crop", (333, 500), (256, 384, 16, 80)),
    ("resmall_crop", (600, 341), (450, 256, 113, 16)),  # 450.4.
    ("timm", (333, 500), (256, 384, 16, 80)),  # 384.4 is cut.
    ("timm", (500, 375), (341, 256, 58, 16)),  # 341.3; 58.5 goes to the even neighbour.
    ("timm", (256, 259), (256, 259, 16, 18)),  # 17.5 likewise.
    ("timm", (100, 100), (256, 256, 16, 16)),
]


@pytest.mark.parametrize("preset, picture, expected", GEOMETRY)
def test_geometry_at_224_pixels(preset, picture, expected):
    span = EVAL_PRESETS[preset].span
    (height, top), (width, left) = (span(length, min(picture), 224) for length in picture)
    assert (height, width, top, left) == expected


@pytest.mark.parametrize("preset", EVAL_PRESETS)
def test_the_crop_lies_inside_whatever_the_sizes(preset):
    for image_size in (7, 8, 32, 224):
        for length in (1, 31, 224, 1001):
            for shorter in (1, 30, length):
                resized, first = EVAL_PRESETS[preset].span(length, min(shorter, length), image_size)
                assert first >= 0 and first + image_size <= resized
