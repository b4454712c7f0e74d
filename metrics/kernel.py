"""The kernel distance, KID: the squared maximum mean discrepancy of a polynomial kernel.

    k(x, y) = (x.y / D + 1)^3        (Binkowski et al. 2018, section 4)

Its estimate is unbiased at any number of examples, so it may be negative.
"""

import numpy as np


def _kernel(x, y):
    base = x @ y.T / x.shape[1] + 1
    # A power of an array costs more than the product of matrices before it.
    return base * base * base


def _parts(real, generated):
    """(estimate, [N] and [M] projections of the examples of each side on the estimate)."""
    real, generated = (np.asarray(a, np.float64) for a in (real, generated))
    within = []
    for own in (real, generated):
        k = _kernel(own, own)
        within.append((k.sum(axis=1) - np.diagonal(k)) / (len(own) - 1))
    across = _kernel(real, generated)
    projections = within[0] - across.mean(axis=1), within[1] - across.mean(axis=0)
    return within[0].mean() + within[1].mean() - 2 * across.mean(), projections


def squared_discrepancy(real, generated):
    """The unbiased estimate of all examples at once (Gretton et al. 2012, eq. 3).

    Args:
      real: [N, D]; generated: [M, D]; two or more each.

    >>> x = np.array([[0.0], [1.0]])
    >>> float(squared_discrepancy(x, x))
    -3.5
    """
    return _parts(real, generated)[0]


def kernel_distance(real, generated, subsets=100, subset_size=1000, seed=0):
    """KID as published: the mean over random subsets of each set, and the standard deviation over them.

    The standard deviation is that of a figure of `subset_size` examples. The standard error is of the mean:
    it adds the variance of each side's projections (Hoeffding 1948), over all of its examples, and what
    so many subsets leave to chance.

    Args:
      real: [N, D]; generated: [M, D]; two or more each.
      subset_size: cut to the smaller of the sets.

    Returns:
      {"value", "standard_error", "standard_deviation", "subsets", "subset_size", "n", "n_reference"}.
    """
    size = min(subset_size, len(real), len(generated))
    rng = np.random.default_rng(seed)
    values, variances = [], []
    for _ in range(subsets):
        chosen = [a[rng.choice(len(a), size, replace=False)] for a in (real, generated)]
        value, projections = _parts(*chosen)
        values.append(value)
        variances.append([projection.var(ddof=1) for projection in projections])
    of_real, of_generated = np.mean(variances, axis=0)
    variance = 4 * of_real / len(real) + 4 * of_generated / len(generated)
    return {
        "value": float(np.mean(values)),
        "standard_error": float(np.sqrt(variance + np.var(values) / subsets)),
        "standard_deviation": float(np.std(values)),
        "subsets": subsets,
        "subset_size": size,
        "n": len(generated),
        "n_reference": len(real),
    }


def figure(reference, generated, seed=0):
    """The entry of KID of two FeatureSets; its standard error is of both."""
    return kernel_distance(reference.features, generated.features, seed=seed)
