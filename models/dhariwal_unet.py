"""EDM's form of ADM's U-Net (Karras et al. 2022, appendix F, table 7), for ImageNet 64 x 64.

What differs from models/adm.py: the norms have fewer groups where channels are few, the embedding may read
how training images were augmented, labels can be left out while training, and the channels of queries, keys
and values take turns within a head.
"""

import flax.linen as nn
import jax.numpy as jnp

from models import adm_blocks, fields
from models.adm_blocks import UNIFORM, AugmentationEmbedding, ClassEmbedding, convolution, linear, norm_silu
from models.embeddings import timestep_embedding


class DhariwalUNet(nn.Module):
    """Score network [B, H, W, C] x [B] -> [B, H, W, channels], of classes where it is told to read them.

    Attributes:
      channels: of the output.
      width: channels at full resolution, in units of which the multipliers count; even.
      multipliers: of each resolution, finest first.
      blocks: residual blocks a resolution.
      attention: image sides (rounded up when halved) at which attention acts.
      dropout: rate in residual blocks, applied when dropout keys are given.
      head_width: channels a head of attention; a resolution with fewer has no attention, as published.
      embedding_multiplier: channels of the embedding of the noise level, in widths.
      class_conditional: read labels.
      classes: of the data.
      label_dropout: part of the labels that is left out while training.
      augmentation_labels: numbers of data.augmentation.LABELS that it reads, or 0.
      dtype: of the computation; parameters and output are float32.
      rematerialization: see models.layers.REMATERIALIZATIONS.
    """

    channels: int
    width: int = 192
    multipliers: tuple = (1, 2, 3, 4)
    blocks: int = 3
    attention: tuple = (32, 16, 8)
    dropout: float = 0.1
    head_width: int = 64
    embedding_multiplier: int = 4
    class_conditional: bool = False
    classes: int = 0
    label_dropout: float = 0.0
    augmentation_labels: int = 0
    dtype: str = "float32"
    rematerialization: str = "none"

    def __post_init__(self):
        adm_blocks.refuse_fields(self)
        for multiplier in self.multipliers:
            channels = int(self.width * multiplier)
            heads = channels // self.head_width
            if heads and channels % heads:
                raise ValueError(
                    f"head_width={self.head_width} gives {heads} heads, which do not divide the {channels} "
                    f"channels of width={self.width} and multipliers={self.multipliers}"
                )
        super().__post_init__()

    @property
    def ignores_labels(self):
        """Whether the output does not depend on the label."""
        return not (self.class_conditional and self.classes > 0)

    def refusal(self, image_side, noise_input):
        """Why this network cannot serve images of that side; or None."""
        return fields.missing_side(self, image_side)

    def __call__(self, x, noise, label=None, dropout_keys=None, augmentation=None):
        """The output; see models.network.Network."""
        return self.features(x, noise, label, dropout_keys, augmentation)[0]

    @nn.compact
    def features(self, x, noise, label=None, dropout_keys=None, augmentation=None):
        """The output and the last features [B, H, W, width] before its norm; see models.network.Network."""
        dtype, init = adm_blocks.computed_in(self.dtype, x), UNIFORM
        embedded = self.embedding_multiplier * self.width
        time = timestep_embedding(noise, self.width).astype(dtype)
        if self.augmentation_labels:
            embed = AugmentationEmbedding(
                self.width, self.augmentation_labels, dtype, init.last, name="augmentation"
            )
            time += embed(augmentation, len(x))
        time = nn.silu(linear(time, embedded, dtype, init, name="time_0"))
        time = linear(time, embedded, dtype, init, name="time_1")
        if not self.ignores_labels:
            embed = ClassEmbedding(embedded, self.classes, dtype, dropout=self.label_dropout, name="label")
            time += embed(label, len(x), dropout_keys)
        time = nn.silu(time)
        make_block, make_attention = adm_blocks.blocks_of(self, dtype=dtype, init=init)

        def block(h, features, name, **resampling):
            return make_block(features=features, name=name, **resampling)(h, time, dropout_keys)

        def attend(h, name):
            heads = h.shape[-1] // self.head_width
            return make_attention(heads=heads, order="interleaved", name=name)(h) if heads else h

        def down(h, name):
            return block(h, h.shape[-1], name, resample="down")

        def up(h, size, name):
            return block(h, h.shape[-1], name, resample="up", size=size)

        h = convolution(x, int(self.width * self.multipliers[0]), dtype, init, name="input")
        skips = adm_blocks.way_down(h, self, block, attend, down)
        h = adm_blocks.middle(skips[-1], block, attend)
        h = adm_blocks.way_up(h, skips, self, block, attend, up)
        last = norm_silu(h, 1e-5, None, "output_norm")
        output = convolution(last, self.channels, dtype, init, last=True, name="output")
        return output.astype(jnp.promote_types(x.dtype, jnp.float32)), h
