"""Variational bounds on the likelihood, in discrete and in continuous time.

The discrete-time bound is that of the chain x_T -> ... -> x_1 -> x_0 (Sohl-Dickstein et
al. 2015; Ho et al. 2020, eq. 5):

    -log p(x_0) <= KL(q(x_T|x_0) || p(x_T)) + sum_k E KL(q(x_s|x_t,x_0) || p(x_s|x_t)) - E log p(x_0|x_1).

With infinitely many steps the sum becomes 1/2 int E|eps - eps_hat|^2 d(-log_snr) (Kingma et
al. 2021, section 4). Unlike the probability-flow ODE, both bound the model that samples with noise.
"""

import dataclasses
import math

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from denoisers.variance import interpolated, reverse_variance
from sde_lib import noise
from sde_lib.base import expand

DECODERS = ("pixels", "density")


def uniform_levels(sde, count):
    """[count] times k t_max / count, those of DDPM where t_max = 1."""
    return sde.t_max * np.arange(1, count + 1) / count


def log_snr_levels(sde, count):
    """[count] times from t_min to t_max, equally spaced in log-SNR."""
    with jax.enable_x64(True):
        start, end = sde.log_snr(jnp.asarray([sde.t_min, sde.t_max]))
        return np.clip(sde.time_of_log_snr(jnp.linspace(start, end, count)), sde.t_min, sde.t_max)


LEVELS = {
    "uniform": uniform_levels,
    "log_snr": log_snr_levels,
}


@flax.struct.dataclass
class Bound:
    """The parts of a bound on -log p(x_0), in nats.

    Attributes:
      prior: [B] KL from q(x_T | x_0) to the prior.
      diffusion: [B] sum or integral over the noise levels.
      decoder: [B] -log p(x_0 | x_1).
    """

    prior: jax.Array
    diffusion: jax.Array
    decoder: jax.Array

    @property
    def total(self):
        """[B] the bound."""
        return self.prior + self.diffusion + self.decoder


def _sum(x):
    return jnp.sum(x.reshape(len(x), -1), axis=1)


@dataclasses.dataclass(frozen=True)
class PixelDecoder:
    """A Gaussian integrated over each pixel's bin; the outer bins are unbounded (Ho et al. 2020, eq. 13).

    Attributes:
      pixel_values, centered: of the pixels, as in data/transforms.py; x_0 is at the centre of a bin.
    """

    pixel_values: int
    centered: bool = True

    @property
    def range(self):
        """The least and the largest value of the data."""
        return (-1.0, 1.0) if self.centered else (0.0, 1.0)

    def nats(self, x0, mean, std):
        """-log p [B, ...] of each pixel's value."""
        low, high = self.range
        spacing = (high - low) / self.pixel_values
        upper, lower = ((x0 - mean + shift) / std for shift in (0.5 * spacing, -0.5 * spacing))
        # log(Phi(b) - Phi(a)), on the side where neither is close to one.
        flip = lower + upper > 0
        a, b = jnp.where(flip, -upper, lower), jnp.where(flip, -lower, upper)
        log_a, log_b = jax.scipy.stats.norm.logcdf(a), jax.scipy.stats.norm.logcdf(b)
        inner = log_b + jnp.log(-jnp.expm1(jnp.minimum(log_a - log_b, -1e-30)))
        first = jax.scipy.stats.norm.logcdf(upper)
        last = jax.scipy.stats.norm.logcdf(-lower)
        log_prob = jnp.where(x0 < low + spacing, first, jnp.where(x0 > high - spacing, last, inner))
        return -log_prob

    def variance(self, sde, prediction, first, second, choice):
        """Of x_0 given x_1, at times first < second [B] of the lowest two levels.

        sigma(first)^2 for "large"; for "small" and "optimal" that of q(x_1 | x_2, x_0), because
        q(x_0 | x_1, x_0) has none (Ho et al. 2020; Nichol & Dhariwal 2021; Bao et al. 2022a).
        """
        large = prediction.sigma**2
        small = expand(sde.posterior_coefficients(first, second)[2], prediction.x0) ** 2
        if choice == "learned":
            return interpolated(prediction.variance_fraction, small, large)
        return large if choice == "large" else small


@dataclasses.dataclass(frozen=True)
class DensityDecoder:
    """A Gaussian density, for data that has no bins."""

    range = None

    def nats(self, x0, mean, std):
        """-log p [B, ...] of each number."""
        return 0.5 * ((x0 - mean) / std) ** 2 + jnp.log(std) + 0.5 * math.log(2 * math.pi)

    def variance(self, sde, prediction, first, second, choice):
        """Of x_0 given x_1: (sigma / alpha)^2, to which the true variance tends as the noise vanishes."""
        return (prediction.sigma / prediction.alpha) ** 2


def transition_nats(sde, prediction, x0, s, t, choice):
    """KL(q(x_s|x_t,x_0) || p(x_s|x_t)) [B, ...] of each dimension, for 0 < s < t [B]."""
    _, from_x0, std = (expand(c, x0) for c in sde.posterior_coefficients(s, t))
    variance = reverse_variance(choice, sde, prediction, s, t)
    ratio = std**2 / variance
    distance = (from_x0 * (x0 - prediction.x0)) ** 2 / variance
    return 0.5 * (ratio - 1 - jnp.log(ratio) + distance)


def decoder_nats(sde, prediction, x0, first, second, choice, decoder):
    """-log p(x_0 | x_1) [B, ...] of each dimension, x_1 at time `first` and `second` the next level [B]."""
    variance = decoder.variance(sde, prediction, first, second, choice)
    return decoder.nats(x0, prediction.x0, jnp.sqrt(variance))


def level_nats(sde, prediction, x0, t, levels, choice, decoder):
    """What one of `levels` equally spaced levels adds to the bound, [B, ...] of each dimension.

    The transition from t to the level below or, at the lowest level, the decoder's -log p(x_0 | x_1): the sum
    over all levels and `prior_nats` is the total of `discrete_bound`.

    Args:
      t: [B] times of levels, of any of them in one batch; prediction: of x_t.
    """
    step = sde.t_max / levels
    is_first = t < 1.5 * step
    # At the lowest level the transition is not used, and must still be finite.
    above_first = jnp.where(is_first, 2 * step, t)
    transition = transition_nats(sde, prediction, x0, above_first - step, above_first, choice)
    first, second = jnp.full_like(t, step), jnp.full_like(t, 2 * step)
    last = decoder_nats(sde, prediction, x0, first, second, choice, decoder)
    return jnp.where(expand(is_first, x0), last, transition)


def prior_nats(sde, x0):
    """KL(q(x_T | x_0) || p(x_T)) [B] in nats, both Gaussian."""
    end = jnp.full(len(x0), sde.t_max, x0.dtype)
    mean, std = sde.marginal(x0, end)
    ratio = (std / sde.prior_std) ** 2
    return 0.5 * _sum((mean / sde.prior_std) ** 2 + ratio - 1 - jnp.log(ratio))


def _noisy(keys, sde, x0, t, row):
    """x_t [B, ...] and its noise, drawn by the keys folded with `row`."""
    return sde.perturb(noise.fold_in(keys, row), x0, t)


def discrete_bound(keys, sde, denoise, x0, times, decoder, choice="small"):
    """The discrete-time bound on -log p(x_0), every term estimated with one noise.

        >>> import sde_lib
        >>> from denoisers.gaussian_mixture import GaussianMixture
        >>> from sde_lib.noise import root_key
        >>> vp, gaussian = sde_lib.VP(), GaussianMixture.diagonal([1.0], [[0.0]], [[1.0]])
        >>> found = discrete_bound(
        ...     root_key(0)[None], vp, lambda x, t: gaussian.denoise(vp, x, t), jnp.zeros((1, 1)),
        ...     log_snr_levels(vp, 100), DensityDecoder(),
        ... )
        >>> bool(found.total[0] > 0)
        True

    In expectation an upper bound on the nats of x_0 under ancestral sampling on this very
    grid; of the discrete pixels with a PixelDecoder, without any dequantization.

    Args:
      keys: [B]; sde, denoise: the model. Published bounds clip its predictions of x_0 to the data's range: at
        the highest noise an error of eps is many times larger in x_0.
      x0: [B, ...] data; for a PixelDecoder at the centres of the bins.
      times: [K] increasing levels, the last at t_max; K network calls.
      decoder: PixelDecoder or DensityDecoder.
      choice: variance of the reverse steps; see variance.reverse_variance.
    """
    times = jnp.asarray(times, x0.dtype)

    def predict(t, row):
        return denoise(_noisy(keys, sde, x0, t, row)[0], t)

    def term(total, row):
        k, s, t = row
        s, t = jnp.full(len(x0), s), jnp.full(len(x0), t)
        return total + _sum(transition_nats(sde, predict(t, k), x0, s, t, choice)), None

    rows = (jnp.arange(1, len(times)), times[:-1], times[1:])
    diffusion, _ = jax.lax.scan(term, jnp.zeros(len(x0), x0.dtype), rows)
    first, second = (jnp.full(len(x0), t) for t in times[:2])
    last = _sum(decoder_nats(sde, predict(first, 0), x0, first, second, choice, decoder))
    return Bound(prior_nats(sde, x0), diffusion, last)


def level_costs(keys, sde, denoise, x0, times, level, decoder, choice="small"):
    """The terms of the discrete-time bound that hang on the network's call at one level.

    From them samplers/optimal_grid.py builds the table over pairs of levels: beside the prior's term,
    the bound on any sub-sequence of the levels is a sum of its entries.

    Args:
      As in `discrete_bound`; times [N], level [] int32.

    Returns:
      (costs [B, N] of the transition from this level to each lower one, decoders [B, N] of the decoder at
      this level where the one above it is each of the higher ones) in nats; zero elsewhere.
    """
    times = jnp.asarray(times, x0.dtype)
    t = jnp.full(len(x0), times[level])
    prediction = denoise(_noisy(keys, sde, x0, t, level)[0], t)

    def transition(other):
        return _sum(transition_nats(sde, prediction, x0, jnp.full_like(t, times[other]), t, choice))

    def decode(other):
        above = jnp.full_like(t, times[other])
        return _sum(decoder_nats(sde, prediction, x0, t, above, choice, decoder))

    def of_pair(other):
        nothing = jnp.zeros(len(x0), x0.dtype)
        return (
            jax.lax.cond(other < level, transition, lambda _: nothing, other),
            jax.lax.cond(other > level, decode, lambda _: nothing, other),
        )

    costs, decoders = jax.lax.map(of_pair, jnp.arange(len(times)))
    return costs.T, decoders.T


def continuous_bound(keys, sde, denoise, x0, levels, decoder):
    """The continuous-time bound on -log p(x_0), the integral estimated at `levels` noise levels.

    In expectation an upper bound on the nats of x_0 under the reverse SDE from t_max to
    t_min, decoded with standard deviation sigma / alpha. The levels are equally spaced in log-SNR with
    one random shift for each example (Kingma et al. 2021, section 4 and appendix I.1): unbiased.
    """
    ends = jnp.asarray([sde.t_min, sde.t_max], x0.dtype)
    start, end = sde.log_snr(ends)
    shift = noise.uniform(noise.fold_in(keys, levels + 1), dtype=x0.dtype)

    def term(total, row):
        t = sde.time_of_log_snr(start + (row + shift) / levels * (end - start))
        t = jnp.clip(t, *ends)
        xt, eps = _noisy(keys, sde, x0, t, row)
        return total + _sum((denoise(xt, t).eps - eps) ** 2), None

    total, _ = jax.lax.scan(term, jnp.zeros(len(x0), x0.dtype), jnp.arange(levels))
    first = jnp.full(len(x0), ends[0])
    prediction = denoise(_noisy(keys, sde, x0, first, levels)[0], first)
    std = prediction.sigma / prediction.alpha
    last = _sum(decoder.nats(x0, prediction.x0, std))
    return Bound(prior_nats(sde, x0), 0.5 * (start - end) * total / levels, last)
