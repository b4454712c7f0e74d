"""EDM's augmentation: exact where its geometry is, the published one elsewhere, and told in full."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.augmentation import LABELS, Augmentation, rotation, scaling, translation, warp
from data.transforms import Transform
from sde_lib import noise


def _keys(count, seed=0):
    return noise.example_keys(noise.root_key(seed), jnp.arange(count))


def _images(count, side=8, channels=1):
    return np.random.default_rng(0).standard_normal((count, side, side, channels)).astype(np.float32)


def _blobs(side=32):
    """Smooth images [2, side, side, 1] that no reflection or rotation keeps."""
    y, x = np.mgrid[:side, :side] / side
    first = np.exp(-30 * ((x - 0.3) ** 2 + 2 * (y - 0.6) ** 2))
    return np.stack([first, np.exp(-40 * ((x - 0.6) ** 2 + (y - 0.35) ** 2))])[..., None].astype(np.float32)


def test_images_and_labels_are_those_of_the_released_code():
    # Recorded there with the draws of these keys, on the images of `_images`.
    with np.load(Path(__file__).parent / "augmentation.npz") as golden:
        images, labels = jax.jit(Augmentation(0.6))(_keys(6), _images(6))
        np.testing.assert_allclose(images, golden["images"], atol=5e-5)
        np.testing.assert_allclose(labels, golden["labels"], atol=1e-6)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 0), (-2, 3), (4, -4)])
def test_a_move_by_whole_pixels_reads_the_reflected_image(x, y):
    images = _images(1)
    moved = warp(images, translation(jnp.array([-float(x)]), jnp.array([-float(y)])))
    padded = np.pad(images, ((0, 0), (7, 7), (7, 7), (0, 0)), mode="reflect")
    np.testing.assert_allclose(moved, padded[:, 7 - y : 15 - y, 7 - x : 15 - x], atol=2e-6)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_quarter_turn_turns_the_pixels(turns):
    # Not exactly: the filter has a direction.
    images = _blobs()
    turned = warp(images, rotation(jnp.full(2, turns * np.pi / 2)))
    np.testing.assert_allclose(turned, np.rot90(images, turns, axes=(1, 2)), atol=0.03)
    assert np.abs(turned - np.rot90(images, turns + 2, axes=(1, 2))).max() > 0.5


def test_scaling_by_two_shows_every_second_place():
    images = _blobs(33)
    doubled = warp(images, scaling(jnp.full(2, 0.5), jnp.full(2, 0.5)))
    np.testing.assert_allclose(doubled[:, ::2, ::2], images[:, 8:25, 8:25], atol=0.01)


def test_zero_labels_mean_an_image_as_it_was_and_flips_are_exact():
    images = _images(200)
    found, labels = jax.jit(Augmentation(0.1))(_keys(200), images)
    flipped_alone = ~np.any(np.asarray(labels)[:, 2:], axis=1)
    assert 0.5 < flipped_alone.mean() < 0.8  # 0.9^4
    for i in np.flatnonzero(flipped_alone):
        x, y = np.asarray(labels)[i, :2]
        np.testing.assert_array_equal(found[i], images[i, :: (-1 if y else 1), :: (-1 if x else 1)])
    unmoved = np.all(np.abs(found - images) < 1e-3, axis=(1, 2, 3))
    np.testing.assert_array_equal(unmoved, ~np.any(labels, axis=1))


def test_changes_are_as_frequent_and_as_large_as_published():
    count, probability = 20_000, 0.12
    flips, inverse, labels = jax.jit(lambda keys: Augmentation(probability).draw(keys, 32, 16))(_keys(count))
    labels = np.asarray(labels)
    np.testing.assert_array_equal(flips.T, labels[:, :2])
    share = (labels != 0).mean(axis=0)
    expected = np.array([0.5, 0.06, *[0.12] * 7])
    # Stretches along x alone have no seventh number.
    expected[6] = 0.06
    assert np.all(np.abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / count))
    for i in (2, 7, 8):
        changed = labels[labels[:, i] != 0, i]
        assert abs(changed.mean()) < 0.1 and abs(changed.std() - 1) < 0.06
    # The map of an image is known from its labels: its determinant from the scale, its moves from the last.
    determinant = np.linalg.det(np.asarray(inverse, np.float64))
    np.testing.assert_allclose(determinant, 2 ** (-0.4 * labels[:, 2]), rtol=1e-5)
    only_moved = np.all(labels[:, 2:7] == 0, axis=1)
    np.testing.assert_allclose(inverse[only_moved, 0, 2], -labels[only_moved, 7] * 16 / 8, rtol=1e-6)
    np.testing.assert_allclose(inverse[only_moved, 1, 2], -labels[only_moved, 8] * 32 / 8, rtol=1e-6)


def test_an_image_is_augmented_by_its_key_alone():
    images, keys = _images(6), _keys(6)
    whole = jax.jit(Augmentation(1.0))(keys, images)
    part = jax.jit(Augmentation(1.0))(keys[4:], images[4:])
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_allclose(one[4:], other, atol=1e-6)


@pytest.mark.parametrize("side", [1, 5])
def test_small_and_odd_sides_are_augmented(side):
    images, labels = jax.jit(Augmentation(1.0))(_keys(3), np.ones((3, side, side, 2), np.float32))
    assert images.shape == (3, side, side, 2) and labels.shape == (3, LABELS) and jnp.isfinite(images).all()


def test_the_transform_augments_only_where_it_is_told_to_and_changes_no_other_draw():
    keys, pixels = _keys(4), np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8, 1)
    plain, augmenting = (Transform(256, dequantize=True, augmentation=p) for p in (0.0, 1.0))
    x = plain.training(keys, pixels)
    np.testing.assert_array_equal(x, augmenting.training(keys, pixels))
    assert plain.augmented(keys, x) == (x, None)
    images, labels = jax.jit(augmenting.augmented)(keys, x)
    assert labels.shape == (4, LABELS) and not np.allclose(images, x, atol=0.1)
