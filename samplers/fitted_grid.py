"""A pilot run tells where a model's flow bends, and a grid then gives each step the same error.

A method of order 2 errs in a step of length h in lambda = log(alpha / sigma) by about h^3 times the second
derivative of what it integrates. Here that is F dm / d lambda of samplers/solvers/adams.py with s = 1,
whose state is of unit size at every noise level, so that errors weigh alike. Steps inversely proportional
to the cube root of that derivative's root mean square over samples have equal errors.
"""

import numpy as np

from components import FileKind, Numbers

# Half log-SNR far beyond these ends is no number in float32.
DENSITY_FILE = FileKind(
    {
        "levels": Numbers(("M",), low=-40.0, high=40.0, increasing=True),
        "density": Numbers(("M",), low=1e-30, high=1e30),
    },
    mode="calibrate",
    lengths={"M": (2, 1_000_000)},
)
# Part of the mean density that every place has at least: no step longer than a fifth of the way's share.
FLOOR = 0.2


def density(sde_levels, x0, eps):
    """Step density [M] along the flow, up to a factor.

    Args:
      sde_levels: [M] half log-SNR, increasing.
      x0, eps: [M, B, ...] predictions along B fine solutions.
    """
    r = np.exp(-np.asarray(sde_levels))
    # sigma / n and alpha / n of F with s = 1, whatever the process: functions of r alone.
    noise, signal = r / np.sqrt(1 + r**2), 1 / np.sqrt(1 + r**2)
    shape = (-1,) + (1,) * (np.ndim(x0) - 1)
    integrand = (noise.reshape(shape) * x0 - signal.reshape(shape) * eps) * (r / (1 + r**2)).reshape(shape)
    bend = np.gradient(np.gradient(integrand, sde_levels, axis=0), sde_levels, axis=0)
    size = np.sqrt((bend**2).mean(axis=tuple(range(1, bend.ndim)))) ** (1 / 3)
    # Differences at the ends are one-sided and rough: the neighbours' values stand in.
    size[:2], size[-2:] = size[2], size[-3]
    return np.maximum(size, FLOOR * size.mean())


def equal_error(levels, density, steps):
    """[steps + 1] half log-SNR between which the integral of the density is the same."""
    cumulative = np.concatenate([[0.0], np.cumsum(np.diff(levels) * (density[1:] + density[:-1]) / 2)])
    return np.interp(np.linspace(0, cumulative[-1], steps + 1), cumulative, levels)
