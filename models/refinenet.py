"""The RefineNet of NCSN and NCSNv2 (Lin et al. 2017; Song & Ermon 2019, appendix A, and 2020, appendix B).

A backbone of residual blocks, in stages that halve the image's sides or dilate their convolutions, is read
back from its coarsest stage by RefineNet's blocks: residual convolution units, multi-resolution fusion and
chained residual pooling, all with ELU and InstanceNorm++. NCSN tells every norm the noise level and pools by
means; NCSNv2 has norms without the level, in the backbone alone, and pools by maxima.

The details are those of the authors' PyTorch code, with which both papers were made: InstanceNorm++ divides
by the unbiased variance over channels, and the fusion interpolates with the corner pixels aligned. The JAX
networks of Song et al. (2021) have the biased variance and aligned pixel edges there.
"""

import functools
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models.fields import DTYPES, refuse_unknown
from models.layers import REMATERIALIZATIONS, constant, normal, rematerialized, uniform


class Stage(NamedTuple):
    """One stage of the backbone, two residual blocks.

    Attributes:
      multiplier: channels in units of the network's width.
      halves: whether the first block halves the image's sides.
      dilation: of the 3x3 convolutions.
    """

    multiplier: int
    halves: bool = False
    dilation: int = 1


def convolution(x, features, dtype, side=3, dilation=1, bias=True, name=None):
    """Convolution of x [B, H, W, C] with PyTorch's initialization: uniform, at most 1 / sqrt(fan in)."""
    initial = uniform(1 / np.sqrt(side**2 * x.shape[-1]))
    return nn.Conv(
        features,
        (side, side),
        kernel_dilation=dilation,
        use_bias=bias,
        kernel_init=initial,
        bias_init=initial,
        dtype=dtype,
        name=name,
    )(x)


def mean_pool(x, window, stride):
    """Means over windows [window, window]; zeros beyond the border count where the stride is 1.

    With a stride of 2 odd sides round up, and the windows at their ends are as much smaller.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    pooled = nn.avg_pool(wide, (window, window), (stride, stride), "SAME", count_include_pad=stride == 1)
    return pooled.astype(x.dtype)


def max_pool5(x):
    """Maxima over 5x5 windows around each pixel, within the image."""
    # Pairwise maxima of shifted images: their gradient takes a sixth of a windowed maximum's time on CPU. Of
    # equal pixels the first in reading order has the gradient, as in PyTorch.
    for axis in (2, 1):
        size = x.shape[axis]
        padding = [(2, 2) if a == axis else (0, 0) for a in range(4)]
        wide = jnp.pad(x, padding, constant_values=-jnp.inf)
        shifted = [jax.lax.slice_in_dim(wide, first, first + size, axis=axis) for first in range(5)]
        x = functools.reduce(lambda first, later: jnp.where(later > first, later, first), shifted)
    return x


def interpolation_matrix(size, new_size):
    """[new_size, size] float64: linear interpolation from `size` points to `new_size`, ends onto ends."""
    position = np.linspace(0, size - 1, new_size)
    return np.maximum(1 - np.abs(position[:, None] - np.arange(size)), 0)


def interpolate_to(x, height, width):
    """Bilinear interpolation of x [B, H, W, C] to other sides, corner pixels onto corner pixels."""
    # As products with constant matrices: the gradient of gathered rows is a scatter, whose order some
    # accelerators leave open.
    for axis, size in ((1, height), (2, width)):
        if x.shape[axis] != size:
            matrix = jnp.asarray(interpolation_matrix(x.shape[axis], size), x.dtype)
            equation = ("bhwc,oh->bowc", "bhwc,ow->bhoc")[axis - 1]
            x = jnp.einsum(equation, x, matrix, precision="highest")
    return x


def _around_one(key, shape, dtype=jnp.float32, *_):
    return 1 + normal(0.02)(key, shape, dtype)


class InstanceNormPlusPlus(nn.Module):
    """InstanceNorm++ (Song & Ermon 2019, appendix A) of x [B, H, W, C], at levels [B] if it is conditional.

    With mean mu and deviation s over the pixels of each channel, and mean m and deviation v of the C numbers
    mu, the output is gamma ((x - mu) / s + alpha (mu - m) / v) + beta.

    Attributes:
      noise_levels: how many levels have a gamma, alpha and beta of their own; 0: one of each for all.
      epsilon: added to both variances.
    """

    noise_levels: int = 0
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x, level=None):
        channels = x.shape[-1]

        def coefficient(name, initial):
            if not self.noise_levels:
                return self.param(name, initial, (channels,))
            table = jnp.asarray(self.param(name, initial, (self.noise_levels, channels)))
            return table[level][:, None, None, :]

        gamma, alpha = coefficient("gamma", _around_one), coefficient("alpha", _around_one)
        beta = coefficient("beta", constant(0.0))

        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        mean = wide.mean(axis=(1, 2), keepdims=True)
        centered = wide - mean
        variance = jnp.square(centered).mean(axis=(1, 2), keepdims=True)
        mean_centered = mean - mean.mean(axis=-1, keepdims=True)
        mean_variance = jnp.square(mean_centered).sum(axis=-1, keepdims=True) / (channels - 1)
        shift = beta + gamma * alpha * mean_centered * jax.lax.rsqrt(mean_variance + self.epsilon)
        return (centered * (gamma * jax.lax.rsqrt(variance + self.epsilon)) + shift).astype(x.dtype)


class ResidualBlock(nn.Module):
    """Norm, ELU, convolution, twice, beside the input or a convolution of it.

    Attributes:
      features: of the output.
      opens: whether the block is the first of a stage below the first stage: its shortcut has a convolution.
      halves: whether its output has half the sides, rounded up.
      dilation: of the convolutions. A dilated block keeps the sides.
      noise_levels: of the norms.
      dtype: of the computation.
    """

    features: int
    opens: bool
    halves: bool
    dilation: int
    noise_levels: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, level):
        def normed(x, name):
            return nn.elu(InstanceNormPlusPlus(self.noise_levels, name=name)(x, level))

        h = convolution(normed(x, "norm_1"), x.shape[-1], self.dtype, 3, self.dilation, name="conv_1")
        h = convolution(normed(h, "norm_2"), self.features, self.dtype, 3, self.dilation, name="conv_2")
        if self.halves:
            # Before the shortcut's 1x1 convolution, with which means commute.
            h, x = mean_pool(h, 2, 2), mean_pool(x, 2, 2)
        if self.opens:
            side = 3 if self.dilation > 1 else 1
            x = convolution(x, self.features, self.dtype, side, self.dilation, name="shortcut")
        return h + x


class ResidualConvolutionUnits(nn.Module):
    """RefineNet's residual convolution units in a row: norm (if conditional), ELU, convolution, twice.

    Attributes:
      units: how many.
      noise_levels: of the norms; 0: there are none.
      dtype: of the computation.
    """

    units: int
    noise_levels: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, level):
        for unit in range(1, self.units + 1):
            h = x
            for part in (1, 2):
                if self.noise_levels:
                    h = InstanceNormPlusPlus(self.noise_levels, name=f"norm_{unit}_{part}")(h, level)
                h = convolution(nn.elu(h), x.shape[-1], self.dtype, bias=False, name=f"conv_{unit}_{part}")
            x = x + h
        return x


class MultiResolutionFusion(nn.Module):
    """RefineNet's fusion: a norm (if conditional) and a convolution of each input, interpolated and summed.

    Inputs [B, H_i, W_i, C_i]; the output has the sides of the first.

    Attributes:
      features: of the output.
      noise_levels: of the norms; 0: there are none.
      dtype: of the computation.
    """

    features: int
    noise_levels: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, inputs, level):
        total = 0
        for number, h in enumerate(inputs, 1):
            if self.noise_levels:
                h = InstanceNormPlusPlus(self.noise_levels, name=f"norm_{number}")(h, level)
            h = convolution(h, self.features, self.dtype, name=f"conv_{number}")
            total = total + interpolate_to(h, *inputs[0].shape[1:3])
        return total


class ChainedResidualPooling(nn.Module):
    """RefineNet's chain of two poolings over 5x5 pixels, each with a convolution, all summed.

    Attributes:
      noise_levels: of the norm before each pooling, which then is by means; 0: no norm, and maxima.
      dtype: of the computation.
    """

    noise_levels: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, level):
        total = path = nn.elu(x)
        for number in (1, 2):
            if self.noise_levels:
                path = InstanceNormPlusPlus(self.noise_levels, name=f"norm_{number}")(path, level)
                path = mean_pool(path, 5, 1)
            else:
                path = max_pool5(path)
            path = convolution(path, x.shape[-1], self.dtype, bias=False, name=f"conv_{number}")
            total = total + path
        return total


class RefineBlock(nn.Module):
    """RefineNet's block on a stage of the backbone and, but for the coarsest, on the block below.

    Attributes:
      features: of the output.
      output_units: residual convolution units at the end.
      noise_levels, dtype: as in the blocks above.
      rematerialization: key of models.layers.REMATERIALIZATIONS.
    """

    features: int
    output_units: int
    noise_levels: int
    dtype: jnp.dtype
    rematerialization: str

    @nn.compact
    def __call__(self, inputs, level):
        units = rematerialized(ResidualConvolutionUnits, self.rematerialization)
        pooling = rematerialized(ChainedResidualPooling, self.rematerialization)
        shared = self.noise_levels, self.dtype
        adapted = [units(2, *shared, name=f"adapt_{n}")(h, level) for n, h in enumerate(inputs, 1)]
        h = adapted[0]
        if len(inputs) > 1:
            h = MultiResolutionFusion(self.features, *shared, name="fusion")(adapted, level)
        h = pooling(*shared, name="pooling")(h, level)
        return units(self.output_units, *shared, name="output")(h, level)


class RefineNet(nn.Module):
    """What NCSN and NCSNv2 share; see their files. Images of any sides; labels are ignored.

    Attributes:
      channels: of the output.
      width: channels at full resolution, at least 2.
      recentre: take images in [0, 1] to [-1, 1] first, as the papers' networks do with theirs.
      dtype: of the computation; parameters and output are float32.
      rematerialization: key of models.layers.REMATERIALIZATIONS.
    """

    ignores_labels: ClassVar[bool] = True

    channels: int
    width: int = 128
    recentre: bool = False
    dtype: str = "float32"
    rematerialization: str = "none"

    def __post_init__(self):
        if not isinstance(self.width, int) or self.width < 2:
            raise ValueError(f"width={self.width} must be a whole number of at least 2")
        refuse_unknown(self, dtype=DTYPES, rematerialization=REMATERIALIZATIONS)
        super().__post_init__()

    def __call__(self, x, noise, label=None, dropout_keys=None):
        """The output; see models.network.Network."""
        return self.features(x, noise, label, dropout_keys)[0]

    def refine(self, x, stages, noise_levels=0, level=None):
        """The output [B, H, W, channels] and the last features [B, H, W, width], before their norm.

        Args:
          x: [B, H, W, C] noisy images.
          stages: of the backbone, finest first.
          noise_levels: of the norms, 0 for those without; level: [B] int32, or None.
        """
        # Images in float64 are for tests, which ask for all of its digits.
        exact = x.dtype == jnp.float64
        dtype = x.dtype if exact else jnp.dtype(self.dtype)
        block = rematerialized(ResidualBlock, self.rematerialization)
        h = convolution((2 * x - 1 if self.recentre else x).astype(dtype), self.width, dtype, name="input")
        outputs = []
        for number, stage in enumerate(stages, 1):
            for part in (1, 2):
                opens = part == 1 and number > 1
                halves = part == 1 and stage.halves
                h = block(
                    self.width * stage.multiplier,
                    opens,
                    halves,
                    stage.dilation,
                    noise_levels,
                    dtype,
                    name=f"stage_{number}_block_{part}",
                )(h, level)
            outputs.append(h)

        # A block on a stage has the channels of the next finer stage.
        h = None
        for number in range(len(stages), 0, -1):
            inputs = [outputs[number - 1]] + ([] if h is None else [h])
            h = RefineBlock(
                self.width * stages[max(number - 2, 0)].multiplier,
                3 if number == 1 else 1,
                noise_levels,
                dtype,
                self.rematerialization,
                name=f"refine_{number}",
            )(inputs, level)

        last = nn.elu(InstanceNormPlusPlus(noise_levels, name="norm")(h, level))
        output = convolution(last, self.channels, dtype, name="output")
        return output.astype(x.dtype if exact else jnp.float32), h
