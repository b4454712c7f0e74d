"""The variance of a reverse step: one formula, and where the covariance of x_0 given x_t comes from.

For every linear SDE and every process of DDIM's family, in which x_s given x_t and x_0 is
N(from_xt x_t + from_x0 x_0, w^2 I), the Gaussian step closest to the true x_s given x_t has

    variance = w^2 + from_x0^2 Var[x_0 | x_t]

(Bao et al. 2022a, theorem 1, for DDPM's schedules; the law of total variance for all). So the choice of
a variance is that of an estimate of Var[x_0 | x_t], the `x0_variance` of a Prediction, and estimates are
functions denoise -> denoise that fill it in. With r = sigma / alpha it is r^2 times the *unexplained
fraction* of the noise,

    u(x_t) = Var[eps | x_t] = Var[x_0 | x_t] / r^2,

which is 1 where x_t tells nothing about the noise and 0 where it tells all. It is also

    u(x_t) = E[eps^2 | x_t] - eps_hat^2 = E[(eps - eps_hat)^2 | x_t] = diag(alpha dD/dx).
"""

import dataclasses
import math
from typing import ClassVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from components import Contents, FileKind, Numbers
from sde_lib import noise
from sde_lib.base import expand


def _squared_ratio(prediction):
    return (prediction.sigma / prediction.alpha) ** 2


def _replaced(denoise, variance):
    """The denoiser with x0_variance = variance(prediction, x, t)."""

    def with_variance(x, t):
        prediction = denoise(x, t)
        return prediction.replace(x0_variance=variance(prediction, x, t))

    return with_variance


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Heuristic:
    """E[eps^2 | x_t] = 1, as it is on average over x_t: r^2 (1 - eps_hat^2) (Bao et al. 2022b)."""

    def __call__(self, denoise):
        """The denoiser with that x0_variance."""
        return _replaced(denoise, lambda p, x, t: _squared_ratio(p) * (1 - p.eps**2))

    def mean(self, ratio, eps_square, most=math.inf):
        """Its mean, once it is brought into [0, most], where eps_hat is Gaussian with mean zero.

        Args:
          ratio: r^2; eps_square: E[eps_hat^2].
        """
        std = math.sqrt(eps_square)

        def inside(bound):
            return math.erf(bound / std / math.sqrt(2))

        def gathered(bound):
            density = math.exp(-0.5 * (bound / std) ** 2) / math.sqrt(2 * math.pi)
            return (1 - eps_square) * inside(bound) + 2 * std * bound * density

        # Below this |eps_hat| the estimate is above `most`.
        least = math.sqrt(max(1 - most / ratio, 0.0))
        return ratio * (gathered(1.0) - gathered(least)) + (most * inside(least) if least else 0.0)


@flax.struct.dataclass
class Analytic:
    """One variance for each time: r^2 (1 - E|eps_hat|^2 / d) (Bao et al. 2022a).

    Attributes:
      log_snr: [N] increasing.
      shrink: [N] 1 - E|eps_hat|^2 / d there, linear in log-SNR between and constant beyond.
    """

    log_snr: jax.Array
    shrink: jax.Array

    def __call__(self, denoise):
        """The denoiser with that x0_variance."""

        def variance(p, x, t):
            # From the prediction, which knows its noise level for every process.
            level = -jnp.log(_squared_ratio(p))
            return jnp.broadcast_to(
                _squared_ratio(p) * jnp.interp(level, self.log_snr, self.shrink), p.x0.shape
            )

        return _replaced(denoise, variance)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Jacobian:
    """The network's own derivative: r^2 diag(alpha dD/dx), by probes z * (dD/dx z) without training.

    Unbiased with random signs, and exact with all unit vectors. One jvp a probe. The probes depend on
    the noise level alone, so that no sample depends on its batch; all samples share the probes' error, which
    standard errors over samples do not see.

    Attributes:
      probes: number of random signs; 0 for all unit vectors.
    """

    probes: int = 8

    def __post_init__(self):
        if self.probes < 0:
            raise ValueError(f"probes={self.probes} must not be negative")

    def __call__(self, denoise):
        """The denoiser with that x0_variance."""

        def with_variance(x, t):
            shape, dimension = x.shape[1:], math.prod(x.shape[1:])
            prediction, push = jax.linearize(lambda x: denoise(x, t), x)
            bits = jax.lax.bitcast_convert_type(t[0].astype(jnp.float32), jnp.uint32)
            keys = jax.random.split(jax.random.fold_in(noise.root_key(0), bits), max(self.probes, 1))

            def add(total, i):
                if self.probes:
                    z = jax.random.rademacher(keys[i], shape, x.dtype)
                else:
                    z = (jnp.arange(dimension) == i).astype(x.dtype).reshape(shape)
                return total + z * push(jnp.broadcast_to(z, x.shape)).x0, None

            count = self.probes or dimension
            total, _ = jax.lax.scan(add, jnp.zeros_like(x), jnp.arange(count))
            diagonal = total / (self.probes or 1)
            variance = _squared_ratio(prediction) * prediction.alpha * diagonal
            return prediction.replace(x0_variance=variance)

        return with_variance


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Bounded:
    """Var[x_0 | x_t] between 0 and that of data in [low, high] (Bao et al. 2022a, theorem 2).

    Attributes:
      low, high: the data's range, infinite where it has none.
      average: over the dimensions of each state, one variance for all.
    """

    low: float = -math.inf
    high: float = math.inf
    average: bool = False

    @property
    def most(self):
        """The largest variance that data within the bounds can have."""
        return ((self.high - self.low) / 2) ** 2

    def __call__(self, denoise):
        """The denoiser with x0_variance within the bounds."""

        def variance(p, x, t):
            found = jnp.clip(p.x0_variance, 0, self.most)
            if self.average:
                mean = jnp.mean(found, axis=tuple(range(1, x.ndim)), keepdims=True)
                return jnp.broadcast_to(mean, x.shape)
            return found

        return _replaced(denoise, variance)


MOMENTS_FILE = FileKind(
    {
        "log_snr": Numbers(("N",), low=-80.0, high=80.0, increasing=True),
        "moments": Numbers(("N", 2), low=0.0),
        "errors": Numbers(("N", 2), low=0.0),
    },
    mode="variance",
    lengths={"N": (2, 1_000_000)},
)


@dataclasses.dataclass(frozen=True)
class Measured:
    """What --mode=variance measured of a model.

    Attributes:
      log_snr: [N] increasing.
      moments: [N, 2] E|eps_hat|^2 / d and E|eps - eps_hat|^2 / d.
      errors: [N, 2] their standard errors.
    """

    log_snr: np.ndarray
    moments: np.ndarray
    errors: np.ndarray

    def analytic(self, residual=False):
        """The Analytic estimate from the norm of eps_hat as published, or from its error.

        For an exact denoiser both are the same. Where the noise is high 1 - E|eps_hat|^2 / d is a small
        difference of large numbers, with a sampling error often larger than itself; the mean-squared error
        has none of this, and is the right one for an imperfect mean (Bao et al. 2022b).
        """
        shrink = self.moments[:, 1] if residual else 1 - self.moments[:, 0]
        return Analytic(self.log_snr.astype(np.float32), shrink.astype(np.float32))


def interpolated(fraction, small, large):
    """Between two variances in the logarithm (Nichol & Dhariwal 2021, eq. 15)."""
    return jnp.exp(fraction * jnp.log(large) + (1 - fraction) * jnp.log(small))


def reverse_variance(choice, sde, prediction, s, t, eta=1.0):
    """The variance [B, 1, ...] or [B, ...] of the model's x_s given x_t, for 0 < s < t [B].

    Args:
      choice: "small", w^2; "large", that of q(x_t | x_s); "learned", between those two of eta = 1 in the
        logarithm; "optimal", w^2 + from_x0^2 x0_variance.
    """
    _, from_x0, noise = (expand(c, prediction.x0) for c in sde.posterior_coefficients(s, t, eta))
    if choice == "small":
        return noise**2
    if choice == "optimal":
        return noise**2 + from_x0**2 * prediction.x0_variance
    large = expand(sde.transition(t, s)[1], prediction.x0) ** 2
    if choice == "large":
        return large
    small = expand(sde.posterior_coefficients(s, t)[2], prediction.x0) ** 2
    return interpolated(prediction.variance_fraction, small, large)


def _require_pixels(pixels):
    if pixels is not None and not pixels > 0:
        raise ValueError(f"pixels={pixels} must be positive")


@dataclasses.dataclass(frozen=True)
class Small:
    """The solver's own variance; for ancestral sampling that of q(x_s | x_t, x_0)."""

    choice: ClassVar[str] = "small"
    pixels: ClassVar[None] = None

    def wrappers(self, data_range):
        """Functions denoise -> denoise that the choice needs: none."""
        return ()


@dataclasses.dataclass(frozen=True)
class Large:
    """The variance of q(x_t | x_s) (Ho et al. 2020).

    Attributes:
      pixels: most noise of the last noisy step, in 1/255 of the data's range (Bao et al. 2022a).
    """

    choice: ClassVar[str] = "large"
    pixels: float | None = None

    def __post_init__(self):
        _require_pixels(self.pixels)

    def wrappers(self, data_range):
        """Functions denoise -> denoise that the choice needs: none."""
        return ()


@dataclasses.dataclass(frozen=True)
class Learned(Large):
    """Between small and large, by the head "fraction" (Nichol & Dhariwal 2021)."""

    choice: ClassVar[str] = "learned"


@dataclasses.dataclass(frozen=True, eq=False)
class Optimal:
    """The optimal variance, where the denoiser itself knows the variance of x_0 given x_t.

    Attributes:
      average: one variance for all dimensions of a state.
      pixels: as in Large.
    """

    choice: ClassVar[str] = "optimal"
    average: bool = False
    pixels: float | None = None

    def __post_init__(self):
        _require_pixels(self.pixels)

    def estimate(self):
        """The function denoise -> denoise that fills in x0_variance, or None where it is known."""
        return None

    def wrappers(self, data_range):
        """Functions denoise -> denoise that the choice needs, the innermost first.

        Args:
          data_range: (low, high) of the model's data, or None where it has none.
        """
        bounded = Bounded(*(data_range or (-math.inf, math.inf)), self.average)
        estimate = self.estimate()
        return (bounded,) if estimate is None else (estimate, bounded)


@dataclasses.dataclass(frozen=True, eq=False)
class OptimalHeuristic(Optimal):
    """The optimal variance by Heuristic."""

    def estimate(self):
        return Heuristic()


@dataclasses.dataclass(frozen=True, eq=False)
class OptimalJacobian(Optimal):
    """The optimal variance by Jacobian.

    Attributes:
      probes: random signs, or 0 for all unit vectors.
    """

    probes: int = 8

    def __post_init__(self):
        super().__post_init__()
        self.estimate()

    def estimate(self):
        return Jacobian(self.probes)


def _analytic(file, residual):
    if file is None:
        raise ValueError("needs the table that --mode=variance writes: set file=<workdir>/variance.npz")
    return Measured(**file.arrays).analytic(residual)


@dataclasses.dataclass(frozen=True, eq=False)
class OptimalAnalytic(Optimal):
    """The optimal variance by Analytic, from the norm of eps_hat.

    Attributes:
      file: Contents of what --mode=variance wrote.
    """

    FILES: ClassVar[dict] = {"file": MOMENTS_FILE}
    file: Contents | None = None

    def __post_init__(self):
        super().__post_init__()
        self.estimate()

    def estimate(self):
        return _analytic(self.file, residual=False)


@dataclasses.dataclass(frozen=True, eq=False)
class OptimalAnalyticResidual(Optimal):
    """The optimal variance by Analytic, from the mean-squared error of eps_hat.

    Attributes:
      file: Contents of what --mode=variance wrote.
    """

    FILES: ClassVar[dict] = {"file": MOMENTS_FILE}
    file: Contents | None = None

    def __post_init__(self):
        super().__post_init__()
        self.estimate()

    def estimate(self):
        return _analytic(self.file, residual=True)


# What a config may name: sampling.variance.name and eval.bound.variance.name.
CHOICES = {
    "small": Small,
    "large": Large,
    "learned": Learned,
    "heuristic": OptimalHeuristic,
    "analytic": OptimalAnalytic,
    "analytic_residual": OptimalAnalyticResidual,
    "jacobian": OptimalJacobian,
    "predicted": Optimal,
}
