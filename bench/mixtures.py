"""Gaussian mixtures on which the default sampler is chosen, and others on which it is checked.

From the plane to 3,072 dimensions; equal and unequal weights; round, flat, low-rank and power-law components,
with standard deviations from .014 to .7. CHOICE holds those that `bench/choose_default.py` looks at, CHECK
those that it never sees.
"""

import functools

import numpy as np

from denoisers.gaussian_mixture import GaussianMixture
from denoisers.mixtures import Digits, Images, Ring, TwoMoons


def power_law(dimension, components, decay, seed, largest=0.3, least=1e-3, weights=2.0, mean=0.4, jitter=0.5):
    """Unequal components whose variances fall like a power, each along axes of its own.

    Args:
      largest: first variance; least: added to all of them.
      weights: concentration of the Dirichlet law of the weights; jitter: spread of log variances.
    """
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(components, weights))
    means = mean * rng.standard_normal((components, dimension))
    fall = np.arange(1, dimension + 1) ** -decay
    covariances = []
    for _ in range(components):
        axes = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]
        variances = largest * fall * np.exp(jitter * rng.standard_normal(dimension)) + least
        covariances.append((axes * variances) @ axes.T)
    return GaussianMixture.full(probabilities, means, np.stack(covariances))


def scales():
    """In the plane: six round blobs of standard deviations .02 to .4, weights .05 to .3."""
    angles = np.pi * np.arange(6) / 3 + 0.3
    means = np.stack([0.8 * np.cos(angles), 0.6 * np.sin(angles)], axis=1)
    variances = np.geomspace(0.02, 0.4, 6)[:, None] ** 2 * np.ones(2)
    return GaussianMixture.diagonal(np.array([0.1, 0.25, 0.05, 0.2, 0.3, 0.1]), means, variances)


def tube(components=14, dimension=8, radius=0.03):
    """Ellipsoids strung along a closed curve of three harmonics, of unequal weights."""
    angles = 2 * np.pi * np.arange(components) / components
    harmonics = np.repeat([1, 2, 3], 2)
    amplitude = np.repeat([1.0, 0.6, 0.3], 2)
    phases = harmonics * angles[:, None] - np.tile([0, np.pi / 2], 3)
    embedding = np.random.default_rng(4).standard_normal((6, dimension)) / np.sqrt(6)
    means = amplitude * np.cos(phases) @ embedding
    tangents = -amplitude * harmonics * np.sin(phases) @ embedding * (np.pi / components)
    covariances = 0.25 * tangents[:, :, None] * tangents[:, None] + radius**2 * np.eye(dimension)
    weights = 1 + 0.8 * np.sin(angles)
    return GaussianMixture.full(weights / weights.sum(), means, covariances)


def spiral(components=12, spread=0.04):
    """In the plane: small round blobs along two turns of a spiral, of weights that grow outwards."""
    angles = np.linspace(0.5, 4 * np.pi, components)
    radii = 0.15 + 0.75 * angles / angles[-1]
    means = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return GaussianMixture.diagonal(radii / radii.sum(), means, np.full((components, 2), spread**2))


def sheet(dimension=16, components=20, seed=5):
    """Flat ellipsoids scattered on a curved sheet of two dimensions."""
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(-1, 1, (components, 2)).T
    lift = 0.5 * rng.standard_normal((5, dimension))
    means = np.stack([u, v, u * v, u**2, v**2], axis=1) @ lift
    flat = 0.02 * lift[:2].T @ lift[:2] + 3e-4 * np.eye(dimension)
    return GaussianMixture.full(np.full(components, 1 / components), means, np.stack([flat] * components))


CHOICE = {
    "ring": lambda: Ring().build(),
    "scales": scales,
    "tube": tube,
    "power_law 24-D": functools.partial(power_law, 24, 5, 1.0, 3),
    "digits": lambda: Digits().build(),
    "images 3,072-D": lambda: Images(rank=6).build(),
}

CHECK = {
    "two_moons": lambda: TwoMoons().build(),
    "spiral": spiral,
    "sheet 16-D": sheet,
    "layered 48-D": functools.partial(
        power_law, 48, 6, 1.3, 11, largest=0.2, least=2e-4, weights=3.0, mean=0.35, jitter=0.3
    ),
    "power_law 64-D": functools.partial(power_law, 64, 8, 1.6, 21, largest=0.5, least=2e-4, mean=0.3),
    "images 768-D": lambda: Images(components=8, side=16, rank=4, spread=0.02).build(),
}


def noises_for(mixture):
    """How many noises are followed: fewer where a sample has many numbers."""
    return 64 if mixture.startswith("images") else 256
