"""Thresholds: predictions of x_0 that leave the range of the data are brought back.

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


@dataclasses.dataclass(frozen=True)
class NoThreshold:
    """Predictions stay as they are."""

    def wrappers(self, data_range):
        """Functions denoise -> denoise: none."""
        return ()


@dataclasses.dataclass(frozen=True)
class DataRange:
    """Predictions are clipped to the range of the model's data."""

    def wrappers(self, data_range):
        """Functions denoise -> denoise, for data in data_range = (low, high).

        Raises:
          ValueError: data_range is None.
        """
        if data_range is None:
            raise ValueError("needs data of known range. Use threshold=static")
        return (Clip(*data_range),)


@dataclasses.dataclass(frozen=True)
class Static:
    """Predictions are clipped to [-value, value].

    Attributes:
      value: positive.
    """

    value: float | None = None

    def __post_init__(self):
        if self.value is None or not self.value > 0:
            raise ValueError(f"value={self.value} must be positive")

    def wrappers(self, data_range):
        """Functions denoise -> denoise."""
        return (Clip(-self.value, self.value),)


@dataclasses.dataclass(frozen=True)
class Dynamic:
    """Dynamic thresholding.

    Attributes:
      quantile: see DynamicThreshold.
    """

    quantile: float = 0.995

    def __post_init__(self):
        if not 0 < self.quantile <= 1:
            raise ValueError(f"quantile={self.quantile} must lie in (0, 1]")

    def wrappers(self, data_range):
        """Functions denoise -> denoise.

        Raises:
          ValueError: data_range is not (-1, 1).
        """
        if data_range != (-1.0, 1.0):
            found = "of unknown range" if data_range is None else f"in {list(data_range)}"
            raise ValueError(f"is for data in [-1, 1]; this model's is {found}. Use threshold=static")
        return (DynamicThreshold(self.quantile),)


# What a config may name: sampling.threshold.name.
THRESHOLDS = {
    "none": NoThreshold,
    "data_range": DataRange,
    "static": Static,
    "dynamic": Dynamic,
}
