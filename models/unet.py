"""The U-Net of DDPM (Ho et al. 2020, appendix B), for any image side and 1 to 4 channels.

Each resolution has `blocks` residual blocks on the way down and one more on the way
up, which read the way down by concatenation; self-attention follows the blocks at the
sides listed in `attention`. The last convolution starts at zero.
"""

import itertools
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from models.embeddings import Fourier, Sinusoidal
from models.fields import DTYPES, missing_side, refuse_too_deep, refuse_unknown
from models.layers import (
    REMATERIALIZATIONS,
    GroupNorm,
    ResidualBlock,
    SelfAttention,
    conv3x3,
    dense,
    downsample,
    rematerialized,
    upsample_to,
)

TIME_EMBEDDINGS = ("sinusoidal", "fourier")


class UNet(nn.Module):
    """Score network [B, H, W, C] x [B] -> [B, H, W, channels]; labels are ignored.

    Attributes:
      channels: of the output.
      width: channels at full resolution, even.
      multipliers: channels of each resolution in units of width, finest first.
      blocks: residual blocks a resolution.
      attention: image sides (rounded up when halved) at which attention acts.
      dropout: rate in residual blocks, applied when dropout keys are given.
      time_embedding: "sinusoidal" or "fourier".
      fourier_scale: standard deviation of the Fourier frequencies.
      dtype: of the computation; parameters and output are float32.
      rematerialization: see models.layers.REMATERIALIZATIONS.
    """

    ignores_labels: ClassVar[bool] = True

    channels: int
    width: int = 128
    multipliers: tuple = (1, 2, 2, 2)
    blocks: int = 2
    attention: tuple = (16,)
    dropout: float = 0.1
    time_embedding: str = "sinusoidal"
    fourier_scale: float = 16.0
    dtype: str = "float32"
    rematerialization: str = "none"

    def __post_init__(self):
        if self.width < 2 or self.width % 2:
            raise ValueError(f"width={self.width} must be even and at least 2")
        refuse_unknown(
            self, time_embedding=TIME_EMBEDDINGS, dtype=DTYPES, rematerialization=REMATERIALIZATIONS
        )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must lie in [0, 1)")
        whole = (*self.multipliers, self.blocks, *self.attention)
        if not self.multipliers or not all(isinstance(n, int) and n > 0 for n in whole):
            raise ValueError(
                f"multipliers={self.multipliers}, blocks={self.blocks} and attention={self.attention} must "
                "be positive whole numbers, with at least one multiplier"
            )
        refuse_too_deep(self)
        super().__post_init__()

    def refusal(self, image_side, noise_input):
        """Why this network cannot serve images of that side, or that form of the noise level; or None."""
        if self.time_embedding == "fourier" and noise_input == "time":
            return (
                'model.time_embedding="fourier" turns denoiser.noise_input="time" (999 t) into noise: its '
                'frequencies are made for logarithms. Use denoiser.noise_input="log_sigma".'
            )
        return missing_side(self, image_side)

    def __call__(self, x, noise, label=None, dropout_keys=None):
        """The output; see models.network.Network."""
        return self.features(x, noise, label, dropout_keys)[0]

    @nn.compact
    def features(self, x, noise, label=None, dropout_keys=None):
        """The output and the last features [B, H, W, width] before its norm; see models.network.Network."""
        dtype = jnp.dtype(self.dtype)
        if self.time_embedding == "sinusoidal":
            embed = Sinusoidal(self.width)
        else:
            embed = Fourier(self.width, self.fourier_scale)
        time = dense(4 * self.width, dtype)(embed(noise).astype(dtype))
        time = dense(4 * self.width, dtype)(nn.silu(time))

        block_class, numbers = rematerialized(ResidualBlock, self.rematerialization), itertools.count()

        def residual(h, features):
            # Names of their own, as a rematerialized class has another.
            name = f"ResidualBlock_{next(numbers)}"
            return block_class(features, self.dropout, dtype, name=name)(h, time, dropout_keys)

        def block(h, features):
            h = residual(h, features)
            return SelfAttention(dtype)(h) if h.shape[1] in self.attention else h

        h = conv3x3(self.width, dtype, name="input")(x.astype(dtype))
        skips = [h]
        for level, multiplier in enumerate(self.multipliers):
            if level > 0:
                h = downsample(self.width * self.multipliers[level - 1], dtype)(h)
                skips.append(h)
            for _ in range(self.blocks):
                h = block(h, self.width * multiplier)
                skips.append(h)

        middle = self.width * self.multipliers[-1]
        h = residual(h, middle)
        if self.attention:
            h = SelfAttention(dtype)(h)
        h = residual(h, middle)

        for level, multiplier in reversed(list(enumerate(self.multipliers))):
            for _ in range(self.blocks + 1):
                h = block(jnp.concatenate([h, skips.pop()], axis=-1), self.width * multiplier)
            if level > 0:
                h = conv3x3(h.shape[-1], dtype)(upsample_to(h, *skips[-1].shape[1:3]))

        output = conv3x3(self.channels, dtype, scale=0.0, name="output")(GroupNorm(silu=True)(h))
        return output.astype(jnp.float32), h
