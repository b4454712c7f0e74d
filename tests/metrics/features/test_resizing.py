"""Each tool's resizing, against the tool's own formula or library."""

import jax
import numpy as np
import pytest
from PIL import Image

from metrics.features.resizing import RESIZINGS, SIDE


def _images(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (2, height, width, channels), dtype=np.uint8)


def _unscaled(name, images):
    """What the resizing gives, in 0..255."""
    resizing = RESIZINGS[name]
    return np.asarray(resizing(images)) * resizing.divisor + resizing.offset


@pytest.mark.parametrize("side", [8, 32, 500])
def test_tf1_is_the_loop_of_tensorflow_s_kernel(side):
    images = _images(side, side, 1)[:1]
    x = images[0, :, :, 0].astype(float)
    place = np.arange(SIDE) * (side / SIDE)
    low = np.floor(place).astype(int)
    high, part = np.minimum(low + 1, side - 1), place - low
    rows = x[low] + (x[high] - x[low]) * part[:, None]
    expected = rows[:, low] + (rows[:, high] - rows[:, low]) * part
    np.testing.assert_allclose(_unscaled("tf1", images)[0, :, :, 0], expected, atol=2e-4)


@pytest.mark.parametrize("side", [8, 32])
def test_pytorch_fid_interpolates_between_centres_of_pixels(side):
    images = _images(side, side + 1)
    shape = (2, SIDE, SIDE, 3)
    with jax.enable_x64(True):
        expected = np.asarray(jax.image.resize(np.float64(images), shape, "bilinear", antialias=False))
    np.testing.assert_allclose(_unscaled("pytorch_fid", images), expected, atol=2e-4)


@pytest.mark.parametrize("shape", [(8, 8), (32, 48), (256, 299), (400, 640)])
def test_clean_fid_is_pillow_s_bicubic_filter_of_each_channel_in_float(shape):
    images = _images(*shape)[:1]
    channels = [Image.fromarray(images[0, :, :, c].astype(np.float32)) for c in range(3)]
    resized = [np.asarray(c.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for c in channels]
    expected = np.stack(resized, -1).clip(0, 255)
    np.testing.assert_allclose(_unscaled("clean_fid", images)[0], expected, atol=2e-4)


def test_the_range_of_each_tool():
    ends = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    ranges = {name: np.asarray(resize(ends))[:, 0, 0, 0].tolist() for name, resize in RESIZINGS.items()}
    from_128 = [-1.0, 127 / 128]
    assert ranges == {"tf1": from_128, "clean_fid": from_128, "pytorch_fid": [-1, 1], "none": [-1, 1]}
