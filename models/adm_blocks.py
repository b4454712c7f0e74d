"""The residual block and the self-attention of ADM, in the general form that EDM's networks share.

Dhariwal & Nichol (2021, section 3) and Karras et al. (2022, table 7) describe the same block: the noise level
scales and shifts its second norm or is added before it, and it may halve or double the image on its way.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models import layers
from models.fields import DTYPES, refuse_too_deep, refuse_unknown
from models.layers import Dropout, constant, normal, rematerialized, uniform, variance_scaling


def computed_in(dtype, x):
    """The dtype of the computation: the field `dtype`, or float64 where "float32" is given float64 images."""
    return jnp.promote_types(x.dtype, dtype) if dtype == "float32" else jnp.dtype(dtype)


def refuse_fields(network):
    """Raises ValueError for fields of the U-Nets of this family that cannot be, each by name."""
    if network.width < 2 or network.width % 2:
        raise ValueError(f"width={network.width} must be even and at least 2")
    refuse_unknown(network, dtype=DTYPES, rematerialization=layers.REMATERIALIZATIONS)
    for field in ("dropout", "label_dropout"):
        rate = getattr(network, field, 0.0)
        if not 0 <= rate < 1:
            raise ValueError(f"{field}={rate} must lie in [0, 1)")
    for field in ("embedding_multiplier", "noise_multiplier", "head_width", "heads"):
        number = getattr(network, field, None)
        if number is not None and number < 1:
            raise ValueError(f"{field}={number} must be positive")
    if getattr(network, "augmentation_labels", 0) < 0:
        raise ValueError(f"augmentation_labels={network.augmentation_labels} must not be negative")
    whole = (network.blocks, *network.attention)
    if not network.multipliers or not all(isinstance(n, int) and n > 0 for n in whole):
        raise ValueError(
            f"multipliers={network.multipliers}, blocks={network.blocks} and attention={network.attention} "
            "must be positive, the last two whole numbers, with at least one multiplier"
        )
    widths = [network.width * multiplier for multiplier in network.multipliers]
    if not all(width > 0 and width == int(width) for width in widths):
        raise ValueError(
            f"multipliers={network.multipliers} of width={network.width} must give positive whole channels"
        )
    refuse_too_deep(network)


class Initialization(NamedTuple):
    """Initializers of a network's layers; a layer's bias may depend on how many numbers each output reads.

    Attributes:
      kernel, last, attention: of kernels: in general, of a residual branch's last layer, of the queries,
        keys and values.
      bias: that number -> the initializer of the biases beside `kernel` and `attention`; those beside `last`
        are zero.
    """

    kernel: Callable
    last: Callable
    attention: Callable
    bias: Callable


# Uniform of variance 1 / (3 fan in), biases too: what PyTorch's layers have by default, and with them ADM.
UNIFORM = Initialization(
    kernel=uniform(lambda shape: np.prod(shape[:-1]) ** -0.5),
    last=constant(0.0),
    attention=uniform(lambda shape: np.prod(shape[:-1]) ** -0.5),
    bias=lambda inputs: uniform(lambda _: inputs**-0.5),
)
# Glorot & Bengio's (2010) uniform one, 1e-5 of it in last layers: DDPM's, DDPM++'s and NCSN++'s.
XAVIER = Initialization(
    kernel=variance_scaling(1.0),
    last=variance_scaling(1e-10),
    attention=variance_scaling(0.2),
    bias=lambda inputs: constant(0.0),
)


def convolution(x, features, dtype, init, side=3, stride=1, padding=None, last=False, name=None):
    """A convolution of `side` with zero padding that is symmetric; here applied to x [B, H, W, C]."""
    layer = nn.Conv(
        features,
        (side, side),
        (stride, stride),
        padding=side // 2 if padding is None else padding,
        kernel_init=init.last if last else init.kernel,
        bias_init=constant(0.0) if last else init.bias(side**2 * x.shape[-1]),
        dtype=dtype,
        name=name,
    )
    return layer(x)


def linear(x, features, dtype, init, kernel=None, use_bias=True, name=None):
    """A dense layer on the last axis of x; `kernel`: an initializer in place of `init.kernel`."""
    layer = nn.Dense(
        features,
        use_bias=use_bias,
        kernel_init=kernel or init.kernel,
        bias_init=constant(0.0) if kernel is init.last else init.bias(x.shape[-1]),
        dtype=dtype,
        name=name,
    )
    return layer(x)


def group_norm(x, epsilon, groups, name, silu=False, dtype=None):
    """Group normalization of x in `groups` groups, where they divide its channels; else see GroupNorm."""
    divides = groups is not None and x.shape[-1] % groups == 0
    return layers.GroupNorm(epsilon, groups if divides else None, silu, dtype, name=name)(x)


def norm_silu(x, epsilon, groups, name):
    """SiLU of `group_norm`, rounded once with it."""
    return group_norm(x, epsilon, groups, name, silu=True)


def refuse_kernel(kernel):
    """Raises ValueError for a resampling filter with an odd number of taps, or with the sum zero."""
    if len(kernel) < 2 or len(kernel) % 2 or not sum(kernel):
        raise ValueError(f"fir_kernel={kernel} must have an even number of entries, whose sum is not zero")


def to_even(x):
    """Images [B, H, W, C] with the last row and column repeated where their number is odd."""
    _, height, width, _ = x.shape
    if height % 2 == width % 2 == 0:
        return x
    return jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def filtered_half(x, kernel, padding):
    """Every second pixel of x, filtered by the outer product of `kernel` with itself, of sum one."""
    taps = [float(tap) / sum(kernel) for tap in kernel]
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    for axis in (1, 2):
        last = x.shape[axis] - len(taps)
        x = sum(
            tap * jax.lax.slice_in_dim(x, k, k + last + 1, stride=2, axis=axis) for k, tap in enumerate(taps)
        )
    return x


def half_size(x, kernel=(1, 1)):
    """Images [B, H, W, C] at half their sides, rounded up; the kernel (1, 1) takes means of 2 x 2 pixels."""
    x = to_even(x)
    if tuple(kernel) == (1, 1):
        b, height, width, c = x.shape
        return x.reshape(b, height // 2, 2, width // 2, 2, c).mean(axis=(2, 4), dtype=x.dtype)
    return filtered_half(x, kernel, len(kernel) // 2 - 1)


def double_size(x, size, kernel=(1, 1)):
    """Images [B, H, W, C] at twice their sides, cropped to `size`; the kernel (1, 1) repeats pixels.

    The transpose of `half_size`, times four: zeros between the pixels, then the filter, reversed.
    """
    if tuple(kernel) == (1, 1):
        x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
        return x[:, : size[0], : size[1]]
    taps, offset = [2 * float(tap) / sum(kernel) for tap in kernel], len(kernel) // 2 - 1
    reach = len(taps) // 2
    for axis in (1, 2):
        length = x.shape[axis]
        padded = jnp.pad(x, [(reach, reach) if i == axis else (0, 0) for i in range(4)])
        # Pixel i reaches pixel o of the doubled image through tap o + offset - 2 i.
        phases = [
            sum(
                taps[k] * jax.lax.slice_in_dim(padded, start, start + length, axis=axis)
                for k in range((phase + offset) % 2, len(taps), 2)
                for start in [reach + (phase + offset - k) // 2]
            )
            for phase in (0, 1)
        ]
        shape = [*x.shape]
        shape[axis] *= 2
        x = jnp.stack(phases, axis=axis + 1).reshape(shape)
    return x[:, : size[0], : size[1]]


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution, twice, added to the input; it may halve or double the image before them.

    Attributes:
      features: channels of the output.
      dropout: rate.
      dtype: of the computation.
      init: Initialization.
      groups, epsilon: of the norms; groups None: see layers.GroupNorm.
      scale_shift: the time scales and shifts the second norm; False: it is added before.
      resample: "none", "down", or "up" to the sides `size`.
      kernel: of the resampling filter.
      project: the shortcut of a resampling block has a 1 x 1 convolution though channels stay as many.
      skip_scale: of the sum.
    """

    features: int
    dropout: float
    dtype: jnp.dtype
    init: Initialization
    groups: int | None = None
    epsilon: float = 1e-5
    scale_shift: bool = True
    resample: str = "none"
    size: tuple | None = None
    kernel: tuple = (1, 1)
    project: bool = False
    skip_scale: float = 1.0

    @nn.compact
    def __call__(self, x, time, dropout_keys):
        """Features [B, H', W', features]; time: [B, E], the activated embedding of the noise level."""

        def resampled(x):
            if self.resample == "down":
                return half_size(x, self.kernel)
            return double_size(x, self.size, self.kernel) if self.resample == "up" else x

        h = resampled(norm_silu(x, self.epsilon, self.groups, "norm_0"))
        h = convolution(h, self.features, self.dtype, self.init, name="conv_0")
        time = linear(time, (1 + self.scale_shift) * self.features, self.dtype, self.init, name="time")
        time = time[:, None, None, :]
        if self.scale_shift:
            scale, shift = map(layers.to_float32, jnp.split(time, 2, axis=-1))
            normed = group_norm(h, self.epsilon, self.groups, "norm_1", dtype=scale.dtype)
            h = layers.silu_rounded(normed * (1 + scale) + shift, h.dtype)
        else:
            h = norm_silu(h + time, self.epsilon, self.groups, "norm_1")
        h = Dropout(self.dropout, name="dropout")(h, dropout_keys)
        h = convolution(h, self.features, self.dtype, self.init, last=True, name="conv_1")
        changed = x.shape[-1] != self.features
        x = resampled(x)
        if changed or (self.project and self.resample != "none"):
            x = linear(x, self.features, self.dtype, self.init, name="shortcut")
        return _times(x + h, self.skip_scale)


def _times(x, scale):
    return x if scale == 1.0 else x * scale


# Axes of the output channels of the layer that gives queries, keys and values, slowest first: heads h, which
# of the three t, and channels c of a head.
ORDERS = {"legacy": "htc", "new": "thc", "interleaved": "hct"}


def heads_of(qkv, heads, order):
    """[B, N, 3 C] -> queries, keys and values [B, N, heads, C / heads] each."""
    sizes = {"h": heads, "t": 3, "c": qkv.shape[-1] // (3 * heads)}
    split = qkv.reshape(*qkv.shape[:2], *(sizes[axis] for axis in ORDERS[order]))
    return jnp.moveaxis(split, 2 + ORDERS[order].index("t"), 0)


def attend(query, key, value):
    """Softmax attention: query [B, Q, heads, c], key and value [B, K, heads, c] -> [B, Q, heads, c]."""
    wide = jnp.promote_types(query.dtype, jnp.float32)
    logits = jnp.einsum("bqhc,bkhc->bhqk", query, key, preferred_element_type=wide)
    weights = jax.nn.softmax(logits * query.shape[-1] ** -0.5).astype(value.dtype)
    return jnp.einsum("bhqk,bkhc->bqhc", weights, value)


class SelfAttention(nn.Module):
    """Self-attention over all pixels, with heads, added to its input.

    Attributes:
      heads: how many; they divide the channels.
      order: key of ORDERS.
      The others: as of ResidualBlock.
    """

    heads: int
    order: str
    dtype: jnp.dtype
    init: Initialization
    groups: int | None = None
    epsilon: float = 1e-5
    skip_scale: float = 1.0

    @nn.compact
    def __call__(self, x):
        b, height, width, c = x.shape
        h = group_norm(x, self.epsilon, self.groups, "norm").reshape(b, height * width, c)
        qkv = linear(h, 3 * c, self.dtype, self.init, self.init.attention, name="query_key_value")
        h = attend(*heads_of(qkv, self.heads, self.order)).reshape(b, height, width, c)
        return _times(x + linear(h, c, self.dtype, self.init, self.init.last, name="out"), self.skip_scale)


class ClassEmbedding(nn.Module):
    """A vector for each class, [B] labels -> [B, features]; None and labels out of range are no class.

    Attributes:
      features: of the output.
      classes: how many.
      dtype: of the computation.
      kernel: initializer of the vectors.
      dropout: part of the examples whose class is left out while training, for classifier-free guidance.
      scale: of the one-hot vectors.
      use_bias: whether a bias, which examples without class have too, is added.
    """

    features: int
    classes: int
    dtype: jnp.dtype
    kernel: Callable = normal(1.0)
    dropout: float = 0.0
    scale: float = 1.0
    use_bias: bool = False

    @nn.compact
    def __call__(self, label, batch, dropout_keys):
        label = jnp.full(batch, -1) if label is None else label
        known = jax.nn.one_hot(label, self.classes, dtype=self.dtype)
        # Dropout divides what it keeps; labels are kept as they are.
        kept = Dropout(self.dropout, name="dropout")(jnp.ones((batch, 1)), dropout_keys) > 0
        known = jnp.where(kept, self.scale * known, 0)
        return nn.Dense(
            self.features,
            use_bias=self.use_bias,
            kernel_init=self.kernel,
            bias_init=constant(0.0),
            dtype=self.dtype,
            name="classes",
        )(known)


class AugmentationEmbedding(nn.Module):
    """[B, labels] numbers that tell how images were augmented -> [B, features]; None: they were not.

    Attributes:
      features: of the output.
      labels: how many numbers.
      dtype: of the computation.
      kernel: initializer.
    """

    features: int
    labels: int
    dtype: jnp.dtype
    kernel: Callable

    @nn.compact
    def __call__(self, augmentation, batch):
        if augmentation is None:
            augmentation = jnp.zeros((batch, self.labels), self.dtype)
        layer = nn.Dense(
            self.features, use_bias=False, kernel_init=self.kernel, dtype=self.dtype, name="augmentation"
        )
        return layer(augmentation)


def blocks_of(network, **shared):
    """Residual block and attention of a network, rematerialized where it asks for it, with shared fields."""
    of_norms = {name: value for name, value in shared.items() if name in ("groups", "epsilon", "skip_scale")}
    residual = rematerialized(ResidualBlock, network.rematerialization)
    attention = rematerialized(SelfAttention, network.rematerialization)
    return (
        functools.partial(residual, dropout=network.dropout, **shared),
        functools.partial(attention, dtype=shared["dtype"], init=shared["init"], **of_norms),
    )


def way_down(h, network, block, attend, down):
    """What the way up reads, from full resolution to the coarsest, h itself first.

    Args:
      h: [B, H, W, C] features of the first convolution.
      network: its fields width, multipliers, blocks and attention count.
      block, attend, down: (h, features, name), (h, name) and (h, name) -> h.
    """
    skips = [h]
    for level, multiplier in enumerate(network.multipliers):
        if level > 0:
            skips.append(down(skips[-1], f"down_{level}_resample"))
        for i in range(network.blocks):
            h = block(skips[-1], int(network.width * multiplier), f"down_{level}_block_{i}")
            skips.append(attend(h, f"down_{level}_attention_{i}") if h.shape[1] in network.attention else h)
    return skips


def middle(h, block, attend):
    """Two residual blocks around self-attention at the coarsest resolution."""
    h = attend(block(h, h.shape[-1], "middle_block_0"), "middle_attention")
    return block(h, h.shape[-1], "middle_block_1")


def way_up(h, skips, network, block, attend, up):
    """The features at full resolution, from those of the middle and those of the way down, which are used up.

    Args:
      h, skips: what `middle` and `way_down` returned.
      network, block, attend: as of `way_down`.
      up: (h, (height, width), name) -> h of these sides.
    """
    for level, multiplier in reversed([*enumerate(network.multipliers)]):
        for i in range(network.blocks + 1):
            h = jnp.concatenate([h, skips.pop()], axis=-1)
            h = block(h, int(network.width * multiplier), f"up_{level}_block_{i}")
            h = attend(h, f"up_{level}_attention_{i}") if h.shape[1] in network.attention else h
        if level > 0:
            h = up(h, skips[-1].shape[1:3], f"up_{level}_resample")
    return h
