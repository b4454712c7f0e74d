"""The sliced Wasserstein distance between two sets of samples."""

import numpy as np


def sliced_wasserstein(x, y, projections=128, seed=0):
    """Mean over random directions of the Wasserstein-1 distance along them (Bonneel et al. 2015).

    Two sets of exact samples are a positive distance apart, of the order of N^-1/2: measure it too.

    Args:
      x, y: [N, ...] each, of the same size.
      projections: number of directions, the same ones for the same seed.

    Returns:
      a number, in units of the data.
    """
    x, y = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (x, y))
    if x.shape != y.shape:
        raise ValueError(f"sets of equal size are compared, not {x.shape} and {y.shape}")
    directions = np.random.default_rng(seed).standard_normal((x.shape[1], projections))
    directions /= np.linalg.norm(directions, axis=0)
    return float(np.abs(np.sort(x @ directions, axis=0) - np.sort(y @ directions, axis=0)).mean())
