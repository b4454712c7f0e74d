"""Functions from a denoiser to a denoiser, in their one order."""

import math

from denoisers.temperature import Temperature
from denoisers.thresholds import Clip, DynamicThreshold


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
