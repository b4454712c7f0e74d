"""The process of EDM (Karras et al. 2022): time is the noise level.

dx = sqrt(2 t) dw,     alpha = 1,     sigma(t) = t.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from sde_lib.base import SDE


@dataclasses.dataclass(frozen=True, kw_only=True)
class EDM(SDE):
    """sigma = t on [t_min, t_max], by default [0.002, 80] (Karras et al. 2022, table 1)."""

    t_min: float = 0.002
    sampling_t_min: float = 0.002
    t_max: float = 80.0
    own_t_max: ClassVar[bool] = True

    def log_alpha(self, t):
        return jnp.zeros_like(t)

    def sigma(self, t):
        return jnp.asarray(t)

    def time_of_log_snr(self, log_snr):
        return jnp.exp(-0.5 * log_snr)

    def drift_rate(self, t):
        return jnp.zeros_like(t)

    def diffusion(self, t):
        return jnp.sqrt(2 * t)

    @property
    def prior_std(self):
        return self.t_max
