"""The Frechet distance against closed forms and SciPy's matrix root, and its errors against simulation."""

import numpy as np
import pytest
import scipy.linalg

from metrics import frechet
from metrics.frechet import (
    Moments,
    combined,
    covariance_root,
    distance_and_influence,
    extrapolated,
    frechet_distance,
    moments,
    standard_error,
)


def _features(count, dimensions, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).standard_normal((dimensions, dimensions)) / np.sqrt(dimensions)
    return rng.standard_normal((count, dimensions)) @ mix + shift


def _by_sqrtm(real, generated):
    """Heusel et al. 2017's formula as it stands in TTUR and pytorch-fid."""
    a, b = np.cov(real, rowvar=False), np.cov(generated, rowvar=False)
    root = scipy.linalg.sqrtm(a @ b).real
    squares = np.sum((real.mean(axis=0) - generated.mean(axis=0)) ** 2)
    return squares + np.trace(a) + np.trace(b) - 2 * np.trace(root)


def _by_singular_values(real, generated):
    """The same from the features: tr (S_a^1/2 S_b S_a^1/2)^1/2 is the sum of singular values of X_a X_b'."""
    centered = [(x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (real, generated)]
    overlap = np.linalg.svd(centered[0] @ centered[1].T, compute_uv=False).sum()
    squares = np.sum((real.mean(axis=0) - generated.mean(axis=0)) ** 2)
    return squares + sum((x**2).sum() for x in centered) - 2 * overlap


def _constant(x):
    x[:, ::3] = 0.25
    return x


CASES = {
    "full rank": (_features(400, 24, 0), _features(300, 24, 1, 0.2)),
    "fewer than dimensions": (_features(60, 96, 0), _features(40, 96, 1, 0.2)),
    "constant columns": (_constant(_features(400, 24, 0)), _constant(_features(300, 24, 1, 0.2))),
    "doubled columns": tuple(np.repeat(_features(300, 16, seed), 2, axis=1) for seed in (0, 1)),
    "one direction": tuple(_features(50, 1, seed) @ np.ones((1, 20)) for seed in (0, 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_distance_is_that_of_the_features_singular_values(case):
    real, generated = CASES[case]
    found = frechet_distance(moments(real), moments(generated))
    assert found == pytest.approx(_by_singular_values(real, generated), abs=1e-6, rel=1e-7)
    root = covariance_root(np.cov(real, rowvar=False))
    assert frechet_distance(moments(real), moments(generated), root) == pytest.approx(found, abs=1e-6)
    swapped = frechet_distance(moments(generated), moments(real))
    assert swapped == pytest.approx(found, abs=1e-6)


def test_distance_is_heusels():
    # Of full rank alone: SciPy's root of a singular product is NaN in some versions.
    real, generated = CASES["full rank"]
    expected = _by_sqrtm(real, generated)
    assert frechet_distance(moments(real), moments(generated)) == pytest.approx(expected, abs=1e-6, rel=1e-6)


def test_distance_of_gaussians_with_diagonal_covariances():
    rng = np.random.default_rng(0)
    means, deviations = rng.standard_normal((2, 30)), rng.uniform(0.0, 2.0, (2, 30))
    a, b = (Moments(m, np.diag(s**2), 1000) for m, s in zip(means, deviations, strict=True))
    expected = np.sum((means[0] - means[1]) ** 2) + np.sum((deviations[0] - deviations[1]) ** 2)
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-10)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-10)


def test_a_singular_product_of_many_dimensions_has_no_rounding_of_its_own():
    # Roots of positive roundings alone would add up to 1e-6.
    real, generated = _features(300, 250, 0), _features(20, 250, 1)
    exact = _by_singular_values(real, generated)
    assert frechet_distance(moments(real), moments(generated)) == pytest.approx(exact, abs=1e-8)


def test_moments_by_parts_are_those_of_all(monkeypatch):
    # Far from zero: sums of squares would lose eight digits.
    features = 1e4 + _features(1000, 12, 0)
    parts = [moments(part) for part in np.split(features, [2, 10, 700])]
    monkeypatch.setattr(frechet, "BLOCK", 64)
    for found in (combined(parts), moments(features)):
        assert found.count == 1000
        np.testing.assert_allclose(found.mean, features.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(found.covariance, np.cov(features, rowvar=False), rtol=1e-9, atol=1e-10)


def test_float32_features_lose_nothing_to_float32_sums():
    features = (100 + _features(20_000, 4, 0)).astype(np.float32)
    np.testing.assert_allclose(
        moments(features).covariance, np.cov(features.astype(np.float64), rowvar=False), rtol=1e-10
    )


def test_what_has_no_covariance_is_refused():
    with pytest.raises(ValueError, match="2 examples"):
        moments(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="3 and of 4 dimensions"):
        frechet_distance(moments(_features(9, 3, 0)), moments(_features(9, 4, 0)))


@pytest.mark.parametrize("case", ["full rank", "fewer than dimensions", "constant columns"])
def test_influence_is_the_derivative_in_an_example_s_weight(case):
    real, generated = CASES[case]
    reference = moments(real)
    distance, influence = distance_and_influence(reference, moments(generated), generated)
    assert distance == pytest.approx(frechet_distance(reference, moments(generated)), abs=1e-6)

    def weighted(example, step):
        weights = np.full(len(generated), (1 - step) / len(generated))
        weights[example] += step
        mean = weights @ generated
        covariance = (generated - mean).T @ ((generated - mean) * weights[:, None])
        scale = len(generated) / (len(generated) - 1)
        return frechet_distance(reference, Moments(mean, covariance * scale, len(generated)))

    # The derivative of the unbiased covariance's weights is the influence to 1 / N.
    for example in (0, 7, 23):
        slope = (weighted(example, 1e-4) - weighted(example, -1e-4)) / 2e-4
        assert slope == pytest.approx(influence[example], rel=0.01, abs=0.05 * np.abs(influence).max())


def test_standard_error_is_the_deviation_of_repeated_draws():
    rng, found = np.random.default_rng(0), []
    reference = Moments(np.zeros(4), np.eye(4), 10**6)
    for _ in range(300):
        y = 0.3 + 1.3 * rng.standard_normal((400, 4))
        distance, influence = distance_and_influence(reference, moments(y), y)
        found.append((distance, standard_error(influence)))
    distances, errors = np.array(found).T
    # 300 draws tell a deviation to 4%; the infinitesimal jackknife is about 10% too large here.
    assert 0.9 < np.sqrt(np.mean(errors**2)) / distances.std() < 1.25
    covered = np.mean(np.abs(distances - distances.mean()) < 1.96 * errors)
    assert 0.92 < covered <= 1


def test_standard_error_agrees_with_the_bootstrap():
    real, generated = CASES["full rank"]
    reference, rng = moments(real), np.random.default_rng(0)
    _, influence = distance_and_influence(reference, moments(generated), generated)
    drawn = [
        frechet_distance(reference, moments(generated[rng.integers(0, len(generated), len(generated))]))
        for _ in range(300)
    ]
    assert standard_error(influence) == pytest.approx(np.std(drawn), rel=0.15)


def test_extrapolation_takes_the_bias_away_and_its_interval_covers_the_truth():
    rng, found, biased = np.random.default_rng(0), [], []
    reference = Moments(np.zeros(8), np.eye(8), 10**6)
    truth = 8 * (0.3**2 + 0.2**2)
    for repeat in range(200):
        y = 0.3 + 1.2 * rng.standard_normal((400, 8))
        distance, influence = distance_and_influence(reference, moments(y), y)
        entry = extrapolated(reference, y, influence, seed=repeat)
        found.append((entry["value"], entry["standard_error"]))
        biased.append(distance)
    values, errors = np.array(found).T
    standing = np.std(values) / np.sqrt(len(values))
    assert abs(values.mean() - truth) < 4 * standing < np.mean(biased) - truth
    assert 0.9 < np.mean(np.abs(values - truth) < 1.96 * errors) < 0.99
