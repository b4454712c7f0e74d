"""Predictors of Song et al. (2021) as tables: one step from t to s < t.

With the score written through the denoiser, score = (alpha_t D - x) / sigma_t^2, each is
x_s = (coefficient) x_t + (coefficient) D(x_t, t) + (standard deviation) z. In the names
of appendix E and F, but with each step's own length and the SDE's exact transition
x_t = scale x_s + std z in place of its first-order discretization.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np

from samplers.table import one_step_table
from sde_lib.rectified_flow import RectifiedFlow
from sde_lib.subvp import SubVP


def _by_score(sde, t, from_state, from_score, noise):
    """Coefficients (state, D, noise) of x_s = from_state x + from_score score + noise z."""
    return (
        from_state - from_score / sde.sigma(t) ** 2,
        from_score * sde.alpha(t) / sde.sigma(t) ** 2,
        noise,
    )


def reverse_diffusion(sde, t, s):
    """The forward step's own discretization, reversed (Song et al. 2021, eq. 46).

    With x_t = x_s + F + G z, F = (scale - 1) x and G = std: x_s = x - F + G^2 score + G z.
    """
    scale, std = sde.transition(t, s)
    return _by_score(sde, t, 2 - scale, std**2, std)


def ancestral(sde, t, s):
    """The posterior of x_s given x_t and x_0 = D (Ho et al. 2020; Song et al. 2021, appendix F)."""
    return sde.posterior_coefficients(s, t)


def euler_maruyama(sde, t, s):
    """Euler-Maruyama on the reverse SDE dx = (f x - g^2 score) dt + g dw, backwards in time."""
    h, f, g = t - s, sde.drift_rate(t), sde.diffusion(t)
    return _by_score(sde, t, 1 - h * f, h * g**2, jnp.sqrt(h) * g)


PREDICTORS = {
    "reverse_diffusion": reverse_diffusion,
    "ancestral": ancestral,
    "euler_maruyama": euler_maruyama,
}


def refusal(predictor, sde, times):
    """Why the predictor of that name cannot serve the SDE on a grid of times, or None."""
    if predictor == "ancestral" and isinstance(sde, SubVP):
        return (
            "is defined for the VP and VE SDEs (Song et al. 2021, appendix F), not for the sub-VP SDE. "
            'Use "reverse_diffusion" or "euler_maruyama".'
        )
    if predictor != "ancestral" and isinstance(sde, RectifiedFlow):
        return 'assumes small steps, and the drift of rectified flow is infinite at t = 1. Use "ancestral".'
    if predictor == "euler_maruyama":
        drifts = -np.diff(times) * np.abs(sde.drift_rate(jnp.asarray(times[:-1], jnp.float32)))
        worst = int(np.argmax(drifts))
        if drifts[worst] > 1:
            return (
                f"takes steps too long for the drift: step times drift rate is {drifts[worst]:.2g} at "
                f't = {times[worst]:.3g}, and above 1 it overshoots. Use "ancestral" or more sampling.steps.'
            )
    return None


def _on_host():
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out
        return contextlib.nullcontext()


def table(predictor, sde, times, final_denoise=True):
    """The Table of a predictor on a grid, formed in float64 on the host.

    Args:
      predictor: key of PREDICTORS.
      times: [N + 1] decreasing times.
      final_denoise: end with E[x_0 | x] at the last time, at the cost of one call.
    """
    with jax.enable_x64(True), _on_host():
        t, s = jnp.asarray(times[:-1], jnp.float64), jnp.asarray(times[1:], jnp.float64)
        steps = [np.asarray(c) for c in PREDICTORS[predictor](sde, t, s)]
    return one_step_table(np.asarray(times, np.float64), *steps, final_denoise)
