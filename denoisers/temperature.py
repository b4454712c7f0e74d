"""The score divided by a temperature."""

import dataclasses
import math

import jax


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Temperature:
    """The score divided by a temperature; below 1 the density of every x_t is sharpened.

    Attributes:
      temperature: positive.
    """

    temperature: float

    def __post_init__(self):
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature={self.temperature} must be positive and finite")

    def __call__(self, denoise):
        """The denoiser of eps / temperature."""

        def tempered(x, t):
            prediction = denoise(x, t)
            eps = prediction.eps / self.temperature
            x0 = prediction.x0 + prediction.sigma / prediction.alpha * (prediction.eps - eps)
            return prediction.replace(x0=x0, eps=eps)

        return tempered
