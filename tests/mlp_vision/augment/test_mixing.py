import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlp_vision.augment.mixing import box_mask, cutmix, mix, mixup

SIZE, CLASSES = 16, 4
# Row i is of class i and of level i everywhere.
IMAGES = jnp.arange(CLASSES, dtype=jnp.float32)[:, None, None, None] * jnp.ones((1, SIZE, SIZE, 3))
SHARES = jnp.eye(CLASSES)
KEYS = jax.random.split(jax.random.key(0), 2000)


def many(way, alpha, keys=KEYS):
    return jax.vmap(lambda key: way(key, IMAGES, SHARES, alpha))(keys)


@pytest.mark.parametrize("way", [mixup, cutmix])
def test_shares_of_classes_are_those_of_the_pixels(way):
    images, shares = many(way, 1.0, KEYS[:300])
    partner = (np.arange(CLASSES) - 1) % CLASSES
    for row in range(CLASSES):
        own = shares[:, row, row]
        np.testing.assert_allclose(shares[:, row, partner[row]], 1 - own, atol=1e-6)
        expected = own * row + (1 - own) * partner[row]
        np.testing.assert_allclose(images[:, row].mean((1, 2, 3)), expected, atol=1e-5)
        assert np.ptp(own) > 0.4
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-6)


def test_mixup_blends_every_pixel_alike_and_keeps_more_than_half():
    images, shares = many(mixup, 0.5, KEYS[:100])
    assert np.ptp(images, axis=(2, 3, 4)).max() == 0
    own = np.asarray(shares[:, 1, 1])
    assert own.min() >= 0.5
    # Shares are drawn anew from key to key; all pictures of a batch have the same.
    assert (
        len(np.unique(own)) == 100 and np.ptp(np.diagonal(shares, axis1=1, axis2=2), 1).max() == 0
    )


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_weights_are_distributed_as_beta(alpha):
    own = np.asarray(many(mixup, alpha)[1][:, 0, 0])
    there = np.random.default_rng(0).beta(alpha, alpha, 100_000)
    expected = np.maximum(there, 1 - there)
    for quantile in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert abs(np.quantile(own, quantile) - np.quantile(expected, quantile)) < 0.02


def test_cutmix_puts_one_box_of_the_partner_into_each_picture():
    images, _ = many(cutmix, 1.0, KEYS[:200])
    for picture in np.asarray(images[:, 1, :, :, 0]):
        assert set(np.unique(picture)) <= {0, 1}
        rows, columns = np.nonzero(picture == 0)
        if rows.size:
            assert rows.size == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_cutmix_boxes_have_areas_from_beta_but_for_what_the_border_cuts_off():
    masks = np.asarray(jax.vmap(lambda key: box_mask(key, 64, 1.0))(KEYS))
    areas = masks.mean((1, 2))
    rng = np.random.default_rng(0)
    sides = np.sqrt(rng.uniform(size=20_000))
    centres = rng.uniform(size=(2, 20_000))
    spans = np.minimum(centres + sides / 2, 1) - np.maximum(centres - sides / 2, 0)
    expected = spans.prod(0)
    for quantile in (0.1, 0.25, 0.5, 0.75, 0.9):
        assert abs(np.quantile(areas, quantile) - np.quantile(expected, quantile)) < 0.03
    # Every place is covered, the corners as well, the middle most of all.
    cover = masks.mean(0)
    assert 0.1 < cover[0, 0] < cover[32, 32] and abs(cover[0, 0] - cover[-1, -1]) < 0.05


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_the_switch_chooses_between_the_two(probability):
    way = functools.partial(mix, mixup_alpha=1.0, cutmix_probability=probability)
    images, _ = many(lambda *args: way(*args[:3], cutmix_alpha=args[3]), 1.0)
    of_mixup = (np.ptp(images[:, 1], axis=(1, 2, 3)) == 0) & (images[:, 1, 0, 0, 0] % 1 > 0)
    assert abs(1 - of_mixup.mean() - probability) < 0.04


@pytest.mark.parametrize("only", ["mixup", "cutmix"])
def test_an_alpha_of_zero_switches_off(only):
    alphas = {"mixup_alpha": 0.0, "cutmix_alpha": 0.0} | {f"{only}_alpha": 1.0}
    images, _ = many(lambda *args: mix(*args[:3], cutmix_probability=0.5, **alphas), 1.0, KEYS[:50])
    blended = np.asarray(images[:, 1, 0, 0, 0] % 1 > 0)
    assert blended.all() if only == "mixup" else not blended.any()


def test_mixing_follows_its_key():
    once, again = (many(cutmix, 1.0, KEYS[:20])[0] for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert len(np.unique(once, axis=0)) > 15
