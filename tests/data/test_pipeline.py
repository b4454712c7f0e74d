"""The order of the data, and the scaling of pixels."""

import jax
import numpy as np
import pytest

from data.pipeline import Pipeline
from data.source import Source
from data.transforms import Transform


def _source(count):
    images = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Source(images, np.arange(count) % 3, 256, "numbers")


def test_every_epoch_holds_every_image_once():
    pipeline = Pipeline(_source(50), seed=0, batch_size=8)
    stream = np.concatenate([pipeline.indices(step) for step in range(100)])
    for epoch in range(16):
        assert sorted(stream[50 * epoch : 50 * (epoch + 1)]) == list(range(50))
    assert not np.array_equal(stream[:50], stream[50:100])


def test_order_depends_on_seed_and_step_alone():
    a, b = Pipeline(_source(50), 3, 8), Pipeline(_source(50), 3, 8)
    b.indices(17)
    np.testing.assert_array_equal(a.indices(40), b.indices(40))
    assert not np.array_equal(a.indices(40), Pipeline(_source(50), 4, 8).indices(40))


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_together_read_the_global_batch(processes):
    whole = Pipeline(_source(50), 0, 8).batch(11)
    parts = [Pipeline(_source(50), 0, 8, i, processes).batch(11) for i in range(processes)]
    for name in ("image", "label"):
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), whole[name])
    np.testing.assert_array_equal(whole["image"].ravel() % 3, whole["label"])


def test_a_batch_may_be_larger_than_the_data():
    assert sorted(Pipeline(_source(3), 0, 9).indices(0)) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_batches_read_ahead_in_order():
    pipeline = Pipeline(_source(50), 0, 8)
    stacks = list(pipeline.batches(4, 12, stride=2))
    assert len(stacks) == 4 and stacks[0]["image"].shape == (2, 8, 1, 1, 1)
    for name in ("image", "label"):
        whole = np.concatenate([stack[name] for stack in stacks])
        np.testing.assert_array_equal(whole, [pipeline.batch(s)[name] for s in range(4, 12)])


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("centered", [True, False])
def test_pixels_survive_the_way_there_and_back(levels, centered):
    pixels = np.arange(levels, dtype=np.uint8).reshape(1, levels, 1, 1)
    transform = Transform(levels, centered)
    keys = jax.random.split(jax.random.key(0), 1)
    for x in (transform.to_model(pixels), transform.dequantized(keys, pixels)):
        np.testing.assert_array_equal(transform.to_pixels(x), pixels)
        low = -1 if centered else 0
        assert low <= x.min() and x.max() <= 1


def test_dequantization_is_uniform_over_the_bin():
    pixels = np.full((1, 100, 100, 1), 3, np.uint8)
    x = np.asarray(Transform(10, centered=False).dequantized(jax.random.split(jax.random.key(0), 1), pixels))
    within = np.sort((x * 10 - 3).ravel())
    assert np.abs(within - np.linspace(0, 1, within.size)).max() < 1.63 / 100


def test_flips_mirror_half_of_the_images_by_key():
    pixels = np.random.default_rng(0).integers(0, 256, (400, 4, 4, 1), dtype=np.uint8)
    transform = Transform(256, random_flip=True)
    keys = jax.random.split(jax.random.key(0), 400)
    found = transform.to_pixels(transform.training(keys, pixels))
    same = (found == pixels).all(axis=(1, 2, 3))
    mirrored = (found == pixels[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same | mirrored).all() and abs(same.mean() - 0.5) < 0.1
    again = transform.to_pixels(transform.training(keys[100:], pixels[100:]))
    np.testing.assert_array_equal(again, found[100:])
