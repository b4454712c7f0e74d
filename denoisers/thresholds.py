"""Functions from a denoiser to a denoiser: what is done to a prediction before a sampler sees it.

x0 and eps stay two sides of one prediction: alpha x0 + sigma eps = x.
"""

import dataclasses

import jax
import jax.numpy as jnp

from sde_lib.base import expand


def _with_x0(prediction, x0):
    """The prediction with another x0, and eps changed accordingly."""
    eps = prediction.eps + prediction.alpha / prediction.sigma * (prediction.x0 - x0)
    return prediction.replace(x0=x0, eps=eps)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Clip:
    """Clips x0 to an interval: the data's range, or any other (static thresholding).

    Attributes:
      low, high: the interval.
    """

    low: float
    high: float

    def __call__(self, denoise):
        """The denoiser whose x0 lies in the interval."""

        def clipped(x, t):
            prediction = denoise(x, t)
            return _with_x0(prediction, jnp.clip(prediction.x0, self.low, self.high))

        return clipped


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class DynamicThreshold:
    """Dynamic thresholding (Saharia et al. 2022, section 2.3), for data in [-1, 1].

    The quantile of |x0| of each sample, at least 1, is the threshold to which x0 is clipped and by
    which it is divided.

    Attributes:
      quantile: 0.995 in the paper.
    """

    quantile: float = 0.995

    def __call__(self, denoise):
        """The denoiser whose x0 is thresholded."""

        def thresholded(x, t):
            prediction = denoise(x, t)
            size = jnp.abs(prediction.x0).reshape(len(x), -1)
            threshold = expand(jnp.maximum(jnp.quantile(size, self.quantile, axis=1), 1.0), x)
            return _with_x0(prediction, jnp.clip(prediction.x0, -threshold, threshold) / threshold)

        return thresholded
