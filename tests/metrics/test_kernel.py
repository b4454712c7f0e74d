"""KID against scikit-learn's kernel, its own definition, and simulation."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from metrics.kernel import kernel_distance, squared_discrepancy

RNG = np.random.default_rng(0)
REAL, GENERATED = RNG.standard_normal((60, 9)), 0.2 + RNG.standard_normal((45, 9))


def _by_definition(x, y):
    xx, yy, xy = (polynomial_kernel(a, b, degree=3, gamma=None, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (xx, yy)]
    return sum(within) - 2 * xy.mean()


def test_discrepancy_is_that_of_scikit_learn_s_kernel():
    assert squared_discrepancy(REAL, GENERATED) == pytest.approx(_by_definition(REAL, GENERATED), abs=1e-12)


def test_one_subset_of_all_is_the_whole_estimate():
    found = kernel_distance(REAL, GENERATED[:45], subsets=3, subset_size=1000)
    assert found["subset_size"] == 45 and found["n"] == 45 and found["n_reference"] == 60
    same = kernel_distance(REAL[:45], GENERATED, subsets=3)
    assert same["value"] == pytest.approx(_by_definition(REAL[:45], GENERATED), abs=1e-12)
    assert same["standard_deviation"] == pytest.approx(0, abs=1e-12)


def test_estimate_is_unbiased_and_its_interval_covers_the_truth():
    # In one dimension with unit variances: E(xy + 1)^3 for x, y of means a, b is 1 + 3ab + 3(1+a^2)(1+b^2) +
    # (3a + a^3)(3b + b^3).
    def mean(a, b):
        return 1 + 3 * a * b + 3 * (1 + a**2) * (1 + b**2) + (3 * a + a**3) * (3 * b + b**3)

    truth = mean(0, 0) + mean(0.5, 0.5) - 2 * mean(0, 0.5)
    rng, found = np.random.default_rng(1), []
    for seed in range(200):
        x, y = rng.standard_normal((400, 1)), 0.5 + rng.standard_normal((400, 1))
        entry = kernel_distance(x, y, subsets=6, subset_size=100, seed=seed)
        found.append((entry["value"], entry["standard_error"]))
    values, errors = np.array(found).T
    assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(len(values))
    assert 0.9 < np.sqrt(np.mean(errors**2)) / values.std() < 1.3
    assert np.mean(np.abs(values - truth) < 1.96 * errors) > 0.9
