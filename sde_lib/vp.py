"""Variance-preserving SDE (Song et al. 2021, eq. 11; the limit of DDPM).

dx = -beta(t)/2 x dt + sqrt(beta(t)) dw,     beta(t) = beta_min + t (beta_max - beta_min),
alpha = exp(-B(t)/2),     sigma^2 = 1 - exp(-B(t)),     B(t) = integral of beta over [0, t].
"""

import dataclasses

import jax
import jax.numpy as jnp

from sde_lib.base import SDE


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearBeta:
    """What the VP and sub-VP SDEs share, mixed into both: the linear beta and alpha.

    Attributes:
      beta_min, beta_max: beta at t = 0 and t = 1.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.beta_min < self.beta_max:
            raise ValueError(
                f"beta_min={self.beta_min} and beta_max={self.beta_max} must satisfy 0 < beta_min < beta_max"
            )

    def beta(self, t):
        """Rate of noise at time t."""
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def integrated_beta(self, t):
        """B(t), the integral of beta over [0, t]."""
        return t * (self.beta_min + 0.5 * t * (self.beta_max - self.beta_min))

    def time_of_integrated_beta(self, value):
        """The t at which B(t) = value: the root of a quadratic, in the form that does not cancel."""
        slope = self.beta_max - self.beta_min
        return 2 * value / (self.beta_min + jnp.sqrt(self.beta_min**2 + 2 * slope * value))

    def log_alpha(self, t):
        return -0.5 * self.integrated_beta(t)

    def drift_rate(self, t):
        return -0.5 * self.beta(t)

    @property
    def prior_std(self):
        return 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class VP(LinearBeta, SDE):
    """The variance-preserving SDE: alpha^2 + sigma^2 = 1."""

    def sigma(self, t):
        return jnp.sqrt(-jnp.expm1(-self.integrated_beta(t)))

    def diffusion(self, t):
        return jnp.sqrt(self.beta(t))

    def time_of_log_snr(self, log_snr):
        # alpha^2 = sigmoid(log_snr), hence B = -log(alpha^2) = softplus(-log_snr).
        return self.time_of_integrated_beta(jax.nn.softplus(-log_snr))
