"""The classifier of noisy images of Dhariwal & Nichol (2021, section 4), whose gradient guides sampling.

The way down and the middle of ADM's U-Net, then attention pooling (Radford et al. 2021, section 2.3): the
mean of all pixels asks them all once. The classifier has no place in MODELS: its output is no image.
"""

import flax.linen as nn
import jax.numpy as jnp

from models import adm_blocks
from models.adm import (
    ATTENTION_ORDERS,
    GROUPS,
    heads_at,
    parts,
    refuse_heads,
    time_embedding,
)
from models.adm_blocks import UNIFORM, attend, convolution, heads_of, linear, norm_silu
from models.layers import normal


class AttentionPooling(nn.Module):
    """[B, H, W, C] -> [B, features]: the attention of the pixels' mean over itself and the pixels.

    Each pixel, and the mean, first gets a learned vector of its place.

    Attributes:
      features: of the output.
      heads: of the attention.
      dtype: of the computation.
    """

    features: int
    heads: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x):
        b, height, width, c = x.shape
        x = x.reshape(b, height * width, c)
        x = jnp.concatenate([x.mean(axis=1, keepdims=True), x], axis=1)
        places = self.param("places", normal(c**-0.5), (x.shape[1], c))
        x += places.astype(x.dtype)
        qkv = linear(x, 3 * c, self.dtype, UNIFORM, name="query_key_value")
        query, key, value = heads_of(qkv, self.heads, "new")
        pooled = attend(query[:, :1], key, value).reshape(b, c)
        return linear(pooled, self.features, self.dtype, UNIFORM, name="out")


class ADMClassifier(nn.Module):
    """Noisy images [B, H, W, C] and noise levels [B] -> logits [B, classes], float32.

    Its parameters are of images of one side: the pooling has a vector for each of the coarsest pixels.

    Attributes:
      classes: how many.
      width, multipliers, blocks, attention, dropout, heads, head_width, resample_in_blocks,
      resample_with_convolution, scale_shift_norm, dtype, rematerialization: as of models.adm.ADM.
      attention_order: the same; "legacy" in all released classifiers, whose pooling has the "new" one.
    """

    classes: int
    width: int = 128
    multipliers: tuple = (1, 2, 3, 4)
    blocks: int = 2
    attention: tuple = (32, 16, 8)
    dropout: float = 0.0
    heads: int | None = None
    head_width: int | None = None
    attention_order: str = "legacy"
    resample_in_blocks: bool = True
    resample_with_convolution: bool = True
    scale_shift_norm: bool = True
    dtype: str = "float32"
    rematerialization: str = "none"

    def __post_init__(self):
        adm_blocks.refuse_fields(self)
        refuse_heads(self)
        if self.classes < 1:
            raise ValueError(f"classes={self.classes} must be positive")
        if self.attention_order not in ATTENTION_ORDERS:
            raise ValueError(
                f'attention_order="{self.attention_order}" must be one of {", ".join(ATTENTION_ORDERS)}'
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, x, noise, dropout_keys=None):
        """The logits [B, classes].

        Args:
          x: [B, H, W, C] noisy images, scaled as those of the network that is guided.
          noise: [B] the noise level, as that network is shown it.
          dropout_keys: [B] keys, one for each example's dropout; None outside training.
        """
        dtype = adm_blocks.computed_in(self.dtype, x)
        time = nn.silu(time_embedding(self, noise, dtype))
        block, attention, down, _ = parts(self, time, dtype, dropout_keys)
        h = convolution(x, int(self.width * self.multipliers[0]), dtype, UNIFORM, name="input")
        h = adm_blocks.middle(adm_blocks.way_down(h, self, block, attention, down)[-1], block, attention)
        h = norm_silu(h, 1e-5, GROUPS, "output_norm")
        heads = int(heads_at(self, h.shape[-1]))
        logits = AttentionPooling(self.classes, heads, dtype, name="pooling")(h)
        return logits.astype(jnp.promote_types(x.dtype, jnp.float32))
