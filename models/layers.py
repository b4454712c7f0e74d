"""Blocks that the networks share. Images are [B, H, W, C]."""

import functools
import zlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


def _on_host(draw, traced):
    """An initializer that draws with NumPy, seeded by the parameter's key.

    Drawing each parameter's shape with jax.random compiles one small program a shape,
    which takes longer than compiling the training step. Under tracing, where the key
    has no value yet, the equivalent JAX initializer takes over.
    """

    def initializer(key, shape, dtype=jnp.float32, *_):
        if isinstance(key, jax.core.Tracer):
            return traced(key, shape, dtype)
        seed = np.asarray(jax.random.key_data(key)).ravel().tolist()
        return draw(np.random.default_rng(seed), shape).astype(dtype)

    return initializer


def variance_scaling(scale=1.0):
    """DDPM's initializer: uniform with variance scale / mean(fan in, fan out); 0 becomes 1e-10."""
    scale = max(scale, 1e-10)

    def draw(generator, shape):
        receptive = np.prod(shape[:-2], dtype=int)
        limit = np.sqrt(3 * scale / (receptive * (shape[-2] + shape[-1]) / 2))
        return generator.uniform(-limit, limit, shape)

    return _on_host(draw, nn.initializers.variance_scaling(scale, "fan_avg", "uniform"))


def normal(std):
    """Gaussian of mean zero and standard deviation `std`."""
    return _on_host(
        lambda generator, shape: std * generator.standard_normal(shape), nn.initializers.normal(std)
    )


def constant(value):
    """The same number everywhere."""
    return _on_host(lambda _, shape: np.full(shape, value), nn.initializers.constant(value))


def conv3x3(features, dtype, stride=1, scale=1.0, name=None):
    """3x3 convolution with DDPM's initialization; `scale` multiplies the initial variance."""
    return nn.Conv(
        features,
        (3, 3),
        (stride, stride),
        kernel_init=variance_scaling(scale),
        bias_init=constant(0.0),
        dtype=dtype,
        name=name,
    )


def dense(features, dtype, scale=1.0, name=None):
    """Dense layer (a 1x1 convolution on images) with DDPM's initialization."""
    return nn.Dense(
        features, kernel_init=variance_scaling(scale), bias_init=constant(0.0), dtype=dtype, name=name
    )


def _group_means(per_channel, groups):
    """[B, C] -> [B, C]: each channel's number replaced by the mean over its group."""
    means = per_channel.reshape(*per_channel.shape[:-1], groups, -1).mean(axis=-1)
    return jnp.repeat(means, per_channel.shape[-1] // groups, axis=-1)


def _over_groups(image, groups):
    """[B, H, W, C] -> [B, C]: means over pixels and groups; sums over each channel come first."""
    return _group_means(image.mean(axis=(1, 2)), groups)


def _centered(x, groups, epsilon):
    """Images without the means of groups, in float32 or wider, and inverse deviations [B, 1, 1, C]."""
    wide = to_float32(x)
    mean = _over_groups(wide, groups)[:, None, None, :]
    centered = wide - mean
    if x.dtype == wide.dtype:
        # Centered first: E[x^2] - E[x]^2 cancels when the mean is large.
        variance = _over_groups(jnp.square(centered), groups)[:, None, None, :]
    else:
        # x is read once for both sums. What cancels is less than the rounding of x itself has cost.
        square = _over_groups(jnp.square(wide), groups)[:, None, None, :]
        variance = jnp.maximum(square - jnp.square(mean), 0)
    return centered, jax.lax.rsqrt(variance + epsilon)


def _normalized(x, scale, bias, groups, epsilon):
    centered, factor = _centered(x, groups, epsilon)
    return centered * (factor * scale) + bias


@functools.partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def _normalized_narrow(x, scale, bias, groups, epsilon):
    return _normalized(x, scale, bias, groups, epsilon)


@_normalized_narrow.defjvp
def _(groups, epsilon, primals, tangents):
    x, scale, bias = primals
    x_dot, scale_dot, bias_dot = tangents
    centered, factor = _centered(x, groups, epsilon)
    y = centered * factor
    change = to_float32(x_dot) * factor
    shift = bias_dot - scale * _over_groups(change, groups)
    slope = scale_dot - scale * _over_groups(change * y, groups)
    tangent = scale * change + slope[:, None, None, :] * y + shift[:, None, None, :]
    return y * scale + bias, tangent


def group_normalized(x, scale, bias, groups, epsilon):
    """Group normalization (Wu & He 2018) of x [B, H, W, C], in float32 or wider.

    Of narrower images the derivative is written out, such that the gradient reads x and what comes back once
    for all sums, and once more for the image: derived step by step, the sums would depend on each other. That
    saves an accelerator a sixth of a residual block's bytes. In float32, which CPUs train in, it would make a
    step of DDPM++ a quarter slower there (docs/bench.md).

    Args:
      scale, bias: [C]; groups: a divisor of C; epsilon: added to the variance.
    """
    narrow = x.dtype != jnp.promote_types(x.dtype, jnp.float32)
    return (_normalized_narrow if narrow else _normalized)(x, scale, bias, groups, epsilon)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def silu_rounded(x, dtype, scale=1.0):
    """SiLU of float32 times a scale, rounded to dtype: in bfloat16, rounding each of its steps costs a
    network more than rounding all of its sums.
    """
    return (scale * nn.silu(x)).astype(dtype)


@silu_rounded.defjvp
def _(dtype, scale, primals, tangents):
    # That of SiLU in dtype, so that no image is kept in float32 for the way back.
    (x,), (change,) = primals, tangents
    slope = jax.jvp(lambda x: scale * nn.silu(x), (x.astype(dtype),), (change.astype(dtype),))[1]
    return silu_rounded(x, dtype, scale), slope


class GroupNorm(nn.Module):
    """Group normalization (Wu & He 2018), in float32; see `group_normalized`.

    Attributes:
      epsilon: added to the variance.
      groups: how many; None: the largest divisor of C that is at most min(C // 4, 32).
      silu: whether SiLU follows, in float32 too, so that both are rounded once.
      dtype: of the output; None: that of the input.
    """

    epsilon: float = 1e-6
    groups: int | None = None
    silu: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x):
        channels = x.shape[-1]
        limit = max(min(channels // 4, 32), 1)
        groups = self.groups or next(g for g in range(limit, 0, -1) if channels % g == 0)
        scale = self.param("scale", constant(1.0), (channels,))
        bias = self.param("bias", constant(0.0), (channels,))
        y, dtype = group_normalized(x, scale, bias, groups, self.epsilon), self.dtype or x.dtype
        return silu_rounded(y, dtype) if self.silu else y.astype(dtype)


class Dropout(nn.Module):
    """Dropout whose mask of an example depends on that example's key alone.

    One key for the whole batch would tie the mask to the batch's layout on devices;
    with keys [B] a run gives the same curve on any number of devices. Each layer
    folds in a hash of its own path. Without keys (evaluation) it does nothing.
    """

    rate: float

    @nn.compact
    def __call__(self, x, keys):
        if keys is None or self.rate == 0.0:
            return x
        layer = zlib.crc32("/".join(self.path).encode()) & 0x7FFFFFFF
        keep = jax.vmap(
            lambda key: jax.random.bernoulli(jax.random.fold_in(key, layer), 1 - self.rate, x.shape[1:])
        )(keys)
        return jnp.where(keep, x / (1 - self.rate), 0).astype(x.dtype)


class ResidualBlock(nn.Module):
    """DDPM's residual block: norm, SiLU, convolution, twice, with the time added between."""

    features: int
    dropout: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, time, dropout_keys):
        h = conv3x3(self.features, self.dtype)(GroupNorm(silu=True)(x))
        h += dense(self.features, self.dtype)(nn.silu(time))[:, None, None, :]
        h = Dropout(self.dropout)(GroupNorm(silu=True)(h), dropout_keys)
        h = conv3x3(self.features, self.dtype, scale=0.0)(h)
        if x.shape[-1] != self.features:
            x = dense(self.features, self.dtype, name="shortcut")(x)
        return x + h


class SelfAttention(nn.Module):
    """Single-head self-attention over all pixels, added to its input (Ho et al. 2020)."""

    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x):
        b, height, width, c = x.shape
        h = GroupNorm()(x).reshape(b, height * width, c)
        # One product for all three; scale 2 gives each the variance of a layer of its own.
        query, key, value = jnp.split(
            dense(3 * c, self.dtype, scale=2.0, name="query_key_value")(h), 3, axis=-1
        )
        logits = jnp.einsum("bqc,bkc->bqk", query, key).astype(jnp.float32) / np.sqrt(c)
        weights = jax.nn.softmax(logits).astype(value.dtype)
        h = jnp.einsum("bqk,bkc->bqc", weights, value).reshape(b, height, width, c)
        return x + dense(c, self.dtype, scale=0.0, name="out")(h)


def downsample(features, dtype):
    """Strided 3x3 convolution; odd sides round up."""
    return conv3x3(features, dtype, stride=2)


def upsample_to(x, height, width):
    """Nearest-neighbour doubling, cropped to an odd side where the way down rounded up."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)[:, :height, :width, :]


def to_float32(x):
    """Float32, or float64 where the computation was in it."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


REMATERIALIZATIONS = ("none", "blocks", "full")


def rematerialized(block, rematerialization):
    """A Flax module class whose activations are computed again on the way back where "blocks" asks for it."""
    return nn.remat(block) if rematerialization == "blocks" else block


def uniform(limit):
    """Uniform between -limit and limit, a number or a function of the shape."""
    bound = limit if callable(limit) else lambda shape: limit

    def traced(key, shape, dtype):
        return jax.random.uniform(key, shape, dtype, -bound(shape), bound(shape))

    return _on_host(lambda generator, shape: generator.uniform(-bound(shape), bound(shape), shape), traced)
