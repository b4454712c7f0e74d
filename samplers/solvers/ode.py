"""Black-box adaptive solvers of the probability flow (Song et al. 2021, section 4.3), by diffrax."""

from typing import ClassVar

import flax.struct
import jax
import jax.numpy as jnp

from samplers.table import Samples, prior_noise
from sde_lib import probability_flow


@flax.struct.dataclass
class AdaptiveODE:
    """The flow from the prior down to sampling_t_min, with step control for each sample by itself.

    Attributes:
      method: key of probability_flow.SOLVERS.
      tolerance: relative and absolute.
      final_denoise: end with E[x_0 | x].
    """

    deterministic: ClassVar[bool] = True
    method: str = flax.struct.field(pytree_node=False, default="dopri5")
    tolerance: float = flax.struct.field(pytree_node=False, default=1e-5)
    final_denoise: bool = flax.struct.field(pytree_node=False, default=True)

    def __post_init__(self):
        if self.method not in probability_flow.SOLVERS:
            known = ", ".join(probability_flow.SOLVERS)
            raise ValueError(f'method="{self.method}" must be one of {known}')
        probability_flow.require_tolerance(self.tolerance)

    def refusal(self, sde, times=None):
        """Why this solver cannot serve the SDE: None, it serves all."""
        return None

    @property
    def times(self):
        """None: the times are chosen on the way."""
        return None

    def draw(self, keys, sde, denoise, shape, keep=None):
        """Samples for keys [B]; NaN where the solver ran out of steps. See `table.sample`."""
        x = prior_noise(keys, sde, shape, 0)
        times = (sde.t_max, sde.sampling_t_min)

        def solve(x):
            return probability_flow.solve(sde, denoise, x, times, self.tolerance, self.method)

        ended = jax.vmap(solve)(x)
        nfe = ended.nfe
        x = jnp.where(ended.failed.reshape(-1, *(1,) * len(shape)), jnp.nan, ended.x)
        if self.final_denoise:
            x, nfe = denoise(x, jnp.full((len(x),), sde.sampling_t_min)).x0, nfe + 1
        return Samples(x, nfe)
