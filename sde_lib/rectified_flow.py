"""Rectified flow, the linear interpolant between data and noise (Liu et al. 2023; Lipman et al. 2023).

dx = -x / (1 - t) dt + sqrt(2 t / (1 - t)) dw,     alpha = 1 - t,     sigma = t.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from sde_lib.base import SDE


@dataclasses.dataclass(frozen=True, kw_only=True)
class RectifiedFlow(SDE):
    """The SDE with the marginals of the linear interpolant.

    Both ends are singular (no noise at 0, an infinite drift at 1), hence t_max < 1.
    """

    t_max: float = 1 - 1e-5
    own_t_max: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        if not 0.99 <= self.t_max < 1:
            raise ValueError(
                f"t_max={self.t_max} must lie in [0.99, 1): at 1, the prior, the drift is infinite"
            )

    def log_alpha(self, t):
        return jnp.log1p(-t)

    def sigma(self, t):
        return jnp.asarray(t)

    def log_snr(self, t):
        return 2 * (jnp.log1p(-t) - jnp.log(t))

    def time_of_log_snr(self, log_snr):
        return jax.nn.sigmoid(-0.5 * log_snr)

    def drift_rate(self, t):
        return -1 / (1 - t)

    def diffusion(self, t):
        return jnp.sqrt(2 * t / (1 - t))

    @property
    def prior_std(self):
        return 1.0
