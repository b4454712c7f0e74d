"""EDM2's magnitude-preserving U-Net (Karras et al. 2024, config G, figure 21), for any image side.

There are no norms with statistics over images and no biases. Each layer keeps magnitudes in expectation
(models/magnitude_preserving.py), the residual branches and attention enter by sums of fixed shares, and what
is learned of sizes are scalar gains, which start at zero: one of the output, and one in each block for the
embedding. Where DDPM's U-Net shifts by the noise level, this one multiplies.

    EDM2(channels=3, classes=1000, width=192)   EDM2-S of the paper at 64x64; XS 128, M 256, L 320, XL 384
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models import magnitude_preserving as mp
from models.fields import DTYPES, missing_side, refuse_too_deep, refuse_unknown
from models.layers import REMATERIALIZATIONS, Dropout, constant, rematerialized, upsample_to
from models.resampling import mean_down


class CosineAttention(nn.Module):
    """Self-attention over all pixels; queries and keys have magnitude one, so that logits are bounded.

    Attributes:
      head_width: channels a head.
      share: of attention in the sum with its input.
    """

    head_width: int
    share: float

    @nn.compact
    def __call__(self, x):
        batch, height, width, channels = x.shape
        heads = channels // self.head_width
        # The published order of channels: heads, then a head's channels, then query, key and value.
        y = mp.Convolution(3 * channels, 1, name="query_key_value")(x)
        y = y.reshape(batch, height * width, heads, self.head_width, 3)
        query, key, value = (y[..., i] for i in range(3))
        query, key, value = (mp.normalize(part, axis=-1) for part in (query, key, value))
        logits = jnp.einsum("bqhc,bkhc->bhqk", query, key) / np.sqrt(self.head_width).astype(x.dtype)
        weights = jax.nn.softmax(logits.astype(jnp.promote_types(x.dtype, jnp.float32))).astype(x.dtype)
        y = jnp.einsum("bhqk,bkhc->bqhc", weights, value).reshape(x.shape)
        return mp.add(x, mp.Convolution(channels, 1, name="out")(y), self.share)


class Block(nn.Module):
    """A residual block of the encoder or the decoder, resampled before, with attention after.

    The encoder's blocks normalize the channels of each pixel where they enter (pixel
    norm); the decoder's do not.

    Attributes:
      features: of the output.
      decoder: whether it is one of the decoder.
      resample: "keep", "down" or "up".
      attention: whether attention follows.
      side: (H', W') of the output after "up".
      dropout, head_width, residual_balance, attention_balance, activation_clip: see EDM2.
    """

    features: int
    decoder: bool
    resample: str
    attention: bool
    side: tuple | None
    dropout: float
    head_width: int
    residual_balance: float
    attention_balance: float
    activation_clip: float

    @nn.compact
    def __call__(self, x, embedding, dropout_keys):
        """The output [B, H', W', features].

        Args:
          x: [B, H, W, C]; embedding: [B, E] float32, of the noise level and the class.
          dropout_keys: [B] keys or None.
        """
        if self.resample == "down":
            x = mean_down(x)
        elif self.resample == "up":
            x = upsample_to(x, *self.side)

        def shortcut(x):
            if x.shape[-1] == self.features:
                return x
            return mp.Convolution(self.features, 1, name="shortcut")(x)

        if not self.decoder:
            x = mp.normalize(shortcut(x), axis=-1)
        gain = self.param("embedding_gain", constant(0.0), ())
        scale = 1 + mp.Convolution(self.features, 0, name="embedding")(embedding, gain)
        h = mp.Convolution(self.features, 3, name="convolution_0")(mp.silu(x))
        h = mp.silu(h * scale[:, None, None, :], h.dtype)
        h = Dropout(self.dropout)(h, dropout_keys)
        h = mp.Convolution(self.features, 3, name="convolution_1")(h)
        x = mp.add(shortcut(x) if self.decoder else x, h, self.residual_balance)
        if self.attention:
            x = CosineAttention(self.head_width, self.attention_balance, name="attention")(x)
        return jnp.clip(x, -self.activation_clip, self.activation_clip) if self.activation_clip else x


class EDM2(nn.Module):
    """Network F of EDM's preconditioning, [B, H, W, C] x [B] -> [B, H, W, channels].

    The noise level is read as log(sigma/alpha)/4, `denoiser.noise_input="log_sigma"`.

    Attributes:
      channels: of the output.
      classes: of the data; 0: there are none.
      class_conditional: whether labels are read; a label of None or -1 is that of no class.
      width: channels at full resolution.
      multipliers: channels of each resolution in units of width, finest first.
      blocks: residual blocks a resolution, one more on the way up.
      attention: image sides (rounded up when halved) at which attention follows the blocks; it always follows
        the first block of the way up.
      head_width: channels of one head of attention.
      embedding_multiplier: channels of the embedding in units of width; None: the largest multiplier.
      noise_multiplier: Fourier features in units of width; None: the first multiplier.
      dropout: rate in residual blocks, applied when dropout keys are given.
      label_balance: share of the class in the embedding, in [0, 1] as the other three.
      concat_balance: share of the way down where it is concatenated.
      residual_balance: share of the residual branch.
      attention_balance: share of attention.
      activation_clip: largest size of a block's output; 0: no limit.
      rematerialization: see models/layers.py.
      dtype: of the computation; parameters, embedding and output are float32.
    """

    channels: int
    classes: int = 0
    class_conditional: bool = True
    width: int = 192
    multipliers: tuple = (1, 2, 3, 4)
    blocks: int = 3
    attention: tuple = (16, 8)
    head_width: int = 64
    embedding_multiplier: int | None = None
    noise_multiplier: int | None = None
    dropout: float = 0.0
    label_balance: float = 0.5
    concat_balance: float = 0.5
    residual_balance: float = 0.3
    attention_balance: float = 0.3
    activation_clip: float = 256.0
    rematerialization: str = "none"
    dtype: str = "float32"

    def __post_init__(self):
        refuse_unknown(self, dtype=DTYPES, rematerialization=REMATERIALIZATIONS)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout} must lie in [0, 1)")
        for field in ("label_balance", "concat_balance", "residual_balance", "attention_balance"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"{field}={getattr(self, field)} must lie in [0, 1]")
        if not self.activation_clip >= 0:
            raise ValueError(f"activation_clip={self.activation_clip} must not be negative")
        for field in ("width", "blocks", "head_width", "embedding_multiplier", "noise_multiplier"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ValueError(f"{field}={value} must be at least 1")
        whole = (*self.multipliers, *self.attention)
        if not self.multipliers or not all(isinstance(n, int) and n > 0 for n in whole):
            raise ValueError(
                f"multipliers={self.multipliers} and attention={self.attention} must be positive whole "
                "numbers, with at least one multiplier"
            )
        refuse_too_deep(self)
        if self.width * self.multipliers[-1] % self.head_width:
            raise ValueError(
                f"head_width={self.head_width} must divide the {self.width * self.multipliers[-1]} channels "
                "of the coarsest resolution, where attention always acts"
            )
        super().__post_init__()

    @property
    def ignores_labels(self):
        """Whether the output depends on no label."""
        return not (self.class_conditional and self.classes > 0)

    def refusal(self, image_side, noise_input):
        """Why this network cannot serve images of that side, or that form of the noise level; or None."""
        if noise_input in ("time", "index"):
            return (
                f'model.name="edm2" reads Fourier features of frequencies near one, which turn '
                f'denoiser.noise_input="{noise_input}" into noise. Use denoiser.noise_input="log_sigma".'
            )
        if not image_side:
            return None
        sides = [image_side]
        for _ in self.multipliers[1:]:
            sides.append(-(-sides[-1] // 2))
        line = missing_side(self, image_side)
        if line:
            return line
        for side, multiplier in zip(sides, self.multipliers, strict=True):
            if side in self.attention and self.width * multiplier % self.head_width:
                return (
                    f"model.head_width={self.head_width} must divide the {self.width * multiplier} channels "
                    f"at side {side}, where attention acts."
                )
        return None

    def normalized(self, params):
        """Forced weight normalization (eq. 66); see models.network.Network."""
        return mp.normalized(params)

    def __call__(self, x, noise, label=None, dropout_keys=None):
        """The output; see models.network.Network."""
        return self.features(x, noise, label, dropout_keys)[0]

    @nn.compact
    def features(self, x, noise, label=None, dropout_keys=None):
        """The output and the last features [B, H, W, width]; see models.network.Network."""
        embedding = self._embedding(noise, label)
        checkpointed = rematerialized(Block, self.rematerialization)

        def block(h, multiplier, name, resample="keep", attention=None, side=None):
            after = h.shape[1] if side is None else side[0]
            return checkpointed(
                features=self.width * multiplier,
                decoder=name.startswith("decoder"),
                resample=resample,
                attention=after in self.attention if attention is None else attention,
                side=side,
                dropout=self.dropout,
                head_width=self.head_width,
                residual_balance=self.residual_balance,
                attention_balance=self.attention_balance,
                activation_clip=self.activation_clip,
                name=name,
            )(h, embedding, dropout_keys)

        # The channel of ones stands in for a bias of the input.
        dtype = jnp.promote_types(x.dtype, self.dtype) if self.dtype == "float32" else self.dtype
        x = x.astype(dtype)
        h = jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
        h = mp.Convolution(self.width * self.multipliers[0], 3, name="encoder_0_input")(h)
        skips = [h]
        for level, multiplier in enumerate(self.multipliers):
            if level > 0:
                finer = self.multipliers[level - 1]
                h = block(h, finer, f"encoder_{level}_down", resample="down", attention=False)
                skips.append(h)
            for i in range(self.blocks):
                h = block(h, multiplier, f"encoder_{level}_block_{i}")
                skips.append(h)

        coarsest = len(self.multipliers) - 1
        for level, multiplier in reversed(list(enumerate(self.multipliers))):
            if level == coarsest:
                h = block(h, multiplier, f"decoder_{level}_input_0", attention=True)
                h = block(h, multiplier, f"decoder_{level}_input_1", attention=False)
            else:
                coarser, side = self.multipliers[level + 1], skips[-1].shape[1:3]
                h = block(h, coarser, f"decoder_{level}_up", resample="up", attention=False, side=side)
            for i in range(self.blocks + 1):
                h = mp.concatenate(h, skips.pop(), self.concat_balance)
                h = block(h, multiplier, f"decoder_{level}_block_{i}")

        gain = self.param("output_gain", constant(0.0), ())
        output = mp.Convolution(self.channels, 3, name="output")(h, gain)
        return output.astype(jnp.promote_types(output.dtype, jnp.float32)), h

    def _embedding(self, noise, label):
        """[B, E] of the noise level [B] and the class [B] or None."""
        width = self.width * (self.embedding_multiplier or max(self.multipliers))
        features = self.width * (self.noise_multiplier or self.multipliers[0])
        features = mp.Fourier(features, name="noise_fourier")(noise)
        embedding = mp.Convolution(width, 0, name="noise_embedding")(features)
        if not self.ignores_labels:
            label = jnp.full(len(embedding), -1) if label is None else label
            classes = jax.nn.one_hot(label, self.classes, dtype=embedding.dtype)
            classes *= np.sqrt(self.classes).astype(embedding.dtype)
            of_class = mp.Convolution(width, 0, name="class_embedding")(classes)
            embedding = mp.add(embedding, of_class, self.label_balance)
        return mp.silu(embedding)
