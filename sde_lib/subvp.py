"""Sub-variance-preserving SDE (Song et al. 2021, eq. 12).

    dx = -beta(t)/2 x dt + sqrt(beta(t) (1 - exp(-2 B(t)))) dw,
    alpha = exp(-B(t)/2),     sigma = 1 - exp(-B(t)),

with beta and B as in the variance-preserving SDE.
"""

import dataclasses

import jax.numpy as jnp

from sde_lib.base import SDE
from sde_lib.vp import LinearBeta


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubVP(LinearBeta, SDE):
    """The sub-VP SDE: same alpha as VP, smaller sigma, built for likelihood."""

    def sigma(self, t):
        return -jnp.expm1(-self.integrated_beta(t))

    def diffusion(self, t):
        return jnp.sqrt(-self.beta(t) * jnp.expm1(-2 * self.integrated_beta(t)))

    def time_of_log_snr(self, log_snr):
        # sigma / alpha = exp(B/2) - exp(-B/2) = 2 sinh(B/2).
        return self.time_of_integrated_beta(2 * jnp.arcsinh(0.5 * jnp.exp(-0.5 * log_snr)))
