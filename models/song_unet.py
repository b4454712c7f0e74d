"""EDM's form of DDPM++ and NCSN++ (Karras et al. 2022, table 7, after Song et al. 2021, appendix H).

DDPM++ is what the defaults give, with the settings for CIFAR-10. NCSN++ is

  time_embedding="fourier", noise_multiplier=2, progressive_input="residual", fir_kernel=(1, 3, 3, 1).

Every sum of two branches is divided by sqrt(2). Attention follows all blocks of its sides on the way down,
and only the last on the way up. What is EDM's own: the embedding may read labels, and how training images
were augmented.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from models import adm_blocks, fields
from models.adm_blocks import (
    XAVIER,
    AugmentationEmbedding,
    ClassEmbedding,
    convolution,
    double_size,
    filtered_half,
    half_size,
    linear,
    norm_silu,
)
from models.embeddings import Fourier, Sinusoidal

TIME_EMBEDDINGS = ("sinusoidal", "fourier")
PROGRESSIVE_INPUTS = ("none", "input_skip", "residual")
PROGRESSIVE_OUTPUTS = ("none", "output_skip")
HALF = float(np.sqrt(0.5))
EPSILON = 1e-6


class SongUNet(nn.Module):
    """Score network [B, H, W, C] x [B] -> [B, H, W, channels], of classes where it is told to read them.

    Attributes:
      channels: of the output.
      width: channels of the first convolution, in units of which the multipliers count; even.
      multipliers: of each resolution, finest first.
      blocks: residual blocks a resolution.
      attention: image sides (rounded up when halved) at which attention acts.
      dropout: rate in residual blocks, applied when dropout keys are given.
      time_embedding: "sinusoidal" or "fourier".
      fourier_scale: standard deviation of the Fourier frequencies.
      noise_multiplier: numbers of that embedding, in widths.
      embedding_multiplier: channels of what is made of it, in widths.
      fir_kernel: of the filter of resampling, in one dimension.
      progressive_input: whether each resolution reads the image: "none"; "input_skip", halved by the filter;
        "residual", by convolutions of it, one after the other.
      progressive_output: "none", or "output_skip": the output is a sum over all resolutions.
      class_conditional: read labels.
      classes: of the data.
      label_dropout: part of the labels that is left out while training.
      augmentation_labels: numbers of data.augmentation.LABELS that it reads, or 0.
      dtype: of the computation; parameters and output are float32.
      rematerialization: see models.layers.REMATERIALIZATIONS.
    """

    channels: int
    width: int = 128
    multipliers: tuple = (2, 2, 2)
    blocks: int = 4
    attention: tuple = (16,)
    dropout: float = 0.13
    time_embedding: str = "sinusoidal"
    fourier_scale: float = 16.0
    noise_multiplier: int = 1
    embedding_multiplier: int = 4
    fir_kernel: tuple = (1, 1)
    progressive_input: str = "none"
    progressive_output: str = "none"
    class_conditional: bool = False
    classes: int = 0
    label_dropout: float = 0.0
    augmentation_labels: int = 0
    dtype: str = "float32"
    rematerialization: str = "none"

    def __post_init__(self):
        adm_blocks.refuse_fields(self)
        adm_blocks.refuse_kernel(self.fir_kernel)
        fields.refuse_unknown(
            self,
            time_embedding=TIME_EMBEDDINGS,
            progressive_input=PROGRESSIVE_INPUTS,
            progressive_output=PROGRESSIVE_OUTPUTS,
        )
        super().__post_init__()

    @property
    def ignores_labels(self):
        """Whether the output does not depend on the label."""
        return not (self.class_conditional and self.classes > 0)

    def refusal(self, image_side, noise_input):
        """Why this network cannot serve images of that side, or that form of the noise level; or None."""
        if self.time_embedding == "fourier" and noise_input == "time":
            return (
                'model.time_embedding="fourier" turns denoiser.noise_input="time" (999 t) into noise: its '
                'frequencies are made for logarithms. Use denoiser.noise_input="log_sigma".'
            )
        return fields.missing_side(self, image_side)

    def __call__(self, x, noise, label=None, dropout_keys=None, augmentation=None):
        """The output; see models.network.Network."""
        return self.features(x, noise, label, dropout_keys, augmentation)[0]

    def _embedding(self, noise, label, dropout_keys, augmentation, dtype):
        """[B, embedding_multiplier width] activated embedding of the noise level and all labels."""
        width, batch = self.noise_multiplier * self.width, len(noise)
        if self.time_embedding == "sinusoidal":
            embed = Sinusoidal(width)
        else:
            embed = Fourier(width, self.fourier_scale, name="fourier")
        time = embed(noise).astype(dtype)
        if not self.ignores_labels:
            embed = ClassEmbedding(
                width,
                self.classes,
                dtype,
                XAVIER.kernel,
                self.label_dropout,
                scale=float(np.sqrt(self.classes)),
                use_bias=True,
                name="label",
            )
            time += embed(label, batch, dropout_keys)
        if self.augmentation_labels:
            embed = AugmentationEmbedding(
                width, self.augmentation_labels, dtype, XAVIER.kernel, name="augmentation"
            )
            time += embed(augmentation, batch)
        for name in ("time_0", "time_1"):
            time = nn.silu(linear(time, self.embedding_multiplier * self.width, dtype, XAVIER, name=name))
        return time

    @nn.compact
    def features(self, x, noise, label=None, dropout_keys=None, augmentation=None):
        """The output and the last features at full resolution; see models.network.Network."""
        dtype, init = adm_blocks.computed_in(self.dtype, x), XAVIER
        time = self._embedding(noise, label, dropout_keys, augmentation, dtype)
        make_block, make_attention = adm_blocks.blocks_of(
            self,
            dtype=dtype,
            init=init,
            epsilon=EPSILON,
            skip_scale=HALF,
        )

        def block(h, features, name, attention=False, **resampling):
            make = make_block(
                features=features,
                scale_shift=False,
                kernel=self.fir_kernel,
                project=True,
                name=name,
                **resampling,
            )
            h = make(h, time, dropout_keys)
            if not attention:
                return h
            return make_attention(heads=1, order="interleaved", name=f"{name}_attention")(h)

        image = x.astype(dtype)

        def read_image(h, image, level):
            """Returns h with what it reads of the image, and the image as the next resolution has it."""
            if self.progressive_input == "none":
                return h, image
            if self.progressive_input == "input_skip":
                image = half_size(image, self.fir_kernel)
                return h + linear(image, h.shape[-1], dtype, init, name=f"down_{level}_image"), image
            # One padding for the convolution and the filter after it.
            padding = len(self.fir_kernel) // 2 - 1
            image = adm_blocks.to_even(image)
            image = convolution(
                image, h.shape[-1], dtype, init, padding=1 + padding, name=f"down_{level}_image"
            )
            h = HALF * (h + filtered_half(image, self.fir_kernel, 0))
            return h, h

        h = convolution(image, self.width, dtype, init, name="input")
        skips = [h]
        for level, multiplier in enumerate(self.multipliers):
            if level > 0:
                h = block(h, h.shape[-1], f"down_{level}_resample", resample="down")
                h, image = read_image(h, image, level)
                skips.append(h)
            for i in range(self.blocks):
                features, attention = int(self.width * multiplier), h.shape[1] in self.attention
                h = block(h, features, f"down_{level}_block_{i}", attention)
                skips.append(h)

        h = block(h, h.shape[-1], "middle_block_0", attention=True)
        h = block(h, h.shape[-1], "middle_block_1")

        output = None
        for level, multiplier in reversed([*enumerate(self.multipliers)]):
            size = skips[-1].shape[1:3]
            if level < len(self.multipliers) - 1:
                h = block(h, h.shape[-1], f"up_{level}_resample", resample="up", size=size)
            for i in range(self.blocks + 1):
                attention = i == self.blocks and h.shape[1] in self.attention
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = block(h, int(self.width * multiplier), f"up_{level}_block_{i}", attention)
            if level == 0 or self.progressive_output == "output_skip":
                last = norm_silu(h, EPSILON, None, f"output_{level}_norm")
                part = convolution(last, self.channels, dtype, init, last=True, name=f"output_{level}")
                output = part if output is None else part + double_size(output, size, self.fir_kernel)
        return output.astype(jnp.promote_types(x.dtype, jnp.float32)), h
