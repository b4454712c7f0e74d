"""Where on [t_end, t_max] a sampler calls the network: decreasing times, a choice of its own.

Each grid is a frozen dataclass, called with the SDE and a number of steps, that returns
float64 [steps + 1] from t_max (or below) down to the SDE's sampling_t_min.
"""

import dataclasses
import itertools
import math
from typing import ClassVar

import numpy as np

from components import Contents
from samplers import fitted_grid, optimal_grid
from samplers.tape import evaluate
from sde_lib.vp import VP


def half_log_snr_ends(sde):
    """[2] log(alpha / sigma) at t_max and at sampling_t_min."""
    return 0.5 * evaluate(sde.log_snr, [sde.t_max, sde.sampling_t_min])


def times_of_half_log_snr(sde, levels, to_end=True):
    """The times at increasing values [N] of log(alpha / sigma): from t_max, `to_end` to sampling_t_min."""
    times = evaluate(sde.time_of_log_snr, 2 * levels)
    times[0] = sde.t_max
    if to_end:
        times[-1] = sde.sampling_t_min
    return times


@dataclasses.dataclass(frozen=True)
class Power:
    """t^(1/power) spaced evenly: power 1 is uniform in t, 2 quadratic, 3 cubic."""

    power: ClassVar[float] = 1.0

    def __call__(self, sde, steps):
        ends = np.array([sde.t_max, sde.sampling_t_min]) ** (1 / self.power)
        times = np.linspace(*ends, steps + 1) ** self.power
        times[0], times[-1] = sde.t_max, sde.sampling_t_min
        return times


@dataclasses.dataclass(frozen=True)
class Quadratic(Power):
    """t^(1/2) spaced evenly."""

    power: ClassVar[float] = 2.0


@dataclasses.dataclass(frozen=True)
class Cubic(Power):
    """t^(1/3) spaced evenly."""

    power: ClassVar[float] = 3.0


def _spaced_by_ratio(sde, steps, end, spacing, inverse):
    """Times whose r = sigma / alpha is spaced evenly in spacing(r), from t_max to `end` or sampling_t_min."""
    if not 0 <= end < math.inf:
        raise ValueError(f"has end={end}, which must be finite and at least 0")
    start, last = np.exp(-half_log_snr_ends(sde))
    if end >= start:
        raise ValueError(f"has end={end:g}, and the process begins at sigma / alpha = {start:.3g}")
    ratios = inverse(np.linspace(spacing(start), spacing(max(end, last)), steps + 1))
    return times_of_half_log_snr(sde, -np.log(ratios), to_end=end <= last)


@dataclasses.dataclass(frozen=True)
class LogSNR:
    """Uniform in log-SNR (Lu et al. 2022a, section 3.3).

    Attributes:
      end: sigma / alpha of the last time, if larger than at sampling_t_min: few calls are not spent beside
        the data, and the final denoising leads there.
    """

    end: float = 0.0

    def __call__(self, sde, steps):
        return _spaced_by_ratio(sde, steps, self.end, np.log, np.exp)


@dataclasses.dataclass(frozen=True)
class Rho:
    """(sigma / alpha)^(1/rho) spaced evenly (Karras et al. 2022, eq. 5).

    Attributes:
      rho: 7 in the paper; the larger, the more steps near the data.
      end: as of LogSNR; their sigma_min.
    """

    rho: float = 7.0
    end: float = 0.0

    def __post_init__(self):
        if not 0 < self.rho < math.inf:
            raise ValueError(f"rho={self.rho} must be positive and finite")

    def __call__(self, sde, steps):
        return _spaced_by_ratio(sde, steps, self.end, lambda r: r ** (1 / self.rho), lambda u: u**self.rho)


@dataclasses.dataclass(frozen=True)
class VPTime:
    """u^(1/power) spaced evenly, u the time at which the linear VP SDE has the same log-SNR.

    On the VP SDE with its default betas a power of t; on any other process the same noise levels, between
    its own ends. Steps are long where Gaussian noise hides the data and short where modes part.

    Attributes:
      power: 3 by default.
      toward_zero: K calls stand at the first K of K + 1 points down to u = 0, where the final denoising
        leads, if the K-th lies above sampling_t_min: few calls are not spent beside the data.
    """

    power: float = 3.0
    toward_zero: bool = False

    def __post_init__(self):
        if not 0 < self.power < math.inf:
            raise ValueError(f"power={self.power} must be positive and finite")

    def __call__(self, sde, steps):
        vp = VP()
        start, end = evaluate(vp.time_of_log_snr, 2 * half_log_snr_ends(sde)) ** (1 / self.power)
        early = self.toward_zero and start / (steps + 1) > end
        u = np.linspace(start, start / (steps + 1) if early else end, steps + 1) ** self.power
        return times_of_half_log_snr(sde, 0.5 * evaluate(vp.log_snr, u), to_end=not early)


def _levels(sde):
    if sde.noise_levels is None:
        raise ValueError(
            "is a sub-sequence of a discrete process's levels, and this process has none. Use sde.name=ddpm, "
            "iddpm or smld, or a continuous grid"
        )
    return sde.noise_levels


def _subsequence(sde, levels):
    if len(set(levels)) < len(levels):
        raise ValueError(f"has fewer than {len(levels)} different levels; use fewer sampling.steps")
    return np.asarray(sorted(levels, reverse=True), np.float64) / sde.noise_levels


@dataclasses.dataclass(frozen=True)
class Even:
    """round(1 + (N - 1) k / steps) of N levels, halves to even (Nichol & Dhariwal 2021), with both ends."""

    def __call__(self, sde, steps):
        levels = _levels(sde)
        return _subsequence(sde, np.round(1 + (levels - 1) / steps * np.arange(steps + 1)).tolist())


@dataclasses.dataclass(frozen=True)
class Leading:
    """1 + k floor(N / (steps + 1)) (Song et al. 2020, linear): the highest levels are left out."""

    def __call__(self, sde, steps):
        stride = _levels(sde) // (steps + 1)
        return _subsequence(sde, (1 + stride * np.arange(steps + 1)).tolist())


@dataclasses.dataclass(frozen=True)
class LeadingQuadratic:
    """1 + floor(linspace(0, sqrt(0.8 N))^2) (Song et al. 2020, quadratic): only the lower 80% of levels.

    Where steps are many the lowest levels come twice; their second time, at which DDIM stands still, is left
    out.
    """

    def __call__(self, sde, steps):
        ends = np.sqrt(0.8 * _levels(sde))
        levels = 1 + np.floor(np.linspace(0, ends, steps + 1) ** 2)
        return _subsequence(sde, np.unique(levels).tolist())


@dataclasses.dataclass(frozen=True)
class Explicit:
    """The user's own times.

    Attributes:
      times: decreasing, from sde.t_max or below; their number overrules sampling.steps.
    """

    times: tuple = ()

    def __post_init__(self):
        if len(self.times) < 2 or not all(s < t for t, s in itertools.pairwise(self.times)):
            raise ValueError(f"times={self.times} must be at least two decreasing numbers")
        if not self.times[-1] > 0:
            raise ValueError(f"times={self.times} must be positive")

    def __call__(self, sde, steps):
        if self.times[0] > sde.t_max:
            raise ValueError(f"begins at {self.times[0]}, above sde.t_max={sde.t_max}")
        return np.asarray(self.times, np.float64)


def _require_process(file, sde):
    if file.origin["sde"] != repr(sde):
        raise ValueError(f"was made for {file.origin['sde']}, not for {sde!r}")


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """Equal error at each step, by the pilot run of --mode=calibrate (samplers/fitted_grid.py).

    Attributes:
      file: Contents of what it wrote.
    """

    FILES: ClassVar[dict] = {"file": fitted_grid.DENSITY_FILE}
    file: Contents | None = None

    def __post_init__(self):
        if self.file is None:
            raise ValueError(
                "needs the density that --mode=calibrate writes: set file=<workdir>/fitted_grid.npz"
            )

    def __call__(self, sde, steps):
        _require_process(self.file, sde)
        return times_of_half_log_snr(sde, fitted_grid.equal_error(**self.file.arrays, steps=steps))


@dataclasses.dataclass(frozen=True, eq=False)
class Optimal:
    """The levels with the best discrete-time bound, by the table that --mode=optimal_grid wrote.

    The last one is as far from the data as the bound wants it: sampling.final_denoise leads on from there.

    Attributes:
      file: Contents of what it wrote.
    """

    FILES: ClassVar[dict] = {"file": optimal_grid.PAIR_COSTS_FILE}
    file: Contents | None = None

    def __post_init__(self):
        if self.file is None:
            raise ValueError(
                "needs the table that --mode=optimal_grid writes: set file=<workdir>/optimal_grid.npz"
            )

    def __call__(self, sde, steps):
        _require_process(self.file, sde)
        found = optimal_grid.PairCosts(**self.file.arrays)
        if found.times[-1] > sde.t_max:
            raise ValueError(f"has a level at t = {found.times[-1]:g}, beyond sde.t_max={sde.t_max:g}")
        if not 1 <= steps < len(found.times):
            raise ValueError(
                f"has {len(found.times)} levels: use sampling.steps from 1 to {len(found.times) - 1}, not "
                f"{steps}, or --mode=optimal_grid with more optimal_grid.levels"
            )
        return found.times[found.optimal(steps + 1)[0]][::-1].astype(np.float64)


TIME_GRIDS = {
    "uniform": Power,
    "quadratic": Quadratic,
    "cubic": Cubic,
    "log_snr": LogSNR,
    "rho": Rho,
    "vp_time": VPTime,
    "even": Even,
    "leading": Leading,
    "leading_quadratic": LeadingQuadratic,
    "explicit": Explicit,
    "fitted": Fitted,
    "optimal": Optimal,
}
