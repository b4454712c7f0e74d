"""NCSN (Song & Ermon 2019, appendix A): a RefineNet whose norms are conditioned on the noise level.

The published network returns the score itself (`denoiser.parametrization="unscaled_score"`) for images in
[0, 1] (`data.centered=False`), which it takes to [-1, 1] (`recentre=True`).
"""

import flax.linen as nn
import jax.numpy as jnp

from models.refinenet import RefineNet, Stage

STAGES = (Stage(1), Stage(2, halves=True), Stage(2, dilation=2), Stage(2, dilation=4))


class NCSN(RefineNet):
    """Score network [B, H, W, C] x [B] -> [B, H, W, channels].

    The noise level is an index, as `denoiser.noise_input="index"` gives it; between levels the nearest one
    is taken, as Song et al. (2021) do.

    Attributes:
      noise_levels: how many the process has; 10 in the paper.
    """

    noise_levels: int = 10

    def __post_init__(self):
        if not isinstance(self.noise_levels, int) or self.noise_levels < 2:
            raise ValueError(f"noise_levels={self.noise_levels} must be a whole number of at least 2")
        super().__post_init__()

    def refusal(self, image_side, noise_input):
        """Why this network cannot serve that form of the noise level, or None."""
        if noise_input != "index":
            return (
                f'model.name="ncsn" knows the noise level by its number, which denoiser.noise_input='
                f'"{noise_input}" does not give. Use denoiser.noise_input="index".'
            )
        return None

    @nn.compact
    def features(self, x, noise, label=None, dropout_keys=None):
        """The output and the last features [B, H, W, width] before their norm; see models.network.Network."""
        level = jnp.clip(jnp.round(noise), 0, self.noise_levels - 1).astype(jnp.int32)
        return self.refine(x, STAGES, self.noise_levels, level)
