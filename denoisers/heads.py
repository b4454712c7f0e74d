"""Variance heads: a second output of the network, from which the variance of a reverse step is known.

The second output is put on from outside, on any network that allows it (`attach`): as more channels of its
last layer, or as a branch of its own on its last features.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from components import ConfigError
from models.embeddings import Sinusoidal
from models.layers import GroupNorm, ResidualBlock, conv3x3, dense


def gaussian_share(ratio, sigma_data):
    """The unexplained fraction (denoisers/variance.py) of Gaussian data: Var[x_0 | x_t] / r^2; ratio: r^2."""
    return sigma_data**2 / (ratio + sigma_data**2)


class VarianceHead(NamedTuple):
    """A second output of the network, from which the variance of a reverse step is known.

    Attributes:
      output: key of OUTPUTS: where the second output comes from.
      read: (raw output, Prediction, sigma_data) -> Prediction with the field that it fills in.
    """

    output: str
    read: Callable


def _fraction(raw, prediction, sigma_data):
    """The weight v in log variance = v log large + (1 - v) log small (Nichol & Dhariwal 2021, eq. 15)."""
    return prediction.replace(variance_fraction=0.5 * (raw + 1))


def _second_moment(raw, prediction, sigma_data):
    """E[eps^2 | x_t], less the square of the prediction: r^2 (h - eps_hat^2) (Bao et al. 2022b, SN)."""
    eps = jax.lax.stop_gradient(prediction.eps)
    ratio = (prediction.sigma / prediction.alpha) ** 2
    return prediction.replace(x0_variance=ratio * (1 + raw - eps**2))


def _variance(raw, prediction, sigma_data):
    """Var[x_0 | x_t] itself, positive, in units of what it is for Gaussian data of this sigma_data.

    So the head starts from a Gaussian's variance at every noise level, and never multiplies an error by
    the r^2 of high noise, as the second moment does.
    """
    ratio = (prediction.sigma / prediction.alpha) ** 2
    times_gaussian = jax.nn.softplus(raw + math.log(math.e - 1))
    return prediction.replace(x0_variance=ratio * gaussian_share(ratio, sigma_data) * times_gaussian)


# Names in configs; what each is trained on is in losses.py.
VARIANCE_HEADS = {
    "none": None,
    "fraction": VarianceHead("shared", _fraction),
    "second_moment": VarianceHead("branch", _second_moment),
    "residual": VarianceHead("branch", _variance),
    "covariance": VarianceHead("branch", _variance),
}


class VarianceBranch(nn.Module):
    """A residual block and a convolution on the last features of a network (Bao et al. 2022b).

    Features [B, H, W, F] and the noise level [B] -> [B, H, W, channels], zero at first. The branch embeds
    the noise level itself, so that nothing inside the network has to be handed on.
    """

    channels: int

    @nn.compact
    def __call__(self, features, noise):
        width, dtype = features.shape[-1], features.dtype
        time = dense(4 * width, dtype)(Sinusoidal(2 * -(-width // 2))(noise).astype(dtype))
        h = ResidualBlock(width, 0.0, dtype, name="block")(features, time, None)
        h = conv3x3(self.channels, dtype, scale=0.0, name="output")(nn.silu(GroupNorm()(h)))
        return h.astype(jnp.float32)


class WithVarianceBranch(nn.Module):
    """A network and a branch on its last features: [..., C] and [..., C], one after the other.

    Parameters: {"network": those of the network alone, "variance_branch": those of the branch}.
    """

    network: nn.Module

    @property
    def channels(self):
        """Of the output."""
        return 2 * self.network.channels

    @property
    def ignores_labels(self):
        """Whether the network below does."""
        return getattr(self.network, "ignores_labels", False)

    def normalized(self, params):
        """See models.network.Network; the branch has nothing to normalize."""
        normalized = getattr(self.network, "normalized", None)
        return {**params, "network": normalized(params["network"])} if normalized else params

    @property
    def rematerialization(self):
        """Of the network below."""
        return getattr(self.network, "rematerialization", "none")

    @nn.compact
    def __call__(self, x, noise, label=None, dropout_keys=None, **told):
        output, features = self.network.features(x, noise, label, dropout_keys, **told)
        second = VarianceBranch(self.network.channels, name="variance_branch")(features, noise)
        return jnp.concatenate([output, second], axis=-1)


OUTPUTS = {
    # A second half of channels of the last layer (Nichol & Dhariwal 2021).
    "shared": lambda network: network.clone(channels=2 * network.channels),
    "branch": WithVarianceBranch,
}


def attach(name, network):
    """The network with the second output that the variance head called `name` reads.

    Raises:
      ConfigError: the head needs a branch, and the network offers no features for one.
    """
    head = VARIANCE_HEADS[name]
    if head is None:
        return network
    if head.output == "branch" and not hasattr(network, "features"):
        raise ConfigError(
            f'denoiser.variance_head="{name}" stands on the last features of the network, and '
            f"{type(network).__name__} (model.name) has no method `features`: see models/network.py. Use "
            "denoiser.variance_head=fraction or none."
        )
    return OUTPUTS[head.output](network)
