"""Layers of Inception-v3 against loops over pixels; the whole is in tests/importers/."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from metrics.features.inception_v3 import Block, average_pool, convolve


def _maps(height, width, channels):
    return np.random.default_rng(0).standard_normal((2, height, width, channels)).astype(np.float32)


def _averaged(x):
    """Means of the pixels that are there in windows of 3x3, one after the other."""
    result = np.empty_like(x)
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            window = x[:, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            result[:, i, j] = window.mean((1, 2))
    return result


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 3)])
def test_averages_count_no_padding(shape):
    x = _maps(*shape, 2)
    np.testing.assert_allclose(average_pool(x), _averaged(x), atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(7, 7), (8, 5)])
def test_a_convolution_without_padding_sees_whole_windows_alone(stride, shape):
    x, kernel = _maps(*shape, 3), np.random.default_rng(1).standard_normal((3, 3, 3, 4)).astype(np.float32)
    rows, columns = (range(0, side - 2, stride) for side in shape)
    expected = [
        [np.einsum("bhwc,hwco->bo", x[:, i : i + 3, j : j + 3], kernel) for j in columns] for i in rows
    ]
    found = convolve(x, kernel, stride, "VALID")
    np.testing.assert_allclose(found, np.array(expected).transpose(2, 0, 1, 3), atol=1e-5)


class _Branches(Block):
    @nn.compact
    def __call__(self, x):
        return self.pointwise(x, "averaged", plain=3, averaged=2)


def test_averaging_after_a_convolution_of_one_pixel_is_averaging_before():
    x = _maps(4, 5, 6)
    generator = np.random.default_rng(2)
    params = {
        name: {"kernel": generator.standard_normal((1, 1, 6, size)), "bias": generator.standard_normal(size)}
        for name, size in (("plain", 3), ("averaged", 2))
    }
    params = jax.tree.map(np.float32, params)
    plain, pooled = _Branches().apply({"params": params}, x)
    expected = [
        np.maximum(y @ params[name]["kernel"][0, 0] + params[name]["bias"], 0)
        for name, y in (("plain", x), ("averaged", _averaged(x)))
    ]
    np.testing.assert_allclose(plain, expected[0], atol=1e-5)
    np.testing.assert_allclose(pooled, expected[1], atol=1e-5)
