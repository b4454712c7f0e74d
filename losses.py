"""The objective: denoising score matching (Vincent 2011; Song et al. 2021, eq. 7).

    E_t E_{x_0, eps} w(t) |eps - eps_hat(alpha x_0 + sigma eps, t)|^2,

where eps_hat = (x - alpha D) / sigma is the noise that the denoiser D sees. Written in
eps, the simple loss of DDPM has w = 1, which is lambda(t) = sigma^2 on the score, and
likelihood weighting lambda(t) = g^2 has w = g^2 / sigma^2 (Song et al. 2021b, theorem 1).
"""

import dataclasses

import jax
import jax.numpy as jnp

from creation import ConfigError, choose
from sde_lib.base import SDE


def simple_weighting(sde, t):
    """W = 1: mean-squared error of the noise (Ho et al. 2020, eq. 14)."""
    return jnp.ones_like(t)


def likelihood_weighting(sde, t):
    """W = g^2 / sigma^2, which bounds the likelihood (Song et al. 2021b, eq. 7)."""
    return (sde.diffusion(t) / sde.sigma(t)) ** 2


WEIGHTINGS = {
    "simple": simple_weighting,
    "likelihood": likelihood_weighting,
}


def uniform_times(keys, shared_key, index, batch_size):
    """Independent uniform numbers [b] in [0, 1), one from each example's key."""
    return jax.vmap(jax.random.uniform)(keys)


def low_discrepancy_times(keys, shared_key, index, batch_size):
    """Evenly spaced numbers with a common random shift (Kingma et al. 2021, appendix I.1).

    `index` [b] is each example's place in the batch of `batch_size` over all devices.
    """
    return (jax.random.uniform(shared_key) + index / batch_size) % 1.0


TIME_SAMPLINGS = {
    "uniform": uniform_times,
    "low_discrepancy": low_discrepancy_times,
}

TIME_GRIDS = ("continuous", "discrete")

REDUCTIONS = {
    "mean": lambda squares: jnp.mean(squares, axis=1),
    "half_sum": lambda squares: 0.5 * jnp.sum(squares, axis=1),
}


@dataclasses.dataclass(frozen=True)
class Objective:
    """Which noise levels are drawn, and how their errors are added up.

    Attributes:
      sde: the forward process.
      weighting: key of WEIGHTINGS.
      time_sampling: key of TIME_SAMPLINGS.
      time_grid: "continuous" on [t_min, t_max], or "discrete" with `noise_levels` times.
      noise_levels: number of equally spaced times of the discrete grid, the last at t_max.
      reduction: "mean" over pixels, or "half_sum", the default of Song et al. (2021).
        They differ by half the dimension, which matters to gradient clipping.
    """

    sde: SDE
    weighting: str = "simple"
    time_sampling: str = "uniform"
    time_grid: str = "continuous"
    noise_levels: int = 1000
    reduction: str = "mean"

    def times(self, keys, shared_key, index, batch_size):
        """Times t [b] for the examples at `index` [b] of a batch of `batch_size`."""
        u = TIME_SAMPLINGS[self.time_sampling](keys, shared_key, index, batch_size)
        if self.time_grid == "discrete":
            return self.sde.t_max * (jnp.floor(u * self.noise_levels) + 1) / self.noise_levels
        return self.sde.t_min + u * (self.sde.t_max - self.sde.t_min)

    def example_losses(self, keys, denoise, x0, t):
        """The loss [b] of each example.

        Args:
          keys: [b] one key for each example's noise.
          denoise: (x, t) -> Prediction.
          x0: [b, ...] data in the model's range.
          t: [b] times.
        """
        eps = jax.vmap(lambda key, x: jax.random.normal(key, x.shape))(keys, x0)
        mean, std = self.sde.marginal(x0, t)
        error = denoise(mean + std * eps, t).eps - eps
        squares = jnp.square(error).reshape(len(error), -1)
        return WEIGHTINGS[self.weighting](self.sde, t) * REDUCTIONS[self.reduction](squares)


def create(config, sde):
    """The objective that the subtree `loss` describes.

    Raises:
      ConfigError: unknown names, or likelihood weighting on a discrete grid.
    """
    choose(WEIGHTINGS, config.weighting, "loss.weighting")
    choose(TIME_SAMPLINGS, config.time_sampling, "loss.time_sampling")
    choose(dict.fromkeys(TIME_GRIDS), config.time_grid, "loss.time_grid")
    choose(REDUCTIONS, config.reduction, "loss.reduction")
    if config.noise_levels < 1:
        raise ConfigError(f"loss.noise_levels={config.noise_levels} must be at least 1.")
    if config.weighting == "likelihood" and config.time_grid == "discrete":
        raise ConfigError(
            'loss.weighting="likelihood" weighs a density over continuous time, and '
            'loss.time_grid="discrete" has none. Use loss.time_grid="continuous" or '
            'loss.weighting="simple".'
        )
    return Objective(sde, **config.to_dict())
