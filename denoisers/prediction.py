"""What a denoiser knows at (x_t, t), in every parametrization at once.

With x_t = alpha x_0 + sigma eps and D = E[x_0 | x_t]:

    eps = (x - alpha D) / sigma,     score = -eps / sigma,     velocity = alpha eps - sigma D.

Both D and eps are stored: near t = 0, where sigma is small, eps cannot be had from
x - alpha D in float32 (on the sub-VP SDE at t = 0.001 all digits of a smooth score are lost).
"""

from typing import Any, Protocol

import flax.struct
import jax


@flax.struct.dataclass
class Prediction:
    """The posterior means of the data and of the noise, and what follows from them.

    Attributes:
      x0: [B, ...] E[x_0 | x_t], in the data range.
      eps: [B, ...] E[eps | x_t], the noise in units of sigma; alpha x0 + sigma eps = x_t.
      alpha, sigma: [B, 1, ...] of the marginal at the time of the call.
      x0_variance: [B, ...] diagonal of Cov[x_0 | x_t] where known, else None.
      variance_fraction: [B, ...] where between the small and the large variance the reverse
        step's learned variance lies, in [0, 1] at first (Nichol & Dhariwal 2021, eq. 15), else None.
    """

    x0: Any
    eps: Any
    alpha: Any
    sigma: Any
    x0_variance: Any = None
    variance_fraction: Any = None

    @property
    def score(self):
        """[B, ...] the gradient of the log-density of x_t (Tweedie's formula)."""
        return -self.eps / self.sigma

    @property
    def velocity(self):
        """[B, ...] Salimans & Ho (2022)'s v; meaningful where alpha^2 + sigma^2 = 1."""
        return self.alpha * self.eps - self.sigma * self.x0


class Denoise(Protocol):
    """What samplers, likelihoods and bounds call: parameters and labels are bound."""

    def __call__(self, x: jax.Array, t: jax.Array) -> Prediction:
        """The Prediction at noisy data x [B, ...], in the model's scale, and times t [B]."""


class Wrapper(Protocol):
    """A denoiser made from another; denoisers/chain.py has the order of several.

    An instance is a pytree, so that a sampler that holds it can be handed to a compiled function.
    """

    def __call__(self, denoise: Denoise) -> Denoise:
        """The denoiser with another belief about x_0."""
