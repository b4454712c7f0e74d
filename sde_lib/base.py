"""Linear SDEs with Gaussian marginals.

    dx = f(t) x dt + g(t) dw,        x_t | x_0 ~ N(alpha(t) x_0, sigma(t)^2 I).

alpha and sigma determine everything else:

    f = d log(alpha) / dt,           g^2 = d(sigma^2)/dt - 2 f sigma^2 = -sigma^2 d(log_snr)/dt,

with log_snr = log(alpha^2 / sigma^2) (Kingma et al. 2021, section 3). Differences
of marginal variances cancel badly in floating point, so they are formed from
log-SNR: sigma_t^2 - (alpha_t/alpha_s)^2 sigma_s^2 = -sigma_t^2 expm1(-drop), where drop is
log_snr(s) - log_snr(t), itself formed without cancellation.
"""

import abc
import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from sde_lib import noise

# Five points of Gauss and Legendre on [0, 1]; exact to 1e-14 for a log-SNR that falls by DIRECT.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)
_NODES, _WEIGHTS = (1 + _NODES) / 2, _WEIGHTS / 2
DIRECT = 0.05


def expand(t, x):
    """Reshapes t [B] to [B, 1, ...] so that it broadcasts against x [B, ...]."""
    return jnp.reshape(t, jnp.shape(t) + (1,) * (jnp.ndim(x) - jnp.ndim(t)))


def _derivative(function, t):
    return jax.jvp(function, (t,), (jnp.ones_like(t),))[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SDE(abc.ABC):
    """A forward process on t in [0, t_max]; times are float arrays, all methods elementwise in t.

    Attributes:
      t_min: smallest time used in training and likelihood.
      sampling_t_min: time at which samplers stop before the final denoising.
      t_max: time of the prior.

    Class attributes:
      noise_levels: number N of the integer grid t = n / N, where the process has one.
      own_t_max: whether the prior is that of any t_max, not of t = 1 alone.
    """

    t_min: float = 1e-5
    sampling_t_min: float = 1e-3
    t_max: float = 1.0
    noise_levels: ClassVar[int | None] = None
    own_t_max: ClassVar[bool] = False

    def __post_init__(self):
        if self.t_max != 1 and not self.own_t_max:
            raise ValueError(f"t_max={self.t_max} must be 1, the time of this process's prior")
        for name in ("t_min", "sampling_t_min"):
            if not 0 < getattr(self, name) < self.t_max:
                raise ValueError(
                    f"{name}={getattr(self, name)} must lie strictly between 0 and t_max={self.t_max}"
                )

    @abc.abstractmethod
    def log_alpha(self, t):
        """Log of the factor in front of the data in the marginal at time t."""

    @abc.abstractmethod
    def sigma(self, t):
        """Standard deviation of the marginal at time t."""

    @abc.abstractmethod
    def time_of_log_snr(self, log_snr):
        """The time t at which log(alpha^2 / sigma^2) equals log_snr."""

    @property
    @abc.abstractmethod
    def prior_std(self):
        """Standard deviation of the prior, a Gaussian of mean zero."""

    def alpha(self, t):
        """Factor in front of the data in the marginal at time t."""
        return jnp.exp(self.log_alpha(t))

    def log_snr(self, t):
        """log(alpha^2 / sigma^2)."""
        return 2 * (self.log_alpha(t) - jnp.log(self.sigma(t)))

    def log_snr_drop(self, s, t):
        """log_snr(s) - log_snr(t) >= 0 for s <= t, to full relative precision also for s near t.

        Where it is small, the difference of two rounded numbers loses its digits, and the
        integral of the derivative, a sum of positive terms, does not.
        """
        difference = self.log_snr(s) - self.log_snr(t)
        slopes = [_derivative(self.log_snr, s + node * (t - s)) for node in _NODES]
        integral = (s - t) * sum(w * slope for w, slope in zip(_WEIGHTS, slopes, strict=True))
        return jnp.where(difference < DIRECT, integral, difference)

    def drift_rate(self, t):
        """f(t) in the drift f(t) x."""
        return _derivative(self.log_alpha, t)

    def drift(self, x, t):
        """f(t) x for x [B, ...] and t [B]."""
        return expand(self.drift_rate(t), x) * x

    def diffusion(self, t):
        """g(t)."""
        return self.sigma(t) * jnp.sqrt(-_derivative(self.log_snr, t))

    def marginal(self, x0, t):
        """Mean [B, ...] and standard deviation [B, 1, ...] of x_t given x0 [B, ...], at t [B]."""
        return expand(self.alpha(t), x0) * x0, expand(self.sigma(t), x0)

    def perturb(self, keys, x0, t):
        """Draws x_t given x_0: the one place where noise is put on data.

        Args:
          keys: [B], one for the noise of each example.
          x0: [B, ...]; t: [B].

        Returns:
          (x_t, eps), both [B, ...], with x_t = alpha x_0 + sigma eps.
        """
        eps = noise.normal(keys, x0.shape[1:], x0.dtype)
        mean, std = self.marginal(x0, t)
        return mean + std * eps, eps

    def transition(self, t, s):
        """Scale and standard deviation of x_t = scale x_s + std z, for s <= t."""
        scale = jnp.exp(self.log_alpha(t) - self.log_alpha(s))
        return scale, self.sigma(t) * jnp.sqrt(-jnp.expm1(-self.log_snr_drop(s, t)))

    def posterior_coefficients(self, s, t, eta=1.0):
        """Numbers (from_xt, from_x0, std) with x_s | x_t, x_0 ~ N(from_xt x_t + from_x0 x_0, std^2 I).

        For eta = 1 the posterior of this process, for every linear SDE (Kingma et al. 2021, eq. 33), for
        s < t; for less, of the process of equal marginals whose posterior has eta times that standard
        deviation (Song et al. 2020, eq. 7), down to none.
        """
        drop = self.log_snr_drop(s, t)
        # The part of x_s's noise that is x_t's: kept^2 = 1 - eta^2 (1 - exp(-drop)), whose logarithm
        # would cancel in one form for short steps and in the other for long ones.
        short = jnp.log1p(eta**2 * jnp.expm1(-jnp.minimum(drop, 1.0)))
        long = jnp.log(1 - eta**2 + eta**2 * jnp.exp(-jnp.maximum(drop, 1.0)))
        log_kept = 0.5 * jnp.where(drop < 1, short, long)
        from_xt = self.sigma(s) / self.sigma(t) * jnp.exp(log_kept)
        from_x0 = -self.alpha(s) * jnp.expm1(log_kept - 0.5 * drop)
        return from_xt, from_x0, eta * self.sigma(s) * jnp.sqrt(-jnp.expm1(-drop))

    def posterior(self, x0, xt, s, t):
        """Mean [B, ...] and standard deviation [B, 1, ...] of x_s given x_t and x_0, for s < t.

        With the network's estimate in place of x_0 this is DDPM's ancestral step.
        """
        from_xt, from_x0, std = (expand(c, xt) for c in self.posterior_coefficients(s, t))
        return from_xt * xt + from_x0 * x0, std

    def prior_sample(self, key, shape):
        """Draws x at t_max, of the given shape."""
        return self.prior_std * jax.random.normal(key, shape)

    def prior_log_prob(self, x):
        """Log-density [B] in nats of x [B, ...] under the prior."""
        d = x[0].size
        squares = jnp.sum(jnp.reshape(x / self.prior_std, (x.shape[0], d)) ** 2, axis=1)
        return -0.5 * squares - d * (0.5 * jnp.log(2 * jnp.pi) + jnp.log(self.prior_std))


class VariancePreserving:
    """What follows from the log-SNR where alpha^2 + sigma^2 = 1; mixed into such processes."""

    def log_alpha(self, t):
        return 0.5 * jax.nn.log_sigmoid(self.log_snr(t))

    def sigma(self, t):
        return jnp.exp(0.5 * jax.nn.log_sigmoid(-self.log_snr(t)))

    @property
    def prior_std(self):
        return 1.0
