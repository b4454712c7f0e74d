"""A network read as a denoiser: D(x, t) = E[x_0 | x_t], whatever the network predicts.

With y = x / alpha and r = sigma / alpha every linear SDE is y = x_0 + r eps, and

    D = skip y + out F(c_in y, conditioning)

where F is the network (Karras et al. 2022, eq. 7, written there for alpha = 1).
"""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from creation import ConfigError, choose
from sde_lib.base import SDE, expand
from sde_lib.prediction import Prediction


class Preconditioning(NamedTuple):
    """How a network F is read: D = skip y + out F(c_in y) and eps = eps_skip y + eps_out F(c_in y).

    The second follows from the first, eps = (y - D) / r, but each parametrization forms
    it without the cancellation at small r.
    """

    c_in: jax.Array
    skip: jax.Array
    out: jax.Array
    eps_skip: jax.Array
    eps_out: jax.Array


def eps_preconditioning(alpha, r, sigma_data):
    """F(x) predicts the noise: D = y - r F."""
    one = jnp.ones_like(r)
    return Preconditioning(c_in=alpha, skip=one, out=-r, eps_skip=0 * one, eps_out=one)


def edm_preconditioning(alpha, r, sigma_data):
    """F sees and predicts signals of unit variance (Karras et al. 2022, table 1).

    sigma_data is the standard deviation of x_0.
    """
    total = jnp.hypot(r, sigma_data)
    return Preconditioning(
        c_in=1 / total,
        skip=(sigma_data / total) ** 2,
        out=r * sigma_data / total,
        eps_skip=r / total**2,
        eps_out=-sigma_data / total,
    )


PARAMETRIZATIONS = {
    "eps": eps_preconditioning,
    "edm": edm_preconditioning,
}


def time_conditioning(sde, t):
    """999 t, the published input of continuous-time VP networks (Song et al. 2021)."""
    return 999.0 * t


def log_sigma_conditioning(sde, t):
    """log(sigma / alpha) / 4 (Karras et al. 2022, table 1)."""
    return -sde.log_snr(t) / 8


CONDITIONINGS = {
    "time": time_conditioning,
    "log_sigma": log_sigma_conditioning,
}


@dataclasses.dataclass(frozen=True)
class Denoiser:
    """A network, the process it was made for, and how to read its output.

    Attributes:
      network: Flax module (x [B, ...], conditioning [B], dropout_keys) -> [B, ...].
      sde: the forward process.
      parametrization: key of PARAMETRIZATIONS.
      conditioning: key of CONDITIONINGS.
      sigma_data: standard deviation of the data, for "edm".
    """

    network: nn.Module
    sde: SDE
    parametrization: str = "eps"
    conditioning: str = "time"
    sigma_data: float = 0.5

    def init(self, key, shape):
        """Parameters for data points of `shape`."""
        x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        t = jax.ShapeDtypeStruct((1,), jnp.float32)
        return self.network.lazy_init(key, x, t)["params"]

    def __call__(self, params, x, t, dropout_keys=None):
        """The Prediction at x [B, ...] and t [B]; dropout acts when keys [B] are given."""
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        c = PARAMETRIZATIONS[self.parametrization](alpha, sigma / alpha, self.sigma_data)
        y, conditioning = x / alpha, CONDITIONINGS[self.conditioning](self.sde, t)
        output = self.network.apply({"params": params}, c.c_in * y, conditioning, dropout_keys)
        return Prediction(c.skip * y + c.out * output, c.eps_skip * y + c.eps_out * output, alpha, sigma)

    def bind(self, params):
        """The function (x, t) -> Prediction that samplers and likelihoods take."""
        return lambda x, t: self(params, x, t)


def create(config, network, sde):
    """The denoiser that the subtree `denoiser` describes.

    Raises:
      ConfigError: unknown parametrization or conditioning, or sigma_data <= 0.
    """
    choose(PARAMETRIZATIONS, config.parametrization, "denoiser.parametrization")
    choose(CONDITIONINGS, config.conditioning, "denoiser.conditioning")
    if not config.sigma_data > 0:
        raise ConfigError(f"denoiser.sigma_data={config.sigma_data} must be positive.")
    return Denoiser(network, sde, config.parametrization, config.conditioning, config.sigma_data)
