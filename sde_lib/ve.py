"""Variance-exploding SDE (Song et al. 2021, eq. 9; the limit of SMLD / NCSN).

dx = sigma(t) sqrt(2 log(sigma_max / sigma_min)) dw,
alpha = 1,     sigma(t) = sigma_min (sigma_max / sigma_min)^t.
"""

import dataclasses
import math

import jax.numpy as jnp

from sde_lib.base import SDE


@dataclasses.dataclass(frozen=True, kw_only=True)
class VE(SDE):
    """The variance-exploding SDE with geometric noise levels.

    Attributes:
      sigma_min: standard deviation at t = 0, well below the spacing of pixel values.
      sigma_max: standard deviation at t = 1, of the size of the largest distance
        between two data points (Song & Ermon 2020, technique 1).
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    sampling_t_min: float = 1e-5

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(
                f"sigma_min={self.sigma_min} and sigma_max={self.sigma_max} "
                "must satisfy 0 < sigma_min < sigma_max"
            )

    @property
    def _log_ratio(self):
        return math.log(self.sigma_max / self.sigma_min)

    def log_alpha(self, t):
        return jnp.zeros_like(t)

    def sigma(self, t):
        return self.sigma_min * jnp.exp(self._log_ratio * t)

    def log_snr(self, t):
        return -2 * (math.log(self.sigma_min) + self._log_ratio * t)

    def time_of_log_snr(self, log_snr):
        return -(0.5 * log_snr + math.log(self.sigma_min)) / self._log_ratio

    def drift_rate(self, t):
        return jnp.zeros_like(t)

    def diffusion(self, t):
        return self.sigma(t) * math.sqrt(2 * self._log_ratio)

    @property
    def prior_std(self):
        return self.sigma_max
