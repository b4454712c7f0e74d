"""DDPM's network (Ho et al. 2020, appendix B) as Song et al. (2021) trained it: their `ddpm`.

Residual blocks and attention in a U-Net. On the way down attention follows each residual block at the sides
listed in `attention`; on the way up, the last one of the side. Between the two ways there is always one.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from models.layers import rematerialized, to_float32
from models.resampling import DownConvolution, UpConvolution, down, up
from models.song_layers import (
    TIME_EMBEDDINGS,
    NoiseEmbedding,
    ResidualBlock,
    SelfAttention,
    check,
    conv3x3,
    norm_silu,
    refusal,
)

GROUPS = 32


class DDPM(nn.Module):
    """Score network [B, H, W, C] x [B] -> [B, H, W, channels]; labels are ignored.

    With the defaults and 3 channels it has 35.2 million parameters. The 35.7 million of Ho et al. (2020) have
    attention after every block on the way up too, as models/unet.py.

    Attributes:
      channels: of the output.
      width: channels at full resolution, even.
      multipliers: channels of each resolution in units of width, finest first.
      blocks: residual blocks a resolution on the way down; one more on the way up.
      attention: image sides (rounded up when halved) at which attention acts.
      dropout: rate in residual blocks, applied when dropout keys are given.
      time_embedding: "sinusoidal", of the noise level as it comes; "fourier", of log sigma; "none": the
        network is not told.
      fourier_scale: standard deviation of the Fourier frequencies.
      resample_with_convolution: strided convolutions, and convolutions of nearest neighbours; False: means
        and nearest neighbours alone.
      recentre: the input x is in [0, 1], and 2 x - 1 goes in.
      rematerialization: see layers.rematerialized.
      dtype: of the computation; parameters and output are float32.
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
    resample_with_convolution: bool = True
    recentre: bool = False
    rematerialization: str = "none"
    dtype: str = "float32"

    def __post_init__(self):
        check(self, time_embedding=TIME_EMBEDDINGS)
        super().__post_init__()

    def refusal(self, image_side, noise_input):
        """Why this network cannot serve images of that side, or that form of the noise level; or None."""
        return refusal(self, image_side, noise_input)

    def __call__(self, x, noise, label=None, dropout_keys=None):
        """The output; see models.network.Network."""
        return self.features(x, noise, label, dropout_keys)[0]

    @nn.compact
    def features(self, x, noise, label=None, dropout_keys=None):
        """The output and the last features [B, H, W, width] before its norm; see models.network.Network."""
        dtype = jnp.dtype(self.dtype)
        time = NoiseEmbedding(self.time_embedding, self.width, self.fourier_scale, dtype, name="noise")(noise)
        block_class = rematerialized(ResidualBlock, self.rematerialization)

        def block(h, features, name):
            return block_class(features, self.dropout, dtype, GROUPS, name=name)(h, time, dropout_keys)

        def attention(h, name):
            return SelfAttention(dtype, GROUPS, name=name)(h)

        x = x.astype(dtype)
        h = conv3x3(self.width, dtype, name="input")(2 * x - 1 if self.recentre else x)
        skips = [h]
        for level, multiplier in enumerate(self.multipliers):
            for i in range(self.blocks):
                h = block(h, self.width * multiplier, f"down{level}_block{i}")
                if h.shape[1] in self.attention:
                    h = attention(h, f"down{level}_attention{i}")
                skips.append(h)
            if level < len(self.multipliers) - 1:
                if self.resample_with_convolution:
                    h = DownConvolution(h.shape[-1], None, dtype, name=f"down{level}_resample")(h)
                else:
                    h = down(h, None)
                skips.append(h)

        h = block(h, h.shape[-1], "middle_block0")
        h = attention(h, "middle_attention")
        h = block(h, h.shape[-1], "middle_block1")

        for level, multiplier in reversed(list(enumerate(self.multipliers))):
            for i in range(self.blocks + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = block(h, self.width * multiplier, f"up{level}_block{i}")
            if h.shape[1] in self.attention:
                h = attention(h, f"up{level}_attention")
            if level > 0:
                size = skips[-1].shape[1:3]
                if self.resample_with_convolution:
                    h = UpConvolution(h.shape[-1], None, dtype, name=f"up{level}_resample")(h, size)
                else:
                    h = up(h, None, size)

        output = norm_silu(GROUPS, "output_norm", h)
        return to_float32(conv3x3(self.channels, dtype, scale=0.0, name="output")(output)), h
