"""Averages of the parameters, a set of them in one run, and how they are put together afterwards.

After every optimizer step an average moves towards the parameters,

    average <- average + rate (params - average),        rate = 1 - decay,

and its profile says how large the rate is at step t = 1, 2, ...: how much the parameters of each step count
in the end. A power-function profile (Karras et al. 2024, section 3) keeps its shape as the run grows,

    p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1)       for 0 <= tau <= t,

and is named by its relative standard deviation sigma_rel, the width of its peak over the length of the run.
From snapshots of two such averages that of any other width, at any of the steps, is had by least squares
(`reconstruction`): a sum of profiles that equals the one looked for is a sum of averages that equals its
average. The squared distance of the two profiles falls with the fourth power of the number of snapshots.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from components import ConfigError, Refusals

# sigma_rel of gamma = 0, under which all steps count alike: 1 / sqrt(12).
LARGEST_STD = 0.288


def ramped(decay, step):
    """The decay of step t, min(decay, (1 + t) / (10 + t)), so that short runs forget the start."""
    return jnp.minimum(decay, (1.0 + step) / (10.0 + step))


def half_life_rate(images, ramp, batch_size, step):
    """1 - 2^(-batch / half-life), the half-life in images (EDM, Karras et al. 2022).

    While the run is short the half-life is `ramp` times the images before this step; 0: always `images`.
    """
    before = (step - 1.0) * batch_size
    half_life = jnp.minimum(images, ramp * before) if ramp else jnp.full_like(before, images)
    return -jnp.expm1(-math.log(2) * batch_size / jnp.maximum(half_life, 1e-8))


def std_of_power(gamma):
    """sigma_rel of a power-function profile (Karras et al. 2024, eq. 123)."""
    return math.sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2)


def power_of_std(std):
    """The exponent gamma of a power-function profile of sigma_rel in (0, 0.289) (eq. 126).

    The largest root of (gamma + 2)^2 (gamma + 3) = (gamma + 1) / sigma_rel^2, a cubic.
    """
    inverse = std**-2.0
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


def power_rate(gamma, step):
    """1 - (1 - 1/t)^(gamma + 1) (eq. 127); 1 at the first step, so that the start does not count.

    Step tau then counts by (tau^(gamma + 1) - (tau - 1)^(gamma + 1)) / t^(gamma + 1), the integral of the
    profile over that step.
    """
    return -jnp.expm1((gamma + 1) * jnp.log1p(-1.0 / step))


def power_product(step_a, gamma_a, step_b, gamma_b):
    """The integral of the product of two profiles, that end at these steps (eq. 151)."""
    ratio = np.minimum(step_a, step_b) / np.maximum(step_a, step_b)
    # The one that ends first is the factor that is cut off.
    gamma = np.where(step_a < step_b, gamma_b, gamma_a)
    whole = (gamma_a + 1) * (gamma_b + 1) * ratio**gamma
    return whole / ((gamma_a + gamma_b + 1) * np.maximum(step_a, step_b))


def reconstruction(steps, stds, step, std):
    """What snapshots count in the sum that comes nearest to another average (Karras et al. 2024, alg. 3).

    Args:
      steps, stds: [N] of the snapshots: when, and sigma_rel; none of them later than `step`.
      step, std: of the average that is looked for.

    Returns:
      [N] coefficients, of sum 1, and the distance of the two profiles over the norm of the one looked for.
    """
    steps = np.asarray(steps, float)
    gammas, gamma = np.array([power_of_std(s) for s in stds]), power_of_std(std)
    products = power_product(steps[:, None], gammas[:, None], steps, gammas)
    with_wanted = power_product(steps, gammas, step, gamma)
    norms = np.sqrt(np.diag(products))
    # In units of each profile's norm; the least-squares solution of least size, as some are nearly alike.
    scaled = np.linalg.lstsq(products / np.outer(norms, norms), with_wanted / norms, rcond=None)[0]
    coefficients = scaled / norms
    coefficients /= coefficients.sum()
    square = power_product(step, gamma, step, gamma)
    distance = square - 2 * with_wanted @ coefficients + coefficients @ products @ coefficients
    return coefficients, math.sqrt(max(distance, 0.0) / square)


@dataclasses.dataclass(frozen=True)
class ConstantDecay:
    """The same decay at every step, or after a ramp (see `ramped`)."""

    decay: float
    ramp: bool = False

    @property
    def name(self):
        """Of the average in the state and in checkpoints."""
        return repr(float(self.decay))

    @property
    def number(self):
        """By which `restore.average` chooses the average."""
        return self.decay

    def rate(self, step):
        """Of step number `step`, 1 for the first."""
        decay = jnp.float32(self.decay)
        return 1 - (ramped(decay, step) if self.ramp else decay)


@dataclasses.dataclass(frozen=True)
class HalfLife:
    """A half-life in images, with EDM's ramp (see `half_life_rate`); batch_size: images a step."""

    images: float
    ramp: float
    batch_size: int

    @property
    def name(self):
        """Of the average in the state and in checkpoints."""
        return f"half_life_{self.images:g}"

    @property
    def number(self):
        """By which `restore.average` chooses the average."""
        return self.images

    def rate(self, step):
        """Of step number `step`, 1 for the first."""
        return half_life_rate(self.images, self.ramp, self.batch_size, step)


@dataclasses.dataclass(frozen=True)
class Power:
    """A power function of relative standard deviation `std` (see `power_rate`)."""

    std: float

    @property
    def name(self):
        """Of the average in the state, in checkpoints and snapshots."""
        return f"power_{float(self.std)!r}"

    @property
    def number(self):
        """By which `restore.average` chooses the average."""
        return self.std

    def rate(self, step):
        """Of step number `step`, 1 for the first."""
        return power_rate(power_of_std(self.std), step)


def create(config, batch_size):
    """The profiles that the subtree `ema` asks for, by the names of their averages; the evaluated one first.

        >>> from configs import base
        >>> list(create(base.get_config().ema, batch_size=128))
        ['0.9999']

    Args:
      batch_size: images a step.

    Raises:
      ConfigError: no average at all, numbers out of range, or two that `restore.average` cannot tell apart.
    """
    refusals, decays, stds = Refusals(), tuple(config.decays), tuple(config.power_stds)
    half_lives = () if config.half_life_images is None else (config.half_life_images,)
    least = "" if stds or half_lives else ", at least one"
    if not _different(decays, 0, 1) or not (decays or stds or half_lives):
        refusals.add([f"ema.decays={decays} must hold different numbers in [0, 1){least}."])
    if not _different(stds, 1e-3, LARGEST_STD):
        refusals.add([f"ema.power_stds={stds} must hold different numbers in [0.001, {LARGEST_STD})."])
    if half_lives and not half_lives[0] >= 1:
        refusals.add([f"ema.half_life_images={half_lives[0]} must be at least 1."])
    if not config.half_life_ramp >= 0:
        refusals.add([f"ema.half_life_ramp={config.half_life_ramp} must not be negative; 0 means no ramp."])
    refusals.raise_if_any()
    if set(decays) & set(stds):
        raise ConfigError(
            f"ema.decays={decays} and ema.power_stds={stds} have a number in common, by which "
            "restore.average chooses an average."
        )
    profiles = [
        *(ConstantDecay(decay, config.ramp) for decay in decays),
        *(HalfLife(images, config.half_life_ramp, batch_size) for images in half_lives),
        *(Power(std) for std in stds),
    ]
    return {profile.name: profile for profile in profiles}


def _different(numbers, low, high):
    """Whether they are different numbers in [low, high)."""
    fit = [n for n in numbers if isinstance(n, int | float) and low <= n < high]
    return len(set(fit)) == len(numbers)


def numbers(config):
    """What `restore.average` may be in a run with this subtree `ema`."""
    half_lives = () if config.half_life_images is None else (config.half_life_images,)
    return (*config.decays, *half_lives, *config.power_stds)


def chosen(profiles, number):
    """The name of the average that `restore.average` chooses; None chooses the first."""
    return next(name for name, profile in profiles.items() if number in (None, profile.number))


def update(profiles, averages, params, step):
    """The averages after optimizer step number `step` (1 for the first).

    Args:
      profiles: from name to an object with `rate`; averages: from the same names to trees like params.
    """

    def updated(profile, average):
        rate = profile.rate(step)
        # In this form what does not move stays the same to the last bit.
        return jax.tree.map(lambda old, new: old + rate * (new - old), average, params)

    return {name: updated(profiles[name], average) for name, average in averages.items()}
