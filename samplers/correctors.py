"""Correctors: moves that leave the marginal at time t in place and use its score."""

import dataclasses

import jax
import jax.numpy as jnp

from sde_lib.base import expand


def _norms(x):
    """[B] Euclidean norms of x [B, ...]."""
    return jnp.linalg.norm(x.reshape(len(x), -1), axis=1)


@dataclasses.dataclass(frozen=True)
class Langevin:
    """Langevin dynamics with a step set by a signal-to-noise ratio (Song et al. 2021, algorithms 4, 5).

        step = 2 (r |z| / |score|)^2,     x <- x + step score + sqrt(2 step) z

    with the norms of each sample by itself, and without algorithm 5's factor 1 - beta_i on the
    VP SDE. (The released code averages the norms over the batch, which makes a sample depend
    on its neighbours.) The step then depends on x, which the invariance of the marginal does
    not allow for. On a standard normal with r = 0.16 the spread settles 13% too large in 16
    dimensions, 4% in 64, 2% in 192, where norms hardly vary any more.

    Attributes:
      snr: the ratio r.
      steps: steps at each noise level, one network call each.
    """

    snr: float = 0.16
    steps: int = 1

    @property
    def calls(self):
        """Network calls at each noise level."""
        return self.steps

    def step(self, keys, x, t, denoise):
        """X [B, ...] after `steps` Langevin steps at t [B], with noise from keys [B]."""

        def once(i, x):
            step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
            z = jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(step_keys)
            score = denoise(x, t).score
            size = expand(2 * (self.snr * _norms(z) / _norms(score)) ** 2, x)
            return x + size * score + jnp.sqrt(2 * size) * z

        return once(0, x) if self.steps == 1 else jax.lax.fori_loop(0, self.steps, once, x)


def langevin(config):
    """Langevin dynamics with `sampling.snr` and `sampling.corrector_steps`."""
    return Langevin(snr=config.snr, steps=config.corrector_steps)


CORRECTORS = {
    "langevin": langevin,
    "none": lambda config: None,
}
