"""The adaptive-step solver of the reverse SDE (Jolicoeur-Martineau et al. 2021)."""

import flax.struct
import jax
import jax.numpy as jnp

from samplers.table import Samples, fold_in, normal, prior_noise
from sde_lib.base import expand

MAX_STEPS = 20_000


@flax.struct.dataclass
class AdaptiveSDE:
    """Algorithm 1: error control for each sample by itself; the batch ends when all have.

    Euler-Maruyama's proposal x' is compared with the stochastic improved Euler step
    x'' = (x' + x~) / 2, x~ the step from x with drift and diffusion at (x', s) and the same noise.
    The error is the root mean square of (x' - x'') / max(absolute, relative max(|x'|, |x'_before|));
    a step with error at most 1 is accepted and takes x''; h <- min(t - t_end, 0.9 h error^-0.9).

    Attributes:
      absolute_tolerance: the paper has 0.0078 for data in [-1, 1], one level of 256.
      relative_tolerance: 0.01 (slow) to 0.5 (fast).
      final_denoise: end with E[x_0 | x].
    """

    absolute_tolerance: float = flax.struct.field(pytree_node=False, default=0.0078)
    relative_tolerance: float = flax.struct.field(pytree_node=False, default=0.05)
    final_denoise: bool = flax.struct.field(pytree_node=False, default=True)

    @property
    def times(self):
        """None: the times are chosen on the way."""
        return None

    def draw(self, keys, sde, denoise, shape, keep=None):
        """Samples for keys [B]; NaN for those that did not end within MAX_STEPS. See `table.sample`."""
        batch = keys.shape[0]
        x = prior_noise(keys, sde, shape, 0)
        t = jnp.full((batch,), sde.t_max, x.dtype)
        end = sde.sampling_t_min

        def step(x, t, s, z):
            """From x, with the reverse drift and diffusion at (x, t), over t - s."""
            h, g = expand(t - s, x), expand(sde.diffusion(t), x)
            drift = sde.drift(x, t) - g**2 * denoise(x, t).score
            return -h * drift + jnp.sqrt(h) * g * z

        def body(carry):
            count, x, before, t, h, nfe = carry
            z = normal(fold_in(keys, count + 1), shape, x.dtype)
            s = jnp.maximum(t - h, end)
            proposal = x + step(x, t, s, z)
            # x~ starts from x with drift and diffusion of the proposal's place.
            later = jnp.maximum(s, end)
            h_used, g = expand(t - s, x), expand(sde.diffusion(later), x)
            drift = sde.drift(proposal, later) - g**2 * denoise(proposal, later).score
            improved = x - h_used * drift + jnp.sqrt(h_used) * g * z
            mean = 0.5 * (proposal + improved)
            allowed = jnp.maximum(
                self.absolute_tolerance,
                self.relative_tolerance * jnp.maximum(jnp.abs(proposal), jnp.abs(before)),
            )
            error = jnp.sqrt(jnp.mean(((proposal - mean) / allowed) ** 2, tuple(range(1, x.ndim))))
            active = t > end
            accept = active & (error <= 1)
            nfe = nfe + 2 * active
            keep_old = expand(~accept, x)
            x, before = jnp.where(keep_old, x, mean), jnp.where(keep_old, before, proposal)
            t = jnp.where(accept, s, t)
            factor = 0.9 * jnp.maximum(error, 1e-6) ** -0.9
            h = jnp.where(active, jnp.minimum(t - end, h * factor), h)
            return count + 1, x, before, t, h, nfe

        def unfinished(carry):
            return (carry[0] < MAX_STEPS) & jnp.any(carry[3] > end)

        h = jnp.full_like(t, 0.01 * (sde.t_max - end))
        start = (jnp.int32(0), x, x, t, h, jnp.zeros(batch, jnp.int32))
        _, x, _, t, _, nfe = jax.lax.while_loop(unfinished, body, start)
        x = jnp.where(expand(t > end, x), jnp.nan, x)
        if self.final_denoise:
            x, nfe = denoise(x, jnp.full_like(t, end)).x0, nfe + 1
        return Samples(x, nfe)
