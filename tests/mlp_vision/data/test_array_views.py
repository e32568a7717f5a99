import numpy as np
from PIL import Image

from mlp_core.data.pipeline import train_batches
from mlp_core.data.sources import ArraySource
from mlp_vision.augment.policies import RandAugment
from mlp_vision.data.host_views import ArrayViews, TrainView
from mlp_vision.data.pictures import DecodedPicture
from tests.mlp_vision.data.made_photos import photo

VIEW = TrainView(16, "pad", 1.0, 2, RandAugment(2, 15))
PICTURES = np.stack([np.asarray(photo(i).resize((20, 20))) for i in range(30)])
SOURCE = ArraySource({"image": PICTURES, "label": np.arange(30, dtype=np.int32)})


def batches(source, first_step=0, total_steps=5, num_workers=0):
    return list(train_batches(source, 70, 0, first_step, total_steps, num_workers))


def test_views_are_those_of_seed_and_draw():
    indices, draws = np.array([4, 4, 9]), np.array([100, 101, 2**40])
    batch = ArrayViews(SOURCE, VIEW, seed=3).gather(indices, draws)
    assert batch["label"].tolist() == [4, 4, 9] and batch["image"].dtype == np.uint8
    for view, index, draw in zip(batch["image"], indices, draws, strict=True):
        rng = np.random.default_rng((3, draw))
        picture = DecodedPicture(Image.fromarray(PICTURES[index]))
        np.testing.assert_array_equal(view, VIEW(picture, rng))
    assert (batch["image"][0] != batch["image"][1]).any()
    other = ArrayViews(SOURCE, VIEW, seed=4).gather(indices, draws)
    assert (batch["image"] != other["image"]).any()


def test_a_run_that_goes_on_sees_the_views_it_would_have_seen():
    whole, rest = batches(ArrayViews(SOURCE, VIEW, 0)), batches(ArrayViews(SOURCE, VIEW, 0), 3)
    for one, other in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])


def test_workers_make_the_same_views():
    here, there = (batches(ArrayViews(SOURCE, VIEW, 0), 0, 2, workers) for workers in (0, 2))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
        np.testing.assert_array_equal(one["label"], other["label"])
