"""A network read as a denoiser: D(x, t) = E[x_0 | x_t], whatever the network predicts.

With y = x / alpha and r = sigma / alpha every linear SDE is y = x_0 + r eps, and

    D = skip y + out F(c_in y, noise)

where F is the network (Karras et al. 2022, eq. 7, written there for alpha = 1).
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from components import ConfigError, choose
from denoisers.heads import VARIANCE_HEADS, attach
from denoisers.prediction import Denoise, Prediction
from denoisers.uncertainty import WithUncertainty
from models.network import Network
from sde_lib import noise
from sde_lib.base import SDE, expand


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


def score_preconditioning(alpha, r, sigma_data):
    """F(x) predicts sigma times the score, the noise with its sign reversed (Song et al. 2021)."""
    one = jnp.ones_like(r)
    return Preconditioning(c_in=alpha, skip=one, out=r, eps_skip=0 * one, eps_out=-one)


def unscaled_score_preconditioning(alpha, r, sigma_data):
    """F(x) predicts the score itself (Song & Ermon 2019): eps = -sigma F and D = y + sigma^2 / alpha F."""
    one, sigma = jnp.ones_like(r), alpha * r
    return Preconditioning(c_in=alpha, skip=one, out=sigma * r, eps_skip=0 * one, eps_out=-sigma)


def x0_preconditioning(alpha, r, sigma_data):
    """F(x) predicts the data: D = F."""
    one = jnp.ones_like(r)
    return Preconditioning(c_in=alpha, skip=0 * one, out=one, eps_skip=1 / r, eps_out=-1 / r)


def v_preconditioning(alpha, r, sigma_data):
    """F(x) predicts v = alpha eps - sigma x_0 (Salimans & Ho 2022), on any process.

    With x = alpha x_0 + sigma eps, D = (alpha x - sigma F) / (alpha^2 + sigma^2).
    """
    total = 1 + r**2
    return Preconditioning(
        c_in=alpha,
        skip=1 / total,
        out=-r / (alpha * total),
        eps_skip=r / total,
        eps_out=1 / (alpha * total),
    )


def flow_preconditioning(alpha, r, sigma_data):
    """F(x) predicts eps - x_0, the velocity of rectified flow (Liu et al. 2023), on any process.

    D = (x - sigma F) / (alpha + sigma).
    """
    share = 1 / (1 + r)
    return Preconditioning(c_in=alpha, skip=share, out=-r * share, eps_skip=share, eps_out=share)


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
    "x0": x0_preconditioning,
    "v": v_preconditioning,
    "score": score_preconditioning,
    "unscaled_score": unscaled_score_preconditioning,
    "flow": flow_preconditioning,
    "edm": edm_preconditioning,
}


def time_input(sde, t):
    """999 t, the published input of continuous-time VP networks (Song et al. 2021)."""
    return 999.0 * t


def log_sigma_input(sde, t):
    """log(sigma / alpha) / 4 (Karras et al. 2022, table 1)."""
    return -sde.log_snr(t) / 8


def unscaled_log_sigma_input(sde, t):
    """log(sigma / alpha), as the Fourier features of Song et al. (2021) read it on the VE process."""
    return -sde.log_snr(t) / 2


def index_input(sde, t):
    """The level of a discrete process, as its published networks count it: an integer on its grid.

    Between levels it is linear in t, as Song et al. (2021) feed it to networks on the VP process.
    """
    return sde.index(t)


def rescaled_index_input(sde, t):
    """The same, as if there were 1,000 levels (Nichol & Dhariwal 2021, the released code)."""
    return sde.index(t) * (1000 / sde.noise_levels)


# Of products of float32 in the network, as jax.default_matmul_precision names them: of TF32 or bfloat16 where
# the accelerator would have it so, of several such products, of float32.
PRECISIONS = {name: name for name in ("default", "high", "highest")}


# The noise level as the network is shown it.
NOISE_INPUTS = {
    "time": time_input,
    "log_sigma": log_sigma_input,
    "unscaled_log_sigma": unscaled_log_sigma_input,
    "index": index_input,
    "rescaled_index": rescaled_index_input,
}


@dataclasses.dataclass(frozen=True)
class Denoiser:
    """A network, the process it was made for, and how to read its output.

    Attributes:
      network: models.network.Network, with the second output of its variance head if it has one.
      sde: the forward process.
      parametrization: key of PARAMETRIZATIONS.
      noise_input: key of NOISE_INPUTS.
      sigma_data: standard deviation of the data, for "edm" and for variance heads.
      variance_head: key of VARIANCE_HEADS; all but "none" take a second half of the network's channels.
      precision: key of PRECISIONS.
      uncertainty: whether the network is one WithUncertainty, for the loss.
    """

    network: Network
    sde: SDE
    parametrization: str = "eps"
    noise_input: str = "time"
    sigma_data: float = 0.5
    variance_head: str = "none"
    precision: str = "default"
    uncertainty: bool = False

    @property
    def takes_labels(self):
        """Whether predictions depend on labels; see models/network.py."""
        return not getattr(self.network, "ignores_labels", False)

    def init(self, key, shape, labelled=False):
        """Parameters for data points of `shape`, with labels or without."""
        return _init(self.network, key, shape, labelled)

    def shapes(self, shape, labelled=False):
        """The parameters' shapes and dtypes, for data points of `shape`; nothing is allocated."""
        return _shapes(self.network, tuple(shape), labelled)

    def __call__(self, params, x, t, label=None, dropout_keys=None, augmentation=None):
        """The Prediction at x [B, ...] and t [B], for labels [B] or None; dropout acts with keys [B].

        Args:
          augmentation: [B, 9] what was done to the training images (data/augmentation.py), for networks
            with `augmentation_labels`; None: nothing.

        Raises:
          ValueError: labels that are not one for each example, which would broadcast in silence.
        """
        if label is not None and jnp.shape(label) != (len(x),):
            raise ValueError(
                f"labels of shape {jnp.shape(label)} for {len(x)} examples. Within a vmap over examples bind "
                "each example's own label: parallel.batches.one_by_one"
            )
        alpha, sigma = expand(self.sde.alpha(t), x), expand(self.sde.sigma(t), x)
        c = PARAMETRIZATIONS[self.parametrization](alpha, sigma / alpha, self.sigma_data)
        y, noise = x / alpha, NOISE_INPUTS[self.noise_input](self.sde, t)
        with jax.named_scope("network"), jax.default_matmul_precision(self.precision):
            # Most networks have no such argument; see models/network.py.
            told = {} if augmentation is None else {"augmentation": augmentation}
            output = self._network(params, c.c_in * y, noise, label, dropout_keys, told)
        head = VARIANCE_HEADS[self.variance_head]
        if head:
            output, raw = jnp.split(output, 2, axis=-1)
        prediction = Prediction(
            x0=c.skip * y + c.out * output,
            eps=c.eps_skip * y + c.eps_out * output,
            alpha=alpha,
            sigma=sigma,
        )
        return head.read(raw, prediction, self.sigma_data) if head else prediction

    def log_variance(self, params, t):
        """The uncertainty u [B] at times [B], where it is learned; see denoisers/uncertainty.py."""
        noise = log_sigma_input(self.sde, t)
        return self.network.apply({"params": params}, noise, method="log_variance")

    def normalized(self, params):
        """The parameters as they go on after an optimizer step; see models.network.Network."""
        normalized = getattr(self.network, "normalized", None)
        return normalized(params) if normalized else params

    def _network(self, params, x, noise, label, dropout_keys, told):
        """The network's output; where it asks for full rematerialization, all of it is computed again."""

        def apply(params, x, noise, label, dropout_keys, told):
            given = {"label": label, "dropout_keys": dropout_keys, **told}
            return self.network.apply({"params": params}, x, noise, **given)

        if getattr(self.network, "rematerialization", "none") == "full":
            apply = jax.checkpoint(apply)
        return apply(params, x, noise, label, dropout_keys, told)

    def bind(self, params, label=None) -> Denoise:
        """The function (x, t) -> Prediction that samplers and likelihoods take, of classes [B] or None."""
        return lambda x, t: self(params, x, t, label)


def _init(network, key, shape, labelled):
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    t = jax.ShapeDtypeStruct((1,), jnp.float32)
    label = jax.ShapeDtypeStruct((1,), jnp.int32) if labelled else None
    return network.lazy_init(key, x, t, label=label)["params"]


@functools.lru_cache(maxsize=128)  # more than configs/ has networks
def _shapes(network, shape, labelled):
    return jax.eval_shape(lambda key: _init(network, key, shape, labelled), noise.root_key(0))


def create(config, network, sde):
    """The denoiser that the subtree `denoiser` describes.

        >>> import models, sde_lib
        >>> from configs import digits
        >>> config = digits.get_config()
        >>> denoiser = create(config.denoiser, models.create(config.model, 1), sde_lib.VP())
        >>> denoiser.parametrization
        'edm'

    Raises:
      ConfigError: unknown parametrization, noise_input or variance head, a noise_input that the SDE does not
        have, a head that the network does not allow, or sigma_data <= 0.
    """
    choose(PARAMETRIZATIONS, config.parametrization, "denoiser.parametrization")
    choose(NOISE_INPUTS, config.noise_input, "denoiser.noise_input")
    choose(VARIANCE_HEADS, config.variance_head, "denoiser.variance_head")
    choose(PRECISIONS, config.precision, "denoiser.precision")
    if not config.sigma_data > 0:
        raise ConfigError(f"denoiser.sigma_data={config.sigma_data} must be positive.")
    if config.noise_input in ("index", "rescaled_index") and not sde.noise_levels:
        raise ConfigError(
            f'denoiser.noise_input="{config.noise_input}" counts the levels of a discrete process, and '
            f'{type(sde).__name__} has none. Use "log_sigma", or sde.name=ddpm, iddpm or smld.'
        )
    if config.noise_input == "time" and sde.t_max > 1:
        raise ConfigError(
            f'denoiser.noise_input="time" is made for times in [0, 1]; here they reach {sde.t_max:g}. '
            'Use denoiser.noise_input="log_sigma".'
        )
    network = attach(config.variance_head, network)
    if config.uncertainty:
        network = WithUncertainty(network)
    return Denoiser(network, sde, **config.to_dict())
