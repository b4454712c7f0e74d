"""ADM, the U-Net of Dhariwal & Nichol (2021), and its forerunner of Nichol & Dhariwal (2021).

Each resolution has `blocks` residual blocks on the way down and one more on the way up, which read the way
down by concatenation. Attention with heads follows the blocks at the sides in `attention`. The noise level
scales and shifts the second norm of each block. Two forms were published:

  ADM: heads of a fixed width, residual blocks that halve and double the image, and in the network of
    ImageNet 64 x 64 the "new" order of queries, keys and values; the defaults are that network's;
  the forerunner: a fixed number of heads, convolutions with stride 2 and after doubling, `scale_shift_norm`
    in all but its networks of LSUN; heads=4, resample_in_blocks=False, attention_order="legacy".

A learned variance is a second half of channels, which denoiser.variance_head=fraction asks for.
"""

import flax.linen as nn
import jax.numpy as jnp

from models import adm_blocks, fields
from models.adm_blocks import UNIFORM, ClassEmbedding, convolution, double_size, half_size, linear, norm_silu
from models.embeddings import timestep_embedding

ATTENTION_ORDERS = ("legacy", "new")
HEAD_WIDTH = 64
# Of the norms, at all resolutions.
GROUPS = 32


def heads_at(network, channels):
    """How many heads attention over so many channels has; no whole number where they do not fit."""
    return network.heads or channels / (network.head_width or HEAD_WIDTH)


def refuse_heads(network):
    """Raises ValueError where heads do not divide the channels of a resolution with attention.

    Any resolution may have it: the sides are not known yet.
    """
    if network.heads is not None and network.head_width is not None:
        raise ValueError(
            f"heads={network.heads} and head_width={network.head_width} exclude each other: leave one out"
        )
    for multiplier in network.multipliers if network.attention else network.multipliers[-1:]:
        channels = int(network.width * multiplier)
        heads = heads_at(network, channels)
        if heads != int(heads) or channels % heads:
            raise ValueError(
                f"heads={network.heads} and head_width={network.head_width or HEAD_WIDTH} do not divide the "
                f"{channels} channels of width={network.width} and multipliers={network.multipliers}"
            )


class ADM(nn.Module):
    """Score network [B, H, W, C] x [B] -> [B, H, W, channels], of classes where it is told to read them.

    Attributes:
      channels: of the output.
      width: channels at full resolution, in units of which the multipliers count; even.
      multipliers: of each resolution, finest first.
      blocks: residual blocks a resolution.
      attention: image sides (rounded up when halved) at which attention acts.
      dropout: rate in residual blocks, applied when dropout keys are given.
      heads: of attention, at all resolutions; None: as many as `head_width` gives.
      head_width: channels a head; None, without `heads`: 64.
      attention_order: of the channels of queries, keys and values: "legacy" (heads, then q, k, v) or "new".
      resample_in_blocks: residual blocks halve and double the image, in place of what follows.
      resample_with_convolution: a convolution with stride 2, and one after doubling; False: means alone, and
        pixels repeated.
      scale_shift_norm: the time scales and shifts the second norm of a block; False: it is added before.
      class_conditional: read labels, whose vectors are added to the embedding of the time.
      classes: of the data.
      dtype: of the computation; parameters and output are float32.
      rematerialization: see models.layers.REMATERIALIZATIONS.
    """

    channels: int
    width: int = 192
    multipliers: tuple = (1, 2, 3, 4)
    blocks: int = 3
    attention: tuple = (32, 16, 8)
    dropout: float = 0.1
    heads: int | None = None
    head_width: int | None = None
    attention_order: str = "new"
    resample_in_blocks: bool = True
    resample_with_convolution: bool = True
    scale_shift_norm: bool = True
    class_conditional: bool = False
    classes: int = 0
    dtype: str = "float32"
    rematerialization: str = "none"

    def __post_init__(self):
        adm_blocks.refuse_fields(self)
        refuse_heads(self)
        if self.attention_order not in ATTENTION_ORDERS:
            raise ValueError(
                f'attention_order="{self.attention_order}" must be one of {", ".join(ATTENTION_ORDERS)}'
            )
        super().__post_init__()

    @property
    def ignores_labels(self):
        """Whether the output does not depend on the label."""
        return not (self.class_conditional and self.classes > 0)

    def refusal(self, image_side, noise_input):
        """Why this network cannot serve images of that side; or None."""
        return fields.missing_side(self, image_side)

    def __call__(self, x, noise, label=None, dropout_keys=None):
        """The output; see models.network.Network."""
        return self.features(x, noise, label, dropout_keys)[0]

    @nn.compact
    def features(self, x, noise, label=None, dropout_keys=None):
        """The output and the last features [B, H, W, width] before its norm; see models.network.Network."""
        dtype = adm_blocks.computed_in(self.dtype, x)
        time = time_embedding(self, noise, dtype)
        if not self.ignores_labels:
            time += ClassEmbedding(4 * self.width, self.classes, dtype, name="label")(label, len(x), None)
        block, attend, down, up = parts(self, nn.silu(time), dtype, dropout_keys)
        h = convolution(x, int(self.width * self.multipliers[0]), dtype, UNIFORM, name="input")
        skips = adm_blocks.way_down(h, self, block, attend, down)
        h = adm_blocks.middle(skips[-1], block, attend)
        h = adm_blocks.way_up(h, skips, self, block, attend, up)
        last = norm_silu(h, 1e-5, GROUPS, "output_norm")
        output = convolution(last, self.channels, dtype, UNIFORM, last=True, name="output")
        return output.astype(jnp.promote_types(x.dtype, jnp.float32)), h


def time_embedding(network, noise, dtype):
    """[B] noise levels -> [B, 4 width], without the last activation; within a network's compact method."""
    time = timestep_embedding(noise, network.width).astype(dtype)
    time = nn.silu(linear(time, 4 * network.width, dtype, UNIFORM, name="time_0"))
    return linear(time, 4 * network.width, dtype, UNIFORM, name="time_1")


def parts(network, time, dtype, dropout_keys):
    """The functions block, attend, down and up of models/adm_blocks.py; within a network's compact method.

    Args:
      time: [B, 4 width] activated embedding.
    """
    make_block, make_attention = adm_blocks.blocks_of(
        network, dtype=dtype, init=UNIFORM, groups=GROUPS, scale_shift=network.scale_shift_norm
    )

    def block(h, features, name):
        return make_block(features=features, name=name)(h, time, dropout_keys)

    def attend(h, name):
        heads = int(heads_at(network, h.shape[-1]))
        return make_attention(heads=heads, order=network.attention_order, name=name)(h)

    def down(h, name):
        if network.resample_in_blocks:
            return make_block(features=h.shape[-1], resample="down", name=name)(h, time, dropout_keys)
        if network.resample_with_convolution:
            # Padding of one on each side, where DDPM pads the right and the bottom alone.
            return convolution(h, h.shape[-1], dtype, UNIFORM, stride=2, padding=1, name=name)
        return half_size(h)

    def up(h, size, name):
        if network.resample_in_blocks:
            resample = make_block(features=h.shape[-1], resample="up", size=size, name=name)
            return resample(h, time, dropout_keys)
        h = double_size(h, size)
        if network.resample_with_convolution:
            h = convolution(h, h.shape[-1], dtype, UNIFORM, name=name)
        return h

    return block, attend, down, up
