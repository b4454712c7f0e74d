"""Images made half as large or twice as large: by means and nearest neighbours, or by a filter.

The filter (a finite impulse response, FIR; Zhang 2019, StyleGAN2 and Song et al. 2021, appendix H.1) is the
outer product of `kernel` with itself, scaled to keep constant images. Outside an image everything is zero.
An image of side n goes down to side (n + 1) // 2; up, an image is cropped to the side that is asked for.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models.layers import constant, conv3x3, upsample_to, variance_scaling


def check_kernel(kernel):
    """Raises ValueError unless `kernel` has at least two numbers, of a sum above zero."""
    if len(kernel) < 2 or not sum(kernel) > 0:
        raise ValueError(f"fir_kernel={kernel} must have at least 2 numbers, and a positive sum")


def mean_down(x):
    """The mean of each 2x2 pixels; a last odd row or column is repeated."""
    b, height, width, c = x.shape
    if height % 2 or width % 2:
        x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return x.reshape(b, -(-height // 2), 2, -(-width // 2), 2, c).mean(axis=(2, 4))


def _correlate(x, axis, taps, padding, stride=1):
    """y[i] = sum_j taps[j] x[stride i + j] along an axis of zero-padded x."""
    edges = [(0, 0, 0)] * x.ndim
    edges[axis] = (*padding, 0)
    padded = jax.lax.pad(x, jnp.zeros((), x.dtype), edges)
    last = (padded.shape[axis] - len(taps)) // stride * stride + 1
    return sum(
        float(tap) * jax.lax.slice_in_dim(padded, j, j + last, stride, axis) for j, tap in enumerate(taps)
    )


def _taps(kernel, gain=1.0):
    # A filter is a convolution: it meets the image in reverse.
    kernel = np.asarray(kernel, dtype=np.float64)
    return gain * kernel[::-1] / kernel.sum()


def filtered_down(x, kernel):
    """Every second pixel of the filtered image."""
    taps, length = _taps(kernel), len(kernel)
    for axis in (1, 2):
        padding = ((length - 1) // 2, (length - 2) // 2 + x.shape[axis] % 2)
        x = _correlate(x, axis, taps, padding, stride=2)
    return x


def filtered_up(x, kernel, size):
    """Twice as many pixels, with zeros between them, filtered and cropped to `size`."""
    taps, length = _taps(kernel, gain=2.0), len(kernel)
    for axis in (1, 2):
        # Half of the taps meet the zeros: even and odd pixels are two filters of the small image.
        phases = []
        for phase in (0, 1):
            offset = phase - (length + 1) // 2
            first = offset % 2
            own, shift = taps[first::2], (offset + first) // 2
            phases.append(_correlate(x, axis, own, (-shift, shift + len(own) - 1)))
        shape = list(x.shape)
        shape[axis] *= 2
        x = jax.lax.slice_in_dim(jnp.stack(phases, axis + 1).reshape(shape), 0, size[axis - 1], axis=axis)
    return x


def down(x, kernel):
    """Images [B, H, W, C] at half the size; `kernel` None: by means."""
    return mean_down(x) if kernel is None else filtered_down(x, kernel)


def up(x, kernel, size):
    """Images at twice the size, cropped to `size`; `kernel` None: by nearest neighbours."""
    return upsample_to(x, *size) if kernel is None else filtered_up(x, kernel, size)


class _Convolution(nn.Module):
    """A 3x3 convolution that changes the size, with the filter where there is one.

    Attributes:
      features: of the output.
      kernel: of the filter, or None.
      dtype: of the computation.
    """

    features: int
    kernel: tuple | None
    dtype: jnp.dtype

    def _parameters(self, channels):
        kernel = self.param("kernel", variance_scaling(), (3, 3, channels, self.features))
        return kernel.astype(self.dtype), self.param("bias", constant(0.0), (self.features,)).astype(
            self.dtype
        )


class DownConvolution(_Convolution):
    """Half the size: a convolution of stride 2, of the filtered image where there is a filter."""

    @nn.compact
    def __call__(self, x):
        if self.kernel is None:
            return conv3x3(self.features, self.dtype, stride=2, name="convolution")(x)
        weights, bias = self._parameters(x.shape[-1])
        length = len(self.kernel)
        # The image is padded once, for the filter and the convolution together.
        for axis in (1, 2):
            padding = ((length + 1) // 2, length // 2 + x.shape[axis] % 2)
            x = _correlate(x, axis, _taps(self.kernel), padding)
        y = jax.lax.conv_general_dilated(
            x, weights, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return y + bias


class UpConvolution(_Convolution):
    """Twice the size: a convolution of the nearest neighbours, or one of the pixels between zeros, filtered.

    The output is cropped to `size`.
    """

    @nn.compact
    def __call__(self, x, size):
        if self.kernel is None:
            return conv3x3(self.features, self.dtype, name="convolution")(upsample_to(x, *size))
        weights, bias = self._parameters(x.shape[-1])
        y = jax.lax.conv_general_dilated(
            x,
            weights,
            (1, 1),
            ((2, 2), (2, 2)),
            lhs_dilation=(2, 2),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        length = len(self.kernel)
        for axis in (1, 2):
            padding = ((length - 3) // 2 + 1, (length - 4) // 2 + 1)
            y = _correlate(y, axis, _taps(self.kernel, gain=2.0), padding)
        return y[:, : size[0], : size[1]] + bias
