"""DDPM++ and NCSN++ (Song et al. 2021, section 4.1 and appendix H).

DDPM's U-Net with BigGAN's residual blocks, sums rescaled by sqrt(2), resampling by a filter (FIR), and two
pyramids beside it: of the noisy image, on the way down (progressive input), and of the output, on the way up
(progressive output). Appendix H.2 names the published choices:

  DDPM++: BigGAN's blocks, rescaled sums, sinusoidal embedding; no filter, no pyramids.
  NCSN++: that, the filter, a residual pyramid of the input; in continuous time the Fourier embedding
    of log sigma. For 256 pixels and more, "output_skip" and "input_skip".
  "deep" means twice the blocks, 8 a resolution.

As in the published code, attention follows each residual block on the way down and the last one of a side on
the way up, and there is always one between the two ways.
"""

import functools
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from models.layers import dense, rematerialized, to_float32
from models.resampling import DownConvolution, UpConvolution, check_kernel, down, up
from models.song_layers import (
    TIME_EMBEDDINGS,
    NoiseEmbedding,
    ResidualBlock,
    SelfAttention,
    add,
    check,
    conv3x3,
    norm_silu,
    refusal,
)

CHOICES = {
    "time_embedding": TIME_EMBEDDINGS,
    "residual_block": ("ddpm", "biggan"),
    "progressive_input": ("none", "input_skip", "residual"),
    "progressive_output": ("none", "output_skip", "residual"),
    "progressive_combine": ("sum", "cat"),
}


class NCSNpp(nn.Module):
    """Score network [B, H, W, C] x [B] -> [B, H, W, channels]; labels are ignored.

    The output is that of the published network before its division by sigma, sigma times the score
    (denoiser.parametrization="score"), or the noise where it was trained as that ("eps").

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
      residual_block: "ddpm", beside which resampling stands, or "biggan", which resamples within.
      fir: resampling by the filter `fir_kernel`; False: by means and nearest neighbours.
      fir_kernel: the filter in one dimension.
      skip_rescale: sums of two branches are divided by sqrt(2).
      progressive_input: "none"; "input_skip": the smaller noisy image is combined with the features at each
        resolution; "residual": it is a branch with convolutions of its own.
      progressive_output: "none"; "output_skip": the output is a sum over resolutions; "residual": as above.
      progressive_combine: how "input_skip" combines: "sum" or "cat".
      resample_with_convolution: of blocks of "ddpm": a convolution in resampling.
      recentre: the input x is in [0, 1], and 2 x - 1 goes in.
      rematerialization: see layers.rematerialized.
      dtype: of the computation; parameters and output are float32.
    """

    ignores_labels: ClassVar[bool] = True

    channels: int
    width: int = 128
    multipliers: tuple = (1, 2, 2, 2)
    blocks: int = 4
    attention: tuple = (16,)
    dropout: float = 0.1
    time_embedding: str = "sinusoidal"
    fourier_scale: float = 16.0
    residual_block: str = "biggan"
    fir: bool = False
    fir_kernel: tuple = (1, 3, 3, 1)
    skip_rescale: bool = True
    progressive_input: str = "none"
    progressive_output: str = "none"
    progressive_combine: str = "sum"
    resample_with_convolution: bool = True
    recentre: bool = False
    rematerialization: str = "none"
    dtype: str = "float32"

    def __post_init__(self):
        check(self, **CHOICES)
        check_kernel(self.fir_kernel)
        super().__post_init__()

    def refusal(self, image_side, noise_input):
        """Why this network cannot serve images of that side, or that form of the noise level; or None."""
        return refusal(self, image_side, noise_input)

    def __call__(self, x, noise, label=None, dropout_keys=None):
        """The output; see models.network.Network."""
        return self.features(x, noise, label, dropout_keys)[0]

    @nn.compact
    def features(self, x, noise, label=None, dropout_keys=None):
        """The output and the last features [B, H, W, F] before its norm; see models.network.Network."""
        dtype = jnp.dtype(self.dtype)
        kernel = tuple(self.fir_kernel) if self.fir else None
        levels = range(len(self.multipliers))
        time = NoiseEmbedding(self.time_embedding, self.width, self.fourier_scale, dtype, name="noise")(noise)
        block_class = functools.partial(
            rematerialized(ResidualBlock, self.rematerialization),
            dropout=self.dropout,
            dtype=dtype,
            skip_rescale=self.skip_rescale,
            big_gan=self.residual_block == "biggan",
            fir_kernel=kernel,
        )

        def block(h, features, name, **resampling):
            return block_class(features, name=name, **resampling)(h, time, dropout_keys)

        def attention(h, name):
            return SelfAttention(dtype, skip_rescale=self.skip_rescale, name=name)(h)

        def downsample(h, name):
            if self.residual_block == "biggan":
                return block(h, h.shape[-1], name, resample="down")
            if self.resample_with_convolution:
                return DownConvolution(h.shape[-1], kernel, dtype, name=name)(h)
            return down(h, kernel)

        def upsample(h, size, name):
            if self.residual_block == "biggan":
                return block(h, h.shape[-1], name, resample="up", size=size)
            if self.resample_with_convolution:
                return UpConvolution(h.shape[-1], kernel, dtype, name=name)(h, size)
            return up(h, kernel, size)

        def read(h, features, name, scale=0.0):
            h = norm_silu(None, f"{name}_norm", h)
            return conv3x3(features, dtype, scale=scale, name=name)(h)

        x = x.astype(dtype)
        x = 2 * x - 1 if self.recentre else x

        pyramid = x
        h = conv3x3(self.width, dtype, name="input")(x)
        skips = [h]
        for level in levels:
            for i in range(self.blocks):
                h = block(h, self.width * self.multipliers[level], f"down{level}_block{i}")
                if h.shape[1] in self.attention:
                    h = attention(h, f"down{level}_attention{i}")
                skips.append(h)
            if level < levels[-1]:
                h = downsample(h, f"down{level}_resample")
                name = f"down{level}_pyramid"
                if self.progressive_input == "input_skip":
                    pyramid = down(pyramid, kernel)
                    image = dense(h.shape[-1], dtype, name=name)(pyramid)
                    together = self.progressive_combine == "cat"
                    h = jnp.concatenate([image, h], axis=-1) if together else image + h
                elif self.progressive_input == "residual":
                    image = DownConvolution(h.shape[-1], kernel, dtype, name=name)(pyramid)
                    h = pyramid = add(image, h, self.skip_rescale)
                skips.append(h)

        h = block(h, h.shape[-1], "middle_block0")
        h = attention(h, "middle_attention")
        h = block(h, h.shape[-1], "middle_block1")

        pyramid = None
        for level in reversed(levels):
            for i in range(self.blocks + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = block(h, self.width * self.multipliers[level], f"up{level}_block{i}")
            if h.shape[1] in self.attention:
                h = attention(h, f"up{level}_attention")
            size, name = h.shape[1:3], f"up{level}_pyramid"
            if self.progressive_output == "output_skip":
                # The image itself: few channels, summed at full precision.
                image = to_float32(read(h, self.channels, name))
                pyramid = image if pyramid is None else image + up(pyramid, kernel, size)
            elif self.progressive_output == "residual" and pyramid is None:
                pyramid = read(h, h.shape[-1], name, scale=1.0)
            elif self.progressive_output == "residual":
                image = UpConvolution(h.shape[-1], kernel, dtype, name=name)(pyramid, size)
                h = pyramid = add(image, h, self.skip_rescale)
            if level > 0:
                h = upsample(h, skips[-1].shape[1:3], f"up{level}_resample")

        if self.progressive_output == "output_skip":
            return pyramid, h
        return to_float32(read(h, self.channels, "output")), h
