"""The mixture's closed forms against autodiff, SciPy, Monte Carlo and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from denoisers.gaussian_mixture import GaussianMixture, LowRankPlusDiagonal
from denoisers.mixtures import MIXTURES, Digits, Images, OneGaussian, Ring, TwoMoons
from sde_lib import SDES

CASES = {
    "gaussian": OneGaussian(dimension=5),
    "two_moons": TwoMoons(),
    "ring": Ring(),
    "digits": Digits(components=3),
    "images": Images(side=4, rank=5),
}
each_sde = pytest.mark.parametrize("name", SDES)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def _random(structure, shape=(2, 3, 1), components=3, seed=0):
    """A mixture with random means and covariances, and its dense covariances from NumPy."""
    rng, d = np.random.default_rng(seed), int(np.prod(shape))
    weights, means = np.array([0.2, 0.5, 0.3]), rng.standard_normal((components, d))
    if structure == "full":
        roots = rng.standard_normal((components, d, d))
        dense = roots @ roots.transpose(0, 2, 1) + 0.05 * np.eye(d)
        return GaussianMixture.full(weights, means, dense, shape), dense
    variances = rng.uniform(0.05, 1.0, (components, d))
    dense = np.stack([np.diag(v) for v in variances])
    if structure == "diagonal":
        return GaussianMixture.diagonal(weights, means, variances, shape), dense
    factors = rng.standard_normal((components, d, 2))
    dense = dense + factors @ factors.transpose(0, 2, 1)
    return GaussianMixture.low_rank(weights, means, factors, variances, shape), dense


each_structure = pytest.mark.parametrize("structure", ["full", "diagonal", "low_rank"])


def _points(mixture, sde, count=4):
    """x_t over the whole range of noise levels, and its times."""
    ends = sde.log_snr(jnp.asarray([sde.t_min, sde.t_max]))
    share = jnp.linspace(0.0, 1.0, count)
    t = jnp.clip(sde.time_of_log_snr(ends[0] + share * (ends[1] - ends[0])), sde.t_min, sde.t_max)
    mean, std = sde.marginal(mixture.sample(jax.random.key(0), count), t)
    return mean + std * jax.random.normal(jax.random.key(1), mean.shape), t


@each_structure
@pytest.mark.parametrize(("alpha", "sigma"), [(1.0, 0.0), (0.7, 0.4), (0.01, 1.0)])
def test_log_density_agrees_with_scipy(structure, alpha, sigma, float64):
    mixture, dense = _random(structure)
    x = np.random.default_rng(1).standard_normal((5, 2, 3, 1))
    weights, means = np.exp(mixture.log_weights), np.asarray(mixture.means)
    density = sum(
        w * multivariate_normal(alpha * m, alpha**2 * c + sigma**2 * np.eye(6)).pdf(x.reshape(5, 6))
        for w, m, c in zip(weights, means, dense, strict=True)
    )
    np.testing.assert_allclose(mixture.log_prob(jnp.asarray(x), alpha, sigma), np.log(density), rtol=1e-10)
    np.testing.assert_allclose(mixture.covariances.dense(), dense, rtol=1e-10, atol=1e-12)


@each_structure
def test_predictions_are_bayes_rule_with_dense_matrices(structure, float64):
    mixture, dense = _random(structure)
    sde, t = SDES["vp"](), jnp.full(5, 0.35)
    x = jnp.asarray(np.random.default_rng(1).standard_normal((5, 2, 3, 1)))
    a, s = float(sde.alpha(t[0])), float(sde.sigma(t[0]))
    flat, means = np.asarray(x).reshape(5, 6), np.asarray(mixture.means)
    x0, variance = np.zeros((5, 6)), np.zeros((5, 6))
    parts = []
    for w, m, c in zip(np.exp(mixture.log_weights), means, dense, strict=True):
        total = a**2 * c + s**2 * np.eye(6)
        gain = a * c @ np.linalg.inv(total)
        parts.append(
            (
                w * multivariate_normal(a * m, total).pdf(flat),
                m + (flat - a * m) @ gain.T,
                np.diag(c - a * gain @ c),
            )
        )
    total = sum(p for p, _, _ in parts)
    for p, mean, _ in parts:
        x0 += (p / total)[:, None] * mean
    for p, mean, inside in parts:
        variance += (p / total)[:, None] * (inside + (mean - x0) ** 2)
    found = mixture.denoise(sde, x, t)
    np.testing.assert_allclose(found.x0.reshape(5, 6), x0, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.x0_variance.reshape(5, 6), variance, rtol=1e-10, atol=1e-12)


# What a process gives the mixture is alpha and sigma alone: the costly cases see three of them.
PAIRS = [(case, name) for case in CASES for name in SDES if case not in ("digits", "images")]
PAIRS += [(case, name) for case in ("digits", "images") for name in ("vp", "ve", "rectified_flow")]


@pytest.mark.parametrize(("case", "name"), PAIRS)
def test_score_tweedie_and_posterior_variance(case, name, float64):
    mixture, sde = CASES[case].build(), SDES[name]()
    x, t = _points(mixture, sde)
    flat = x.reshape(len(x), -1)

    def log_p(x, alpha, sigma):
        return mixture.log_prob(x.reshape(1, *mixture.shape), alpha, sigma)[0]

    def derivatives(x, alpha, sigma):
        hessian = jax.jacfwd(jax.grad(log_p))(x, alpha, sigma)
        return jax.grad(log_p)(x, alpha, sigma), jnp.diagonal(hessian)

    alpha, sigma = sde.alpha(t), sde.sigma(t)
    gradient, curvature = jax.jit(jax.vmap(derivatives))(flat, alpha, sigma)
    found = jax.jit(lambda x, t: mixture.denoise(sde, x, t))(x, t)
    a, s = alpha[:, None], sigma[:, None]
    score = found.score.reshape(flat.shape)
    np.testing.assert_allclose(score, gradient, rtol=1e-10, atol=1e-10 * float(jnp.abs(gradient).max()))
    # Tweedie: E[x_0 | x_t] = (x_t + sigma^2 score) / alpha, compared where it does not cancel.
    np.testing.assert_allclose(
        a * found.x0.reshape(flat.shape) - s**2 * gradient, flat, rtol=1e-8, atol=1e-10
    )
    # Var[x_0 | x_t] = sigma^2/alpha^2 (1 + sigma^2 d^2 log p); at high noise the sum cancels.
    identity = (s / a) ** 2 * (1 + s**2 * curvature)
    slack = 1e-8 * found.x0_variance.reshape(flat.shape) + 1e-14 * (s / a) ** 2
    assert jnp.all(jnp.abs(identity - found.x0_variance.reshape(flat.shape)) < slack)


@each_structure
def test_samples_have_the_moments(structure, float64):
    mixture, dense = _random(structure)
    count = 60_000
    x = np.asarray(mixture.sample(jax.random.key(3), count)).reshape(count, 6)
    weights, means = np.exp(mixture.log_weights), np.asarray(mixture.means)
    mean = weights @ means
    covariance = np.einsum("k,kde->de", weights, dense + np.einsum("kd,ke->kde", means - mean, means - mean))
    spread = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(x.mean(0) - mean) < 4.5 * spread / np.sqrt(count))
    assert np.all(np.abs(np.cov(x.T) - covariance) < 5 * np.sqrt(2 / count) * np.outer(spread, spread))


def test_one_gaussian_fit_has_the_moments_of_the_data(float64):
    data = np.random.default_rng(1).standard_normal((50, 4, 1, 1)) * [[[1]], [[2]], [[3]], [[4]]]
    fitted = GaussianMixture.fit(data, noise_variance=0.1)
    flat = data.reshape(50, 4)
    np.testing.assert_allclose(fitted.covariances.dense()[0], np.cov(flat.T, bias=True) + 0.1 * np.eye(4))
    np.testing.assert_allclose(fitted.means[0], flat.mean(0), atol=1e-12)


def test_several_components_are_those_of_scikit_learn(float64):
    from sklearn.mixture import GaussianMixture as ScikitMixture

    data = np.concatenate([np.random.default_rng(0).standard_normal((300, 3)) + c for c in (-4, 0, 5)])
    fitted = GaussianMixture.fit(data, components=3)
    reference = ScikitMixture(3, random_state=0, reg_covar=1e-4).fit(data)
    np.testing.assert_allclose(fitted.log_prob(jnp.asarray(data)), reference.score_samples(data), rtol=1e-8)


@pytest.mark.parametrize("name", MIXTURES)
def test_ready_made_cases_stay_in_the_range_of_images(name):
    mixture = MIXTURES[name]().build()
    x = np.asarray(mixture.sample(jax.random.key(0), 500))
    assert x.shape == (500, *mixture.shape) and np.isfinite(x).all()
    assert 0.2 < x.std() < 1.0 and np.mean(np.abs(x) > 1.5) < 0.05


def test_an_image_mixture_of_3072_dimensions_never_forms_a_matrix_of_that_size():
    mixture, sde = Images().build(), SDES["vp"]()
    assert isinstance(mixture.covariances, LowRankPlusDiagonal) and mixture.shape == (32, 32, 3)
    x, t = jnp.zeros((4, 32, 32, 3)), jnp.full(4, 0.3)
    compiled = jax.jit(lambda x, t: mixture.denoise(sde, x, t)).lower(x, t).compile()
    sizes = compiled.memory_analysis()
    assert sizes.temp_size_in_bytes + sizes.output_size_in_bytes < 4 * 3072 * 3072


@pytest.mark.parametrize("case", [Digits(components=2), Images(side=6, rank=4), Ring()], ids=str)
def test_float32_keeps_the_digits_of_the_noise(case):
    with jax.enable_x64(True):
        double = case.build()
        sde = SDES["vp"]()
        x, t = _points(double, sde, 8)
        expected = jax.device_get(jax.jit(lambda x, t: double.denoise(sde, x, t))(x, t))
        x, t = np.asarray(x, np.float32), np.asarray(t, np.float32)
    single = double.astype(jnp.float32)
    found = jax.jit(lambda x, t: single.denoise(sde, x, t))(x, t)
    # The inputs alone are rounded to 6e-8, which eps sees divided by sigma.
    for name in ("eps", "x0"):
        slack = 2e-6 / np.asarray(expected.sigma if name == "eps" else 1.0) + 2e-3
        assert np.all(np.abs(np.asarray(getattr(found, name)) - getattr(expected, name)) < slack), name


def test_parameters_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="positive definite"):
        GaussianMixture.full([1.0], [[0.0, 0.0]], [[[1.0, 2.0], [2.0, 1.0]]])
    with pytest.raises(ValueError, match="symmetric"):
        GaussianMixture.full([1.0], [[0.0, 0.0]], [[[1.0, 0.9], [-0.9, 1.0]]])
    with pytest.raises(ValueError, match="do not fit"):
        GaussianMixture.diagonal([0.5, 0.5], [[0.0, 0.0]], [[1.0, 1.0]])
    with pytest.raises(ValueError, match="components=0"):
        Ring(components=0)
    with pytest.raises(ValueError, match="components=5"):
        TwoMoons(components=5)
