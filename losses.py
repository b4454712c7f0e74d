"""The objective: denoising score matching (Vincent 2011; Song et al. 2021, eq. 7).

    E_t E_{x_0, eps} w(t) |eps - eps_hat(alpha x_0 + sigma eps, t)|^2,

where eps_hat = (x - alpha D) / sigma is the noise that the denoiser D sees. Written in
eps, the simple loss of DDPM has w = 1, which is lambda(t) = sigma^2 on the score; a weight
on the error of x_0 is divided by the signal-to-noise ratio (alpha/sigma)^2. Every
parametrization, weighting, time sampling and grid is a choice in this one expression.
With learned variances the terms of the discrete bound may take its place (`loss.error`).
"""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from components import Refusals, choose, positive
from components import create as create_component
from denoisers.heads import gaussian_share
from likelihood.bounds import PixelDecoder, level_nats
from sde_lib import noise
from sde_lib.base import SDE


@dataclasses.dataclass(frozen=True)
class Simple:
    """Weight 1: mean-squared error of the noise (Ho et al. 2020, eq. 14)."""

    needs_continuous_time: ClassVar[bool] = False

    def __call__(self, objective, t):
        return jnp.ones_like(t)


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """Weight g^2 / sigma^2 = -d log_snr/dt, which bounds the likelihood (Song et al. 2021b)."""

    needs_continuous_time: ClassVar[bool] = True

    def __call__(self, objective, t):
        return (objective.sde.diffusion(t) / objective.sde.sigma(t)) ** 2


@dataclasses.dataclass(frozen=True)
class LogSNR:
    """The same, scaled so that times uniform in t count every log-SNR once: its mean is one."""

    needs_continuous_time: ClassVar[bool] = True

    def __call__(self, objective, t):
        sde = objective.sde
        start, end = sde.log_snr(jnp.asarray([sde.t_min, sde.t_max]))
        return Likelihood()(objective, t) * (sde.t_max - sde.t_min) / (start - end)


@dataclasses.dataclass(frozen=True)
class EDM:
    """Weight (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 on x_0 (Karras et al. 2022, table 1)."""

    needs_continuous_time: ClassVar[bool] = False

    def __call__(self, objective, t):
        return 1 + jnp.exp(-objective.sde.log_snr(t)) / objective.sigma_data**2


def _require_positive(weighting, *fields):
    for field in fields:
        if not getattr(weighting, field) > 0:
            raise ValueError(f"{field}={getattr(weighting, field)} must be positive")


@dataclasses.dataclass(frozen=True)
class MinSNR:
    """Weight min(snr, gamma) / snr (Hang et al. 2023)."""

    needs_continuous_time: ClassVar[bool] = False
    gamma: float = 5.0

    def __post_init__(self):
        _require_positive(self, "gamma")

    def __call__(self, objective, t):
        return jnp.minimum(1.0, self.gamma * jnp.exp(-objective.sde.log_snr(t)))


@dataclasses.dataclass(frozen=True)
class TruncatedSNR:
    """Weight max(snr, 1) on x_0 (Salimans & Ho 2022, section 4)."""

    needs_continuous_time: ClassVar[bool] = False

    def __call__(self, objective, t):
        return jnp.maximum(1.0, jnp.exp(-objective.sde.log_snr(t)))


@dataclasses.dataclass(frozen=True)
class P2:
    """Weight 1 / (k + snr)^gamma (Choi et al. 2022)."""

    needs_continuous_time: ClassVar[bool] = False
    k: float = 1.0
    gamma: float = 1.0

    def __post_init__(self):
        _require_positive(self, "k")

    def __call__(self, objective, t):
        return (self.k + jnp.exp(objective.sde.log_snr(t))) ** -self.gamma


@dataclasses.dataclass(frozen=True)
class Sigmoid:
    """Weight sigmoid(bias - log_snr) times -d log_snr/dt (Kingma & Gao 2023; Hoogeboom et al. 2024)."""

    needs_continuous_time: ClassVar[bool] = True
    bias: float = 2.0

    def __call__(self, objective, t):
        log_snr = objective.sde.log_snr(t)
        return jax.nn.sigmoid(self.bias - log_snr) * Likelihood()(objective, t)


# What a config may name: loss.weighting.name. An object is called with the Objective and times [b]. Those
# that need continuous time contain d log_snr/dt, the density of log-SNR there.
WEIGHTINGS = {
    "simple": Simple,
    "likelihood": Likelihood,
    "log_snr": LogSNR,
    "edm": EDM,
    "min_snr": MinSNR,
    "truncated_snr": TruncatedSNR,
    "p2": P2,
    "sigmoid": Sigmoid,
}

HISTORY_LENGTH = 10
UNIFORM_SHARE = 1e-3


@flax.struct.dataclass
class LossHistory:
    """The last losses of every interval of time (Nichol & Dhariwal 2021, section 3.3).

    Attributes:
      losses: [N, HISTORY_LENGTH] the latest losses in a ring.
      counts: [N] int32, losses seen in each interval.
    """

    losses: jax.Array
    counts: jax.Array

    @classmethod
    def empty(cls, intervals):
        """Nothing seen yet."""
        return cls(jnp.zeros((intervals, HISTORY_LENGTH)), jnp.zeros(intervals, jnp.int32))

    def probabilities(self):
        """[N] in proportion to the root of the mean-squared loss, UNIFORM_SHARE of it spread evenly.

        Uniform until every interval has a full history.
        """
        roots = jnp.sqrt(jnp.mean(self.losses**2, axis=1))
        even = jnp.full_like(roots, 1 / len(roots))
        learned = (1 - UNIFORM_SHARE) * roots / jnp.maximum(roots.sum(), 1e-30) + UNIFORM_SHARE * even
        return jnp.where(jnp.all(self.counts >= HISTORY_LENGTH), learned, even)

    def add(self, intervals, losses):
        """The history after a batch of losses [B] in these intervals [B], in the batch's order."""
        same = intervals[:, None] == intervals[None, :]
        earlier = jnp.sum(jnp.tril(same, -1), axis=1)
        later = jnp.sum(jnp.triu(same, 1), axis=1)
        slots = (self.counts[intervals] + earlier) % HISTORY_LENGTH
        # Of more than a ring's length in one batch only the last ones stay.
        rows = jnp.where(later < HISTORY_LENGTH, intervals, len(self.counts))
        return LossHistory(
            self.losses.at[rows, slots].set(losses, mode="drop"), self.counts.at[intervals].add(1)
        )


class Times(NamedTuple):
    """Times that were drawn.

    Attributes:
      t: [b] times.
      weight: [b] what makes their mean an average over uniform times: the ratio of
        the uniform density to the one drawn from.
      interval: [b] int32 place in the LossHistory.
    """

    t: jax.Array
    weight: jax.Array
    interval: jax.Array


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Uniform on [t_min, t_max], or on the levels of the discrete grid."""

    serves_discrete_time: ClassVar[bool] = True

    def __call__(self, objective, u, history):
        sde = objective.sde
        interval = objective.interval(u)
        if objective.time_grid == "discrete":
            return Times(objective.level(interval), jnp.ones_like(u), interval)
        return Times(sde.t_min + u * (sde.t_max - sde.t_min), jnp.ones_like(u), interval)


@dataclasses.dataclass(frozen=True)
class Importance:
    """Uniform in log-SNR, with the weight that keeps the mean over uniform t.

    This is the density g^2/sigma^2 of Song et al. (2021b), here for every linear SDE: under
    likelihood weighting the product of both weights is constant.
    """

    serves_discrete_time: ClassVar[bool] = False

    def __call__(self, objective, u, history):
        sde = objective.sde
        start, end = sde.log_snr(jnp.asarray([sde.t_min, sde.t_max]))
        t = jnp.clip(sde.time_of_log_snr(start + u * (end - start)), sde.t_min, sde.t_max)
        return Times(t, 1 / LogSNR()(objective, t), objective.interval(u))


@dataclasses.dataclass(frozen=True)
class LogNormal:
    """log(sigma/alpha) normal (Karras et al. 2022, table 1); its density is part of the objective.

    Attributes:
      log_sigma_mean, log_sigma_std: of log(sigma/alpha).
    """

    serves_discrete_time: ClassVar[bool] = False
    log_sigma_mean: float = -1.2
    log_sigma_std: float = 1.2

    def __post_init__(self):
        _require_positive(self, "log_sigma_std")

    def __call__(self, objective, u, history):
        sde = objective.sde
        log_r = self.log_sigma_mean + self.log_sigma_std * jax.scipy.special.ndtri(u)
        low, high = -0.5 * sde.log_snr(jnp.asarray([sde.t_min, sde.t_max]))
        t = jnp.clip(sde.time_of_log_snr(-2 * jnp.clip(log_r, low, high)), sde.t_min, sde.t_max)
        return Times(t, jnp.ones_like(t), objective.interval(u))


@dataclasses.dataclass(frozen=True)
class ByLossHistory:
    """Intervals drawn by the size of their past losses, uniform within (Nichol & Dhariwal 2021, eq. 18)."""

    serves_discrete_time: ClassVar[bool] = True

    def __call__(self, objective, u, history):
        probabilities = history.probabilities()
        ends = jnp.cumsum(probabilities)
        interval = jnp.searchsorted(ends, u * ends[-1], side="right")
        interval = jnp.minimum(interval, len(ends) - 1).astype(jnp.int32)
        chosen = probabilities[interval]
        weight = 1 / (chosen * len(ends))
        if objective.time_grid == "discrete":
            return Times(objective.level(interval), weight, interval)
        within = jnp.clip(1 - (ends[interval] - u * ends[-1]) / chosen, 0, 1)
        sde = objective.sde
        t = sde.t_min + (interval + within) / len(ends) * (sde.t_max - sde.t_min)
        return Times(t, weight, interval)


# What a config may name: loss.time_sampling.name. An object is called with the Objective, numbers u [b] in
# [0, 1) and the LossHistory, and returns Times.
TIME_SAMPLINGS = {
    "uniform": Uniform,
    "importance": Importance,
    "log_normal": LogNormal,
    "loss_history": ByLossHistory,
}
TIME_GRIDS = ("continuous", "discrete")

REDUCTIONS = {
    "mean": lambda squares: jnp.mean(squares, axis=1),
    "half_sum": lambda squares: 0.5 * jnp.sum(squares, axis=1),
}


def weighted_by_uncertainty(losses, log_variance):
    """L / exp(u) + u, least where exp(u) is the mean of L (Karras et al. 2024, eq. 21 and 22).

    Args:
      losses: [b] of the examples, of any reduction; log_variance: [b] u at their noise levels.
    """
    return losses * jnp.exp(-log_variance) + log_variance


def _noise_error(objective, prediction, x0, eps, t):
    """The squared error of the noise, by the weighting and the reduction; w = 1 makes L_simple."""
    squares = jnp.square(prediction.eps - eps).reshape(len(eps), -1)
    return objective.weighting(objective, t) * REDUCTIONS[objective.reduction](squares)


def _bound_error(objective, prediction, x0, eps, t):
    """L_vlb: what this level adds to the discrete bound, times the number of levels, in bits/dim.

    Its mean over the levels is the bound but for the prior's term, which nothing learns (Nichol & Dhariwal
    2021, section 2.1); the mean is trained by it as well as the variance.
    """
    nats = level_nats(objective.sde, prediction, x0, t, objective.noise_levels, "learned", objective.decoder)
    return objective.noise_levels * jnp.mean(nats.reshape(len(t), -1), axis=1) / jnp.log(2.0)


# What a config may name: loss.error. (objective, prediction, x_0, eps, t) -> [b].
ERRORS = {"noise": _noise_error, "bound": _bound_error}


# A network's own error is larger than an unexplained fraction below this.
LEAST_SHARE = 0.03


def _of_fraction(objective, keys, denoise, prediction, xt, x0, eps, t):
    """L_vlb as a function of the variance alone (Nichol & Dhariwal 2021, section 3.1)."""
    of_variance = prediction.replace(x0=jax.lax.stop_gradient(prediction.x0))
    return _bound_error(objective, of_variance, x0, eps, t)


def _of_target(target, relative):
    """The squared error of the unexplained fraction x0_variance / r^2 against a `target`.

    The target's expectation given x_t is the unexplained fraction; see denoisers/variance.py. stop_gradient:
    this loss trains the variance head only.
    """

    def loss(objective, keys, denoise, prediction, xt, x0, eps, t):
        ratio = (prediction.sigma / prediction.alpha) ** 2
        aim = jax.lax.stop_gradient(target(keys, denoise, prediction, xt, eps, t))
        error = prediction.x0_variance / ratio - aim
        if relative and objective.variance_relative:
            error /= gaussian_share(ratio, objective.sigma_data) + LEAST_SHARE
        return jnp.mean((error**2).reshape(len(t), -1), axis=1)

    return loss


def _jacobian_target(keys, denoise, prediction, xt, eps, t):
    z = noise.rademacher(noise.fold_in(keys, 1), xt.shape[1:], xt.dtype)
    _, push = jax.jvp(lambda x: denoise(x, t).x0, (xt,), (z,))
    return prediction.alpha * z * push


# For each denoiser.variance_head: (objective, keys, denoise, prediction, x_t, x_0, eps, t) -> [b].
VARIANCE_LOSSES = {
    "fraction": _of_fraction,
    # |eps^2 - h|^2 (Bao et al. 2022b, SN); -eps_hat^2 stands on both sides.
    "second_moment": _of_target(lambda keys, denoise, p, xt, eps, t: eps**2 - p.eps**2, relative=False),
    # |(eps - eps_hat)^2 - h|^2, right for an imperfect mean (Bao et al. 2022b, NPR).
    "residual": _of_target(lambda keys, denoise, p, xt, eps, t: (eps - p.eps) ** 2, relative=True),
    # A random sign's probe of diag(alpha dD/dx) (optimal covariance matching, Ou et al. 2024).
    "covariance": _of_target(_jacobian_target, relative=True),
}


@dataclasses.dataclass(frozen=True)
class Objective:
    """Which noise levels are drawn, and how their errors are added up.

    Attributes:
      sde: the forward process.
      weighting: an entry of WEIGHTINGS as an object.
      time_sampling: an entry of TIME_SAMPLINGS as an object.
      low_discrepancy: spread the numbers that times are made from evenly over the batch,
        with a common random shift (Kingma et al. 2021, appendix I.1).
      time_grid: "continuous" on [t_min, t_max], or "discrete" with `noise_levels` times.
      noise_levels: number of equally spaced times of the discrete grid, the last at t_max;
        and of the intervals of the loss history.
      error: key of ERRORS.
      reduction: "mean" over pixels, or "half_sum", the default of Song et al. (2021).
        They differ by half the dimension, which matters to gradient clipping.
      sigma_data: standard deviation of the data, for the weighting EDM.
      variance_head: key of VARIANCE_LOSSES, or "none".
      variance_weight: weight of the loss of that head; 0.001 makes the hybrid loss of Nichol & Dhariwal
        (2021), eq. 16, with "fraction".
      variance_relative: whether the errors of a "residual" or "covariance" head count in units of what
        Gaussian data would have, plus LEAST_SHARE, so that high noise, where hardly any of it is unexplained,
        is learned too; else as published, and what is learned there is up to chance (docs/variance.md).
      head_alone: whether that loss is all there is, since the mean is not trained.
      decoder: the likelihood of pixels in the bound that trains "fraction" or is the `error`.
    """

    sde: SDE
    weighting: Callable = Simple()
    time_sampling: Callable = Uniform()
    low_discrepancy: bool = False
    time_grid: str = "continuous"
    noise_levels: int = 1000
    error: str = "noise"
    reduction: str = "mean"
    sigma_data: float = 0.5
    variance_head: str = "none"
    variance_weight: float = 0.0
    variance_relative: bool = True
    head_alone: bool = False
    decoder: PixelDecoder | None = None

    def history(self):
        """The empty LossHistory, or None where times do not depend on it."""
        by_history = isinstance(self.time_sampling, ByLossHistory)
        return LossHistory.empty(self.noise_levels) if by_history else None

    def interval(self, u):
        """Which of `noise_levels` equal intervals of [0, 1) holds u [b]."""
        return jnp.minimum((u * self.noise_levels).astype(jnp.int32), self.noise_levels - 1)

    def level(self, interval):
        """Time of the discrete grid that ends an interval."""
        return self.sde.t_max * (interval + 1.0) / self.noise_levels

    def times(self, keys, shared_key, index, batch_size, history=None):
        """Times for the examples at `index` [b] of a batch of `batch_size` over all devices.

        Args:
          keys: [b] one key for each example; shared_key: one for the batch.
          history: LossHistory, where `time_sampling` needs one.
        """
        if self.low_discrepancy:
            u = (jax.random.uniform(shared_key) + index / batch_size) % 1.0
        else:
            u = noise.uniform(keys)
        return self.time_sampling(self, u, history)

    def example_losses(self, keys, denoise, x0, t):
        """The loss [b] of each example, not yet multiplied by the weight of its time.

        Args:
          keys: [b] one key for each example's noise.
          denoise: (x, t) -> Prediction.
          x0: [b, ...] data in the model's range.
          t: [b] times.
        """
        xt, eps = self.sde.perturb(keys, x0, t)
        prediction = denoise(xt, t)
        losses = ERRORS[self.error](self, prediction, x0, eps, t)
        if self.variance_weight:
            of_head = VARIANCE_LOSSES[self.variance_head](self, keys, denoise, prediction, xt, x0, eps, t)
            losses = self.variance_weight * of_head + (0.0 if self.head_alone else losses)
        return losses


def create(config, sde, denoiser, decoder=None, head_alone=False):
    """The objective that the subtree `loss` describes.

        >>> import sde_lib
        >>> from configs import base
        >>> config = base.get_config()
        >>> create(config.loss, sde_lib.VP(), config.denoiser).weighting
        Simple()

    Args:
      config: the subtree.
      denoiser: the subtree `denoiser`, for sigma_data and the variance head.
      decoder: PixelDecoder of the data, where it is known.
      head_alone: whether the variance head is trained on a network that stays as it is.

    Raises:
      ConfigError: unknown names, or choices that exclude each other.
    """
    refusals = Refusals()
    with refusals:
        weighting = create_component(WEIGHTINGS, config.weighting, "loss.weighting")
    with refusals:
        time_sampling = create_component(TIME_SAMPLINGS, config.time_sampling, "loss.time_sampling")
    with refusals:
        choose(dict.fromkeys(TIME_GRIDS), config.time_grid, "loss.time_grid")
    with refusals:
        choose(ERRORS, config.error, "loss.error")
    with refusals:
        choose(REDUCTIONS, config.reduction, "loss.reduction")
    refusals.add(positive(config, "loss", "noise_levels"))
    if config.variance_weight < 0:
        refusals.add([f"loss.variance_weight={config.variance_weight} must not be negative."])
    refusals.raise_if_any()
    refusals.add(_contradictions(config, weighting, time_sampling, sde, denoiser.variance_head))
    refusals.raise_if_any()
    as_they_are = ("low_discrepancy", "time_grid", "noise_levels", "error", "reduction")
    return Objective(
        sde,
        weighting,
        time_sampling,
        **{name: config[name] for name in as_they_are},
        variance_weight=config.variance_weight,
        variance_relative=config.variance_relative,
        sigma_data=denoiser.sigma_data,
        variance_head=denoiser.variance_head,
        head_alone=head_alone,
        decoder=decoder,
    )


def _contradictions(config, weighting, time_sampling, sde, head):
    """Lines about choices of the subtree `loss` that exclude each other."""
    discrete = config.time_grid == "discrete"
    if weighting.needs_continuous_time and discrete:
        yield (
            f'loss.weighting.name="{config.weighting.name}" weighs a density over continuous time, and '
            'loss.time_grid="discrete" has none. Use loss.time_grid="continuous" or loss.weighting="simple".'
        )
    if discrete and not time_sampling.serves_discrete_time:
        yield (
            f'loss.time_sampling.name="{config.time_sampling.name}" draws continuous times; use '
            'loss.time_grid="continuous", or loss.time_sampling=uniform or loss_history.'
        )
    if discrete and sde.noise_levels not in (None, config.noise_levels):
        yield (
            f"loss.noise_levels={config.noise_levels}, but the SDE has {sde.noise_levels} levels. "
            f"Set loss.noise_levels={sde.noise_levels}."
        )
    if config.error == "bound":
        yield from _contradictions_of_the_bound(config, weighting, head)
    elif (head != "none") != (config.variance_weight > 0):
        yield (
            f'denoiser.variance_head="{head}" and loss.variance_weight={config.variance_weight} do not fit: '
            'a head is trained by a weight above 0 ("fraction": 0.001 in Nichol & Dhariwal 2021; else 1), '
            "and only by that."
        )
    if head == "fraction" and not (discrete and config.noise_levels > 1):
        yield (
            'denoiser.variance_head="fraction" is trained on the steps of a chain: set '
            'loss.time_grid="discrete".'
        )


def _contradictions_of_the_bound(config, weighting, head):
    """Lines about what the bound as the whole loss excludes; see `_bound_error`."""
    if head != "fraction":
        yield (
            'loss.error="bound" learns the variances too, of which '
            f'denoiser.variance_head="{head}" has none between its two. Use denoiser.variance_head=fraction.'
        )
    if config.variance_weight:
        yield (
            f"loss.variance_weight={config.variance_weight} adds the bound to the simple loss, and with "
            'loss.error="bound" it is the loss. Set loss.variance_weight=0.'
        )
    if not isinstance(weighting, Simple) or config.reduction != "mean":
        yield (
            f'loss.weighting.name="{config.weighting.name}" and loss.reduction="{config.reduction}" are of '
            'the squared error of the noise; loss.error="bound" is in bits/dim, unweighted. Leave them out.'
        )
