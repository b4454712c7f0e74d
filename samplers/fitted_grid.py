"""A pilot run tells where a model's flow bends, and a grid then gives each step the same error.

A method of order 2 errs in a step of length h in lambda = log(alpha / sigma) by about h^3 times the second
derivative of what it integrates. Here that is F dm / d lambda of samplers/solvers/adams.py with s = 1,
whose state is of unit size at every noise level, so that errors weigh alike. Steps inversely proportional
to the cube root of that derivative's root mean square over samples have equal errors.
"""

import json

import numpy as np

from workdir.files import read_arrays

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


def save(path, levels, density, sde, about):
    """Writes a density over half log-SNR, and what it belongs to."""
    np.savez(path, levels=levels, density=density, about=json.dumps({**about, "sde": repr(sde)}))


def load(path):
    """(levels [M], density [M], dict of what they belong to) of a file that `save` wrote.

    Raises:
      ValueError: no such file, or a damaged one.
    """
    arrays, about = read_arrays(path, ("levels", "density"), "grid_file", "calibrate")
    levels, density = arrays["levels"], arrays["density"]
    whole = levels.ndim == 1 and len(levels) > 1 and levels.shape == density.shape
    if not (whole and (np.diff(levels) > 0).all() and (density > 0).all() and np.isfinite(density).all()):
        raise ValueError(f"{path} holds no rising levels with positive densities; --mode=calibrate writes it")
    return levels, density, about
