"""Standard errors by the grouped jackknife, and the intervals that standard errors give."""

import numpy as np
from scipy.special import ndtri, stdtrit

# Of the intervals.
CONFIDENCE = 0.95
# Of the examples of each set, by lot; each is left out once.
GROUPS = 20


def _quantile(degrees):
    tail = (1 + CONFIDENCE) / 2
    return float(ndtri(tail) if degrees is None else stdtrit(degrees, tail))


def symmetric(value, error, degrees=None):
    """[low, high] around a figure with this standard error, of so many degrees of freedom (None: known).

    >>> [round(x, 3) for x in symmetric(1.0, 0.1)]
    [0.804, 1.196]
    """
    reach = _quantile(degrees) * error
    return [value - reach, value + reach]


def of_part(value, error, count, degrees=None):
    """[low, high] within [0, 1] of a figure that is a part of `count` examples (Wilson 1927).

    Where the examples are not independent the count is that of independent ones with the same error. Of none
    or all of them it is at most their own, and the error that of a part which is not quite 0 or 1 (Agresti &
    Coull 1998). An error of 0 says nothing: the count is then the examples' own.

    >>> [round(x, 3) for x in of_part(0.0, 0.0, 300)]
    [0.0, 0.013]
    """
    square = _quantile(degrees if error > 0 else None) ** 2
    if error > 0:
        within = value if 0 < value < 1 else (value * count + square / 2) / (count + square)
        alike = within * (1 - within) / error**2
        count = alike if within == value else min(count, alike)
    square /= count
    middle, reach = value + square / 2, np.sqrt(square * value * (1 - value) + square**2 / 4)
    low, high = ((middle + sign * reach) / (1 + square) for sign in (-1, 1))
    # Rounding leaves the ends of [0, 1] by an ulp to either side.
    return [0.0 if value == 0 else float(low), 1.0 if value == 1 else float(high)]


def groups(count, seed=0):
    """[count] the group of GROUPS that each example is in, by lot: an order has classes or days in it."""
    return np.random.default_rng(seed).permutation(count) % GROUPS


def jackknife(figures):
    """The standard error of a figure from those with one group left out, [GROUPS] (Efron & Stein 1981).

    >>> figures = [np.delete(np.arange(20.0), j).mean() for j in range(20)]
    >>> round(jackknife(figures) - np.std(np.arange(20.0), ddof=1) / np.sqrt(20), 12)
    0.0
    """
    figures = np.asarray(figures, np.float64)
    return float(np.sqrt((len(figures) - 1) * np.mean((figures - figures.mean()) ** 2)))
