"""The cosine schedule in continuous time, plain, shifted and interpolated.

    alpha = cos(theta), sigma = sin(theta), theta = theta_0 + t (theta_1 - theta_0),

so that log_snr = -2 log tan(theta) runs from log_snr_max at t = 0 to log_snr_min at
t = 1 (Nichol & Dhariwal 2021, eq. 17, without their offset; the ends are those of Kingma
et al. 2021 and Hoogeboom et al. 2023, appendix B). Larger images keep the signal of
each coarse pixel only with more noise: the shifted schedules add 2 log(noise side / image side).
"""

import dataclasses
import math

import jax.numpy as jnp

from sde_lib.base import SDE, VariancePreserving

NEWTON_STEPS = 8
# Beyond it alpha^2 or sigma^2 has no digit left in float32.
LARGEST_LOG_SNR = 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class CosineSchedule(VariancePreserving):
    """What the three have in common, mixed into each: the unshifted log-SNR and its inverse.

    Attributes:
      log_snr_max, log_snr_min: at t = 0 and t = 1, before any shift.
    """

    log_snr_max: float = 15.0
    log_snr_min: float = -15.0

    def __post_init__(self):
        super().__post_init__()
        if not -LARGEST_LOG_SNR <= self.log_snr_min < self.log_snr_max <= LARGEST_LOG_SNR:
            raise ValueError(
                f"log_snr_min={self.log_snr_min} must be below log_snr_max={self.log_snr_max}, both within "
                f"{LARGEST_LOG_SNR} of 0"
            )
        for name in ("image_side", "noise_side", "noise_side_low", "noise_side_high"):
            if getattr(self, name, 1) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")

    @property
    def _angles(self):
        """theta_0, pi/2 - theta_1 and theta_1 - theta_0."""
        first, last = (
            math.atan(math.exp(-0.5 * self.log_snr_max)),
            math.atan(math.exp(0.5 * self.log_snr_min)),
        )
        return first, last, 0.5 * math.pi - last - first

    def cosine_log_snr(self, t):
        """-2 log tan(theta), from sines of theta and of pi/2 - theta so that neither end cancels."""
        first, last, span = self._angles
        return 2 * (jnp.log(jnp.sin(last + (1 - t) * span)) - jnp.log(jnp.sin(first + t * span)))

    def time_of_cosine_log_snr(self, log_snr):
        """The inverse of `cosine_log_snr`."""
        first, _, span = self._angles
        return (jnp.arctan(jnp.exp(-0.5 * log_snr)) - first) / span


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine(CosineSchedule, SDE):
    """The cosine schedule."""

    def log_snr(self, t):
        return self.cosine_log_snr(t)

    def time_of_log_snr(self, log_snr):
        return self.time_of_cosine_log_snr(log_snr)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShiftedCosine(CosineSchedule, SDE):
    """The cosine schedule as an image of side noise_side would see it (Hoogeboom et al. 2023, section 3).

    Attributes:
      image_side: side of the data's images.
      noise_side: side at which averages of pixels get the plain schedule, 32 or 64.
    """

    image_side: int = 64
    noise_side: int = 32

    @property
    def _shift(self):
        return 2 * math.log(self.noise_side / self.image_side)

    def log_snr(self, t):
        return self.cosine_log_snr(t) + self._shift

    def time_of_log_snr(self, log_snr):
        return self.time_of_cosine_log_snr(log_snr - self._shift)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InterpolatedCosine(CosineSchedule, SDE):
    """From one shift at the data to another at the prior (Hoogeboom et al. 2023, section 3).

    log_snr = t shifted(noise_side_low) + (1 - t) shifted(noise_side_high).

    Attributes:
      image_side: side of the data's images.
      noise_side_low: reference side near t = 1, where there is more noise.
      noise_side_high: reference side near t = 0.
    """

    image_side: int = 64
    noise_side_low: int = 32
    noise_side_high: int = 64

    def __post_init__(self):
        super().__post_init__()
        if self.noise_side_low > self.noise_side_high:
            raise ValueError(
                f"noise_side_low={self.noise_side_low} must not exceed noise_side_high={self.noise_side_high}"
            )

    @property
    def _ends(self):
        """The shifts at t = 0 and t = 1."""
        return (2 * math.log(side / self.image_side) for side in (self.noise_side_high, self.noise_side_low))

    def log_snr(self, t):
        start, end = self._ends
        return self.cosine_log_snr(t) + (1 - t) * start + t * end

    def time_of_log_snr(self, log_snr):
        # Newton's method on the unshifted log-SNR, in which the equation is almost linear.
        start, end = self._ends
        _, _, span = self._angles
        plain = log_snr - 0.5 * (start + end)
        for _ in range(NEWTON_STEPS):
            t = self.time_of_cosine_log_snr(plain)
            slope = 1 - (end - start) / (4 * span * jnp.cosh(0.5 * plain))
            plain = plain - (plain + (1 - t) * start + t * end - log_snr) / slope
        return self.time_of_cosine_log_snr(plain)
