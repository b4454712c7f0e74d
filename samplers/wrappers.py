"""Functions from a denoiser to a denoiser: what is done to a prediction before a sampler sees it.

x0 and eps stay two sides of one prediction: alpha x0 + sigma eps = x.
"""

import dataclasses
import math

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


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Temperature:
    """The score divided by a temperature; below 1 the density of every x_t is sharpened.

    Attributes:
      temperature: positive.
    """

    temperature: float

    def __call__(self, denoise):
        """The denoiser of eps / temperature."""

        def tempered(x, t):
            prediction = denoise(x, t)
            eps = prediction.eps / self.temperature
            x0 = prediction.x0 + prediction.sigma / prediction.alpha * (prediction.eps - eps)
            return prediction.replace(x0=x0, eps=eps)

        return tempered


def create(config, data_range):
    """The wrappers that the subtree `sampling` asks for, applied in this order.

    Args:
      data_range: (low, high) of the model's data, or None where it has none.

    Raises:
      ValueError: with the name of the field first.
    """
    wrappers = []
    if not 0 < config.temperature < math.inf:
        raise ValueError(f"temperature={config.temperature} must be positive and finite")
    if config.threshold != "static" and config.threshold_value is not None:
        raise ValueError(
            f'threshold_value={config.threshold_value} is set, and threshold="{config.threshold}"'
        )
    if config.temperature != 1:
        wrappers.append(Temperature(config.temperature))
    if config.threshold == "none":
        return tuple(wrappers)
    if config.threshold == "static":
        if config.threshold_value is None or not config.threshold_value > 0:
            raise ValueError(
                f"threshold_value={config.threshold_value} must be positive with threshold=static"
            )
        return (*wrappers, Clip(-config.threshold_value, config.threshold_value))
    if config.threshold not in ("data_range", "dynamic"):
        raise ValueError(f'threshold="{config.threshold}" must be one of none, data_range, static, dynamic')
    if data_range is None:
        raise ValueError(f'threshold="{config.threshold}" needs data of known range. Use threshold=static')
    if config.threshold == "data_range":
        return (*wrappers, Clip(*data_range))
    if data_range != (-1.0, 1.0):
        raise ValueError(f"threshold=dynamic is for data in [-1, 1]; this model's is in {list(data_range)}")
    if not 0 < config.threshold_quantile <= 1:
        raise ValueError(f"threshold_quantile={config.threshold_quantile} must lie in (0, 1]")
    return (*wrappers, DynamicThreshold(config.threshold_quantile))


def wrap(wrappers, denoise):
    """The denoiser in all its wrappers."""
    for wrapper in wrappers:
        denoise = wrapper(denoise)
    return denoise
