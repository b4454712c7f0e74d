"""Latent codes by the probability-flow ODE, and what one does with them.

The flow is a bijection, so each image has one code, and the code depends on the data's scores
alone: two models that learned them well agree on it (Song et al. 2021, section 4.3 and
appendix D.5). Interpolating codes interpolates images; scaling them down trades variety for typicality.
"""

import jax
import jax.numpy as jnp

from sde_lib import probability_flow


def encode(sde, denoise, x, tolerance=1e-5, solver="dopri5", max_steps=2000):
    """The code of each x: where the flow takes it from t_min to t_max.

        >>> import sde_lib
        >>> from denoisers.gaussian_mixture import GaussianMixture
        >>> vp, gaussian = sde_lib.VP(), GaussianMixture.diagonal([1.0], [[0.0]], [[0.25]])
        >>> code = encode(vp, lambda x, t: gaussian.denoise(vp, x, t), jnp.ones((1, 1))).x
        >>> round(float(code[0, 0]), 1)  # two standard deviations of the data
        2.0

    Args:
      sde, denoise: the model.
      x: [B, ...] data in the model's range; the code is in the range of the prior.

    Returns:
      probability_flow.End with a leading axis [B]; the codes are its `x`.
    """
    return _follow(sde, denoise, x, (sde.t_min, sde.t_max), tolerance, solver, max_steps)


def decode(sde, denoise, code, tolerance=1e-5, solver="dopri5", max_steps=2000):
    """The data of each code [B, ...], the inverse of `encode`; and with codes from the prior a sampler."""
    return _follow(sde, denoise, code, (sde.t_max, sde.t_min), tolerance, solver, max_steps)


def _follow(sde, denoise, x, times, *settings):
    return jax.vmap(lambda x: probability_flow.solve(sde, denoise, x, times, *settings))(x)


def interpolate(first, second, weights):
    """Codes between two along the great circle, at weights [M] in [0, 1] (spherical interpolation).

    A straight line would pass through codes of smaller norm than the prior's. The direction turns
    evenly from one to the other, and the norm changes linearly.

    Args:
      first, second: [...] two codes, not both zero and not exactly opposite.

    Returns:
      [M, ...].
    """
    norms = jnp.linalg.norm(first), jnp.linalg.norm(second)
    start, end = first / norms[0], second / norms[1]
    cosine = jnp.sum(start * end)
    aside = end - cosine * start
    sine = jnp.linalg.norm(aside)
    angle = jnp.arctan2(sine, cosine)
    weights = jnp.reshape(weights, (-1,) + (1,) * first.ndim)
    direction = jnp.cos(weights * angle) * start
    direction += jnp.sin(weights * angle) * aside / jnp.where(sine > 0, sine, 1.0)
    return ((1 - weights) * norms[0] + weights * norms[1]) * direction


def scale_temperature(code, temperature):
    """The code at a temperature: its norm times the square root, 1 leaves it as it is."""
    return jnp.sqrt(temperature) * code
