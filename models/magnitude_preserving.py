"""Layers that keep the magnitude of what goes through them (Karras et al. 2024, section 2 and appendix B).

The magnitude of a tensor is its root mean square. Every layer here is made so that inputs of magnitude one
give outputs of magnitude one in expectation, so that neither activations nor weights grow in training. A
weight is a direction alone: its size is normalized away on the way forward (eq. 47), and by `normalized`
after every step (eq. 66), without which a growing weight would lower its own learning rate unseen.

Each layer computes in float32 and rounds once: in bfloat16 their factors would cost more than their sums.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models.layers import normal, silu_rounded, to_float32, uniform

# Added to the magnitude that is divided by.
EPSILON = 1e-4
# The name of the parameters that `normalized` acts on.
WEIGHT = "kernel"


def normalize(x, axis):
    """Divides x by EPSILON plus its root mean square along the axes."""
    wide = to_float32(x)
    square = jnp.mean(jnp.square(wide), axis=axis, keepdims=True)
    # The root has no derivative at zero, and there none is needed.
    magnitude = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return (wide / (EPSILON + magnitude)).astype(x.dtype)


def normalize_weight(weight):
    """A weight [..., inputs, outputs] with magnitude one for each output (eq. 66)."""
    return normalize(weight, tuple(range(weight.ndim - 1)))


def normalized(params):
    """A tree of parameters with every weight of these layers normalized; the rest as it is."""

    def of_leaf(path, leaf):
        return normalize_weight(leaf) if path[-1].key == WEIGHT else leaf

    return jax.tree_util.tree_map_with_path(of_leaf, params)


def silu(x, dtype=None):
    """SiLU over its magnitude on Gaussian inputs, 0.596 (eq. 81), in dtype or that of x."""
    return silu_rounded(to_float32(x), dtype or x.dtype, 1 / 0.596)


def add(a, b, share):
    """(1 - share) a + share b, over the magnitude that independent a and b give it (eq. 88)."""
    total = math.hypot(1 - share, share)
    return ((1 - share) / total * to_float32(a) + share / total * to_float32(b)).astype(a.dtype)


def concatenate(a, b, share):
    """Joins a and b along the channels; `share` tells how much b counts (eq. 103).

    As a part of all numbers that the next layer sums over, b has weight share^2 of (1 - share)^2 + share^2,
    however many channels either has.
    """
    channels_a, channels_b = a.shape[-1], b.shape[-1]
    total = math.sqrt((channels_a + channels_b) / ((1 - share) ** 2 + share**2))
    weight_a = total * (1 - share) / math.sqrt(channels_a)
    weight_b = total * share / math.sqrt(channels_b)
    parts = (weight_a * to_float32(a), weight_b * to_float32(b))
    return jnp.concatenate([part.astype(a.dtype) for part in parts], axis=-1)


class Fourier(nn.Module):
    """Random Fourier features sqrt(2) cos(2 pi (f value + phase)), [B] -> [B, width] (eq. 75).

    Frequencies f are standard normal, phases uniform; both are parameters that no gradient reaches.
    """

    width: int

    @nn.compact
    def __call__(self, value):
        frequencies = self.param("frequencies", normal(1.0), (self.width,))
        phases = self.param("phases", uniform(0.5), (self.width,))
        angles = 2 * jnp.pi * (value[:, None] * frequencies + phases)
        return np.sqrt(2).astype(angles.dtype) * jax.lax.stop_gradient(jnp.cos(angles))


class Convolution(nn.Module):
    """Convolution without bias, of images [B, H, W, C] or, of side 0, of vectors [B, C] (eq. 47).

    Attributes:
      features: of the output.
      side: of the kernel; 0: a dense layer.
    """

    features: int
    side: int

    @nn.compact
    def __call__(self, x, gain=1.0):
        """The output, times `gain`, in the dtype of x."""
        window = (self.side, self.side) if self.side else ()
        weight = self.param(WEIGHT, normal(1.0), (*window, x.shape[-1], self.features))
        fan_in = np.prod(weight.shape[:-1])
        weight = (normalize_weight(weight) * (gain / np.sqrt(fan_in).astype(weight.dtype))).astype(x.dtype)
        if not self.side:
            return x @ weight
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=layout)
