"""What the networks of Song et al. (2021), DDPM and NCSN++, share: blocks, embedding, refusals."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models.convolution import convolution
from models.embeddings import Fourier, Sinusoidal
from models.fields import DTYPES, missing_side, refuse_too_deep, refuse_unknown
from models.layers import REMATERIALIZATIONS, Dropout, GroupNorm, constant, dense, variance_scaling
from models.resampling import down, up

TIME_EMBEDDINGS = ("sinusoidal", "fourier", "none")
# The published code starts its 1x1 convolutions within blocks and attention with a tenth of the variance.
NIN_SCALE = 0.1


def check(network, **choices):
    """Raises ValueError where a field that both networks have cannot be.

    Args:
      network: a DDPM or an NCSNpp.
      **choices: the values that further fields may have.
    """
    dtypes = (*DTYPES, "float64")
    refuse_unknown(network, **choices, dtype=dtypes, rematerialization=REMATERIALIZATIONS)
    if network.width < 4 or network.width % 2:
        raise ValueError(f"width={network.width} must be even and at least 4")
    if not 0 <= network.dropout < 1:
        raise ValueError(f"dropout={network.dropout} must lie in [0, 1)")
    whole = (*network.multipliers, network.blocks, *network.attention)
    if not network.multipliers or not all(isinstance(n, int) and n > 0 for n in whole):
        raise ValueError(
            f"multipliers={network.multipliers}, blocks={network.blocks} and attention={network.attention} "
            "must be positive whole numbers, with at least one multiplier"
        )
    refuse_too_deep(network)


def refusal(network, image_side, noise_input):
    """Why a network cannot serve images of that side, or that form of the noise level; or None."""
    if network.time_embedding == "fourier" and noise_input in ("time", "index"):
        return (
            f'model.time_embedding="fourier" turns denoiser.noise_input="{noise_input}" into noise: its '
            "frequencies are made for logarithms."
        )
    return missing_side(network, image_side)


class NoiseEmbedding(nn.Module):
    """The embedding of the noise level, [B] -> [B, 4 width], or None for networks that are not told it.

    Attributes:
      kind: key of TIME_EMBEDDINGS.
      width: of the network.
      fourier_scale: standard deviation of the Fourier frequencies.
      dtype: of the computation.
    """

    kind: str
    width: int
    fourier_scale: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, noise):
        if self.kind == "none":
            return None
        if self.kind == "sinusoidal":
            embedded = Sinusoidal(self.width)(noise)
        else:
            embedded = Fourier(2 * self.width, self.fourier_scale, name="fourier")(noise)
        h = dense(4 * self.width, self.dtype, name="dense1")(embedded.astype(self.dtype))
        return dense(4 * self.width, self.dtype, name="dense2")(nn.silu(h))


def conv3x3(features, dtype, scale=1.0, stride=1, name=None):
    """3x3 convolution with DDPM's initialization, as layers.conv3x3, with a faster gradient on CPUs."""
    return nn.Conv(
        features,
        (3, 3),
        (stride, stride),
        kernel_init=variance_scaling(scale),
        bias_init=constant(0.0),
        conv_general_dilated=convolution,
        dtype=dtype,
        name=name,
    )


def add(x, h, rescale):
    """The sum of two branches, divided by sqrt(2) to keep the variance where `rescale` says so."""
    return (x + h) / math.sqrt(2.0) if rescale else x + h


class ResidualBlock(nn.Module):
    """DDPM's residual block, or BigGAN's, which may change the size of its image (appendix H.1).

    norm, SiLU, (resampling), convolution, the noise level added, norm, SiLU, dropout, convolution.

    Attributes:
      features: of the output.
      dropout: rate.
      dtype: of the computation.
      groups: of the norms, or None: see layers.GroupNorm.
      skip_rescale: whether the sum is divided by sqrt(2).
      big_gan: the block is BigGAN's; the two start their shortcuts at different sizes.
      resample: None, "down" or "up".
      size: after "up".
      fir_kernel: of the filter that resamples; None: nearest neighbours and means.
    """

    features: int
    dropout: float
    dtype: jnp.dtype
    groups: int | None = None
    skip_rescale: bool = False
    big_gan: bool = False
    resample: str | None = None
    size: tuple | None = None
    fir_kernel: tuple | None = None

    @nn.compact
    def __call__(self, x, time, dropout_keys):
        h = norm_silu(self.groups, "norm1", x)
        if self.resample == "down":
            h, x = down(h, self.fir_kernel), down(x, self.fir_kernel)
        elif self.resample == "up":
            h, x = up(h, self.fir_kernel, self.size), up(x, self.fir_kernel, self.size)
        h = conv3x3(self.features, self.dtype, name="convolution1")(h)
        if time is not None:
            h += dense(self.features, self.dtype, name="time")(nn.silu(time))[:, None, None, :]
        h = norm_silu(self.groups, "norm2", h)
        h = Dropout(self.dropout, name="dropout")(h, dropout_keys)
        h = conv3x3(self.features, self.dtype, scale=0.0, name="convolution2")(h)
        if x.shape[-1] != self.features or self.resample:
            scale = 1.0 if self.big_gan else NIN_SCALE
            x = dense(self.features, self.dtype, scale=scale, name="shortcut")(x)
        return add(x, h, self.skip_rescale)


class SelfAttention(nn.Module):
    """Single-head self-attention over all pixels, added to its input (Ho et al. 2020).

    Attributes:
      dtype: of the computation.
      groups: of the norm, or None: see layers.GroupNorm.
      skip_rescale: whether the sum is divided by sqrt(2).
    """

    dtype: jnp.dtype
    groups: int | None = None
    skip_rescale: bool = False

    @nn.compact
    def __call__(self, x):
        b, height, width, c = x.shape
        h = group_norm(self.groups, "norm", x).reshape(b, height * width, c)
        # One product for all three; twice the scale gives each the variance of a layer of its own.
        together = dense(3 * c, self.dtype, scale=2 * NIN_SCALE, name="query_key_value")(h)
        query, key, value = jnp.split(together, 3, axis=-1)
        logits = jnp.einsum("bqc,bkc->bqk", query, key) / np.sqrt(c).astype(query.dtype)
        wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        h = jnp.einsum("bqk,bkc->bqc", jax.nn.softmax(wide).astype(value.dtype), value)
        h = dense(c, self.dtype, scale=0.0, name="out")(h).reshape(x.shape)
        return add(x, h, self.skip_rescale)


def group_norm(groups, name, x, silu=False):
    """The group normalization of x; where x has too few channels for `groups`, of as many as divide them."""
    return GroupNorm(groups=groups and math.gcd(groups, x.shape[-1]), silu=silu, name=name)(x)


def norm_silu(groups, name, x):
    """SiLU of `group_norm`, rounded once with it."""
    return group_norm(groups, name, x, silu=True)
