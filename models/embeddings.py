"""Embeddings of the noise level."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from models.layers import normal


def sinusoidal(value, width, max_period=10_000.0):
    """[B] -> [B, width]: sines, then cosines, at geometric frequencies from 1 to 1/max_period.

    Ho et al. (2020), after Vaswani et al. (2017), with the last frequency at
    1/max_period exactly, as in the released code of DDPM. `width` is even.
    """
    half = width // 2
    frequencies = jnp.exp(-jnp.log(max_period) * jnp.arange(half) / max(half - 1, 1))
    angles = value[:, None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class Sinusoidal(nn.Module):
    """Sinusoidal embedding, [B] -> [B, width]; no parameters."""

    width: int

    def __call__(self, value):
        return sinusoidal(value, self.width)


class Fourier(nn.Module):
    """Random Fourier features, [B] -> [B, width] (Tancik et al. 2020; Song et al. 2021).

    The frequencies are a parameter in the tree, so that checkpoints hold them; they
    are drawn once and no gradient reaches them.
    """

    width: int
    scale: float = 16.0

    @nn.compact
    def __call__(self, value):
        frequencies = self.param("frequencies", normal(self.scale), (self.width // 2,))
        angles = 2 * jnp.pi * value[:, None] * jax.lax.stop_gradient(frequencies)
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def timestep_embedding(value, width, max_period=10_000.0):
    """[B] -> [B, width]: cosines, then sines, the last frequency one step short of 1/max_period.

    As released with Nichol & Dhariwal (2021), and so in ADM and EDM's form of it. `width` is even.
    """
    half = width // 2
    frequencies = jnp.exp(-jnp.log(max_period) * jnp.arange(half) / half)
    angles = value[:, None] * frequencies
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
