"""The filter against its definition: zeros between the pixels, a convolution, every second pixel."""

import jax
import numpy as np
import pytest

from models.resampling import DownConvolution, UpConvolution, filtered_down, filtered_up, mean_down

KERNELS = [(1, 3), (1, 2, 1), (1, 3, 3, 1), (1, 2, 4, 1), (1, 4, 6, 4, 2)]


def _along(x, kernel, axis, pad):
    filtered = np.apply_along_axis(lambda line: np.convolve(np.pad(line, pad), kernel, "valid"), axis, x)
    return filtered


def _zeros_between(x):
    between = np.zeros((x.shape[0], 2 * x.shape[1], 2 * x.shape[2], x.shape[3]))
    between[:, ::2, ::2] = x
    return between


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_filter_is_a_convolution_of_the_padded_image(kernel):
    x = np.random.default_rng(0).standard_normal((2, 6, 4, 3)).astype(np.float32)
    taps, beyond = np.array(kernel) / sum(kernel), len(kernel) - 2
    smaller, larger = x.astype(np.float64), _zeros_between(x)
    for axis in (1, 2):
        smaller = _along(smaller, taps, axis, ((beyond + 1) // 2, beyond // 2))
        larger = _along(larger, 2 * taps, axis, ((beyond + 1) // 2 + 1, beyond // 2))
    np.testing.assert_allclose(filtered_down(x, kernel), smaller[:, ::2, ::2], atol=1e-6)
    np.testing.assert_allclose(filtered_up(x, kernel, (12, 8)), larger, atol=1e-6)
    # An odd side is that of one more row, of zeros, going down, and of one less going up.
    np.testing.assert_allclose(
        filtered_down(x[:, :5], kernel),
        filtered_down(np.pad(x[:, :5], ((0, 0), (0, 1), (0, 0), (0, 0))), kernel),
        atol=1e-6,
    )
    np.testing.assert_allclose(filtered_up(x, kernel, (11, 7)), larger[:, :11, :7], atol=1e-6)


@pytest.mark.parametrize("kernel", [None, *KERNELS])
@pytest.mark.parametrize("side", [4, 5])
def test_convolutions_halve_and_double_any_side(kernel, side):
    x = np.ones((1, side, side, 2), np.float32)
    half, twice = (side + 1) // 2, (2 * side - side % 2,) * 2
    smaller = jax.eval_shape(lambda x: DownConvolution(3, kernel, np.float32).init_with_output(_key(), x), x)
    larger = jax.eval_shape(
        lambda x: UpConvolution(3, kernel, np.float32).init_with_output(_key(), x, twice), x
    )
    assert smaller[0].shape == (1, half, half, 3) and larger[0].shape == (1, *twice, 3)


def _key():
    return jax.random.key(0)


def test_means_repeat_an_odd_edge():
    x = np.arange(15.0, dtype=np.float32).reshape(1, 3, 5, 1)
    found = mean_down(x)[0, :, :, 0]
    np.testing.assert_allclose(found, [[3, 5, 6.5], [10.5, 12.5, 14]])
