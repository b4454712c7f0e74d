"""A 'network' whose output makes the denoiser exact, and knobs that make it wrong on purpose."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from denoisers.network import PARAMETRIZATIONS, Denoiser
from sde_lib.base import SDE, expand


@dataclasses.dataclass(frozen=True, eq=False)
class ExactNetwork:
    """What a network of that parametrization must return for the denoiser to be scale times exact + bend.

    Read with noise_input="log_sigma", from which it recovers the time.
    """

    mixture: Any
    sde: SDE
    parametrization: str
    sigma_data: float = 0.5

    def apply(self, variables, z, noise, label=None, dropout_keys=None):
        params = variables["params"]
        t = self.sde.time_of_log_snr(-8 * noise)
        alpha = expand(self.sde.alpha(t), z)
        r = expand(jnp.exp(4 * noise), z)
        c = PARAMETRIZATIONS[self.parametrization](alpha, r, self.sigma_data)
        y = z / c.c_in
        x0 = self.mixture.denoise(self.sde, alpha * y, t).x0
        x0 = params.get("scale", 1.0) * x0 + params.get("bend", 0.0) * jnp.cos(2 * y + 3 * r)
        output = (x0 - c.skip * y) / c.out
        if "raw_fraction" in params:
            output = jnp.concatenate(
                [output, jnp.broadcast_to(params["raw_fraction"], output.shape)], axis=-1
            )
        return output


def exact_denoiser(mixture, sde, parametrization="eps", variance_head="none"):
    """A Denoiser around an ExactNetwork."""
    network = ExactNetwork(mixture, sde, parametrization)
    return Denoiser(network, sde, parametrization, "log_sigma", variance_head=variance_head)
