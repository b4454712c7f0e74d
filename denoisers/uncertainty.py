"""The uncertainty u(sigma) of a network: the log of its loss at each noise level, learned with it.

Karras et al. (2024), eq. 21 and 22, after Kendall & Gal (2018). The loss L of an example becomes

    L / exp(u) + u,

least where exp(u) is the mean of L at this noise level. Every level then counts alike, whatever size its
errors have come down to, and no weighting by noise level has to be found by hand. It weighs the training
alone: no prediction depends on it.
"""

import flax.linen as nn

from models import magnitude_preserving as mp

# Fourier features of the noise level, as published.
FEATURES = 128


class LogVariance(nn.Module):
    """u [B] of noise levels [B], log(sigma/alpha)/4; at first numbers of size about one."""

    @nn.compact
    def __call__(self, noise):
        features = mp.Fourier(FEATURES, name="fourier")(noise)
        return mp.Convolution(1, 0, name="linear")(features)[:, 0]


class WithUncertainty(nn.Module):
    """Any network, and its uncertainty beside it, which its output does not depend on.

    Parameters: {"network": those of the network alone, "uncertainty": those of LogVariance}.
    """

    network: nn.Module

    def setup(self):
        self.uncertainty = LogVariance()

    @property
    def channels(self):
        """Of the output."""
        return self.network.channels

    @property
    def ignores_labels(self):
        """Whether the network does."""
        return getattr(self.network, "ignores_labels", False)

    @property
    def rematerialization(self):
        """Of the network."""
        return getattr(self.network, "rematerialization", "none")

    def normalized(self, params):
        """See models.network.Network; the uncertainty's weight is normalized as well."""
        normalized = getattr(self.network, "normalized", lambda params: params)
        return {
            "network": normalized(params["network"]),
            "uncertainty": mp.normalized(params["uncertainty"]),
        }

    def __call__(self, x, noise, label=None, dropout_keys=None, **told):
        if self.is_initializing():
            self.uncertainty(noise)
        return self.network(x, noise, label, dropout_keys, **told)

    def log_variance(self, noise):
        """The uncertainty u [B] of noise levels [B], log(sigma/alpha)/4."""
        return self.uncertainty(noise)
