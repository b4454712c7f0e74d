"""The papers' discrete schedules, n = 1..N, as processes in continuous time.

Level n stands at t = n / N; in between the log-SNR is linear in t. On the grid the
marginals are exactly those of the paper, off it every formula of a linear SDE holds, so
training on the grid, likelihoods and fast solvers share one interface.
"""

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np

from sde_lib.base import SDE, VariancePreserving


@dataclasses.dataclass(frozen=True, kw_only=True)
class Levels:
    """What the discrete schedules share, mixed into each: the table and its interpolation.

    A subclass gives `grid_log_snr`, a cached [N] float64 NumPy array of decreasing log-SNR.

    Attributes:
      noise_levels: N.
      t_min, sampling_t_min: by default 1 / N, the first level.
    """

    noise_levels: int = 1000
    t_min: float | None = None
    sampling_t_min: float | None = None

    def __post_init__(self):
        if self.noise_levels < 2:
            raise ValueError(f"noise_levels={self.noise_levels} must be at least 2")
        for name in ("t_min", "sampling_t_min"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, 1 / self.noise_levels)
        super().__post_init__()

    @property
    def grid(self):
        """[N] float64 times n / N, increasing."""
        return np.arange(1, self.noise_levels + 1) / self.noise_levels

    @functools.cached_property
    def _slopes(self):
        return np.diff(self.grid_log_snr) * self.noise_levels

    def _cell(self, t):
        """The interval between levels that holds t; the outer ones reach beyond the grid."""
        return jnp.clip(jnp.floor(t * self.noise_levels).astype(int) - 1, 0, self.noise_levels - 2)

    def _arrays(self, t):
        """Slopes, grid and log-SNR in the precision of t."""
        dtype = jnp.result_type(t, float)
        return (jnp.asarray(a, dtype) for a in (self._slopes, self.grid, self.grid_log_snr))

    def log_snr(self, t):
        cell = self._cell(t)
        slopes, grid, table = self._arrays(t)
        return table[cell] + slopes[cell] * (t - grid[cell])

    def log_snr_drop(self, s, t):
        # Gauss's rule does not see the kinks at the levels: from s to the next level, over
        # whole cells, and from the last level to t, each without cancellation.
        first, last = self._cell(s), self._cell(t)
        slopes, grid, table = self._arrays(t)
        to_level, from_level = slopes[first] * (s - grid[first + 1]), slopes[last] * (grid[last] - t)
        across = to_level + (table[first + 1] - table[last]) + from_level
        return jnp.where(first == last, slopes[first] * (s - t), across)

    def time_of_log_snr(self, log_snr):
        slopes, grid, table = self._arrays(log_snr)
        cell = jnp.clip(jnp.searchsorted(-table, -log_snr) - 1, 0, self.noise_levels - 2)
        return grid[cell] + (log_snr - table[cell]) / slopes[cell]


class Betas(Levels, VariancePreserving):
    """Levels given by betas: alpha_n^2 = product of 1 - beta_i over i <= n."""

    @functools.cached_property
    def grid_log_snr(self):
        log_alpha2 = np.cumsum(np.log1p(-self.betas))
        return log_alpha2 - np.log(-np.expm1(log_alpha2))

    def index(self, t):
        """The integer 0..N-1 that published networks are conditioned on."""
        return t * self.noise_levels - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class DDPM(Betas, SDE):
    """Ho et al. (2020): beta_n linear from beta_min/N to beta_max/N, 1e-4 to 0.02 by default.

    Attributes:
      beta_min, beta_max: in units of 1/N, so that N -> infinity gives the VP SDE.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.beta_min < self.beta_max < self.noise_levels:
            raise ValueError(
                f"beta_min={self.beta_min}, beta_max={self.beta_max}, noise_levels={self.noise_levels} "
                "must satisfy 0 < beta_min < beta_max < noise_levels"
            )

    @property
    def betas(self):
        """[N] float64."""
        return np.linspace(self.beta_min, self.beta_max, self.noise_levels) / self.noise_levels


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImprovedDDPM(Betas, SDE):
    """Nichol & Dhariwal (2021), eq. 17: alpha_n^2 = h(n/N)/h(0), h(u) = cos^2((u + 0.008)/1.008 pi/2).

    beta_n = 1 - alpha_n^2/alpha_{n-1}^2, at most 0.999.
    """

    @property
    def betas(self):
        """[N] float64."""
        u = np.arange(self.noise_levels + 1) / self.noise_levels
        signal = np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
        return np.minimum(1 - signal[1:] / signal[:-1], 0.999)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SMLD(Levels, SDE):
    """Song & Ermon (2019, 2020): alpha = 1, noise levels geometric from sigma_min to sigma_max.

    Attributes:
      sigma_min, sigma_max: standard deviations of the first and last level.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(
                f"sigma_min={self.sigma_min} and sigma_max={self.sigma_max} "
                "must satisfy 0 < sigma_min < sigma_max"
            )

    @functools.cached_property
    def grid_log_snr(self):
        """[N] float64."""
        return -2 * np.linspace(math.log(self.sigma_min), math.log(self.sigma_max), self.noise_levels)

    def index(self, t):
        """The integer N-1..0, counted from the highest noise as NCSN's networks are conditioned."""
        return self.noise_levels * (1 - t)

    def log_alpha(self, t):
        return jnp.zeros_like(t)

    def sigma(self, t):
        return jnp.exp(-0.5 * self.log_snr(t))

    @property
    def prior_std(self):
        return self.sigma_max
