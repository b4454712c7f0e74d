"""The Gaussian's closed forms against autodiff and independent formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from sde_lib.gaussian import Gaussian
from sde_lib.subvp import SubVP
from sde_lib.ve import VE
from sde_lib.vp import VP


@pytest.fixture
def gaussian():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        data = rng.standard_normal((200, 6)) @ rng.standard_normal((6, 6)) + 0.5
        yield Gaussian.fit(data.reshape(200, 2, 3, 1))


def test_fit_has_the_moments_of_the_data():
    with jax.enable_x64(True):
        data = np.random.default_rng(1).standard_normal((50, 4, 1, 1)) * [[[1]], [[2]], [[3]], [[4]]]
        fitted = Gaussian.fit(data, noise_variance=0.1)
        covariance = fitted.axes @ jnp.diag(fitted.variances) @ fitted.axes.T
        flat = data.reshape(50, 4)
        np.testing.assert_allclose(covariance, np.cov(flat.T, bias=True) + 0.1 * np.eye(4), atol=1e-12)
        np.testing.assert_allclose(fitted.mean, flat.mean(0), atol=1e-12)


@pytest.mark.parametrize("sde", [VP(), SubVP(), VE()], ids=lambda sde: type(sde).__name__)
@pytest.mark.parametrize("t", [1e-3, 0.1, 0.9])
def test_score_is_the_gradient_of_the_log_density(sde, t, gaussian):
    alpha, sigma = sde.alpha(jnp.float64(t)), sde.sigma(jnp.float64(t))
    x = jax.random.normal(jax.random.key(0), (5, 2, 3, 1), jnp.float64)
    score = jax.grad(lambda x: gaussian.log_prob(x, alpha, sigma).sum())(x)
    found = gaussian.denoise(sde, x, jnp.full(5, t))
    np.testing.assert_allclose(sigma * found.score, sigma * score, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(x, found.alpha * found.x0 + found.sigma * found.eps, rtol=1e-10, atol=1e-12)


def test_log_density_agrees_with_scipy(gaussian):
    covariance = np.asarray(gaussian.axes @ jnp.diag(gaussian.variances) @ gaussian.axes.T)
    x = np.random.default_rng(2).standard_normal((7, 2, 3, 1))
    expected = multivariate_normal(np.asarray(gaussian.mean), covariance).logpdf(x.reshape(7, 6))
    np.testing.assert_allclose(gaussian.log_prob(jnp.asarray(x)), expected, rtol=1e-10)


def test_samples_have_the_covariance(gaussian):
    x = np.asarray(gaussian.sample(jax.random.key(3), 40_000)).reshape(-1, 6)
    covariance = np.asarray(gaussian.axes @ jnp.diag(gaussian.variances) @ gaussian.axes.T)
    error = np.abs(np.cov(x.T) - covariance)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert (error < 5 * np.sqrt(2 / 40_000) * scale).all()
