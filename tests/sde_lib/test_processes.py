"""Every forward process against its defining equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_lib.subvp import SubVP
from sde_lib.ve import VE
from sde_lib.vp import VP

PROCESSES = [VP(), VP(beta_min=0.5, beta_max=8.0), SubVP(), VE(), VE(sigma_min=0.02, sigma_max=9.0)]
each_process = pytest.mark.parametrize("sde", PROCESSES, ids=lambda sde: type(sde).__name__)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def _times(sde, count=200):
    return jnp.geomspace(sde.t_min, sde.t_max, count)


def _derivative(function, t):
    return jax.vmap(jax.grad(function))(t)


@each_process
def test_drift_and_diffusion_are_derivatives_of_alpha_and_sigma(sde, float64):
    t = _times(sde)
    f = _derivative(lambda t: jnp.log(sde.alpha(t)), t)
    g2 = _derivative(lambda t: sde.sigma(t) ** 2, t) - 2 * f * sde.sigma(t) ** 2
    np.testing.assert_allclose(sde.drift_rate(t), f, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(sde.diffusion(t) ** 2, g2, rtol=1e-9)


@each_process
def test_the_base_class_derives_the_same_drift_and_diffusion(sde, float64):
    from sde_lib.base import SDE

    t = _times(sde)
    np.testing.assert_allclose(SDE.drift_rate(sde, t), sde.drift_rate(t), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(SDE.diffusion(sde, t), sde.diffusion(t), rtol=1e-9)


@each_process
def test_log_snr_decreases_and_its_inverse_returns_the_time(sde, float64):
    t = _times(sde)
    np.testing.assert_allclose(
        sde.log_snr(t), 2 * jnp.log(sde.alpha(t) / sde.sigma(t)), rtol=1e-10, atol=1e-9
    )
    assert jnp.all(jnp.diff(sde.log_snr(t)) < 0)
    np.testing.assert_allclose(sde.time_of_log_snr(sde.log_snr(t)), t, rtol=1e-9)


@each_process
def test_transitions_compose(sde, float64):
    s, t, u = 0.1, 0.4, 0.9
    scale_ts, std_ts = sde.transition(t, s)
    scale_ut, std_ut = sde.transition(u, t)
    scale_us, std_us = sde.transition(u, s)
    np.testing.assert_allclose(scale_us, scale_ut * scale_ts, rtol=1e-12)
    np.testing.assert_allclose(std_us**2, std_ut**2 + (scale_ut * std_ts) ** 2, rtol=1e-12)
    np.testing.assert_allclose(sde.sigma(t) ** 2, std_ts**2 + (scale_ts * sde.sigma(s)) ** 2, rtol=1e-12)


@each_process
def test_posterior_is_bayes_rule(sde, float64):
    s, t = jnp.array([0.3]), jnp.array([0.7])
    x0, xt = jnp.array([[0.4]]), jnp.array([[-1.2]])
    # Bayes: precision-weighted product of x_s | x_0 and of x_t | x_s.
    scale, std = sde.transition(t, s)
    precision = 1 / sde.sigma(s) ** 2 + (scale / std) ** 2
    mean = (sde.alpha(s) * x0 / sde.sigma(s) ** 2 + scale * xt / std**2) / precision
    found_mean, found_std = sde.posterior(x0, xt, s, t)
    np.testing.assert_allclose(found_mean, mean, rtol=1e-11)
    np.testing.assert_allclose(found_std.ravel(), precision**-0.5, rtol=1e-11)


@each_process
def test_float32_near_the_ends_keeps_four_digits(sde):
    t = np.concatenate([np.geomspace(sde.t_min, 1e-2, 50), 1 - np.geomspace(1e-6, 1e-2, 50)]).astype(
        np.float32
    )
    names = ("alpha", "sigma", "log_snr", "drift_rate", "diffusion")
    single = {name: np.asarray(getattr(sde, name)(jnp.asarray(t))) for name in names}
    long = t[t > 1e-3]
    halving = np.asarray(sde.transition(jnp.asarray(long), jnp.asarray(long / 2))[1])
    with jax.enable_x64(True):
        wide = jnp.asarray(t, jnp.float64)
        for name, values in single.items():
            np.testing.assert_allclose(values, getattr(sde, name)(wide), rtol=1e-4, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(single["sigma"], sde.sigma(wide), rtol=1e-4)
        wide = jnp.asarray(long, jnp.float64)
        np.testing.assert_allclose(halving, sde.transition(wide, wide / 2)[1], rtol=1e-4)


@each_process
def test_marginals_agree_with_simulating_the_sde(sde):
    with jax.enable_x64(True):
        count, steps, x0 = 20_000, 2_000, 0.7
        grid = np.linspace(0, 0.6, steps + 1)
        rng, h = np.random.default_rng(0), grid[1]
        mid = jnp.asarray(grid[:-1] + h / 2)
        f, g = np.asarray(sde.drift_rate(mid)), np.asarray(sde.diffusion(mid))
        start = float(sde.sigma(jnp.asarray(0.0)))
        x = x0 + start * rng.standard_normal(count)
        for i in range(steps):
            x = x * (1 + h * f[i]) + np.sqrt(h) * g[i] * rng.standard_normal(count)
        mean, std = (float(m.ravel()[0]) for m in sde.marginal(jnp.full((1, 1), x0), jnp.array([0.6])))
    # Four standard errors, and 0.2% for the simulation's own step.
    assert abs(x.mean() - mean) < 4 * std / np.sqrt(count) + 2e-3 * abs(mean)
    assert abs(x.std() - std) < 4 * std / np.sqrt(2 * count) + 2e-3 * std


@each_process
def test_prior_density_is_that_of_its_samples(sde):
    from scipy.stats import norm

    x = sde.prior_sample(jax.random.key(0), (500, 4, 4, 2))
    assert abs(float(x.std()) / sde.prior_std - 1) < 4 / np.sqrt(2 * x.size)
    expected = norm(scale=sde.prior_std).logpdf(np.asarray(x)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(sde.prior_log_prob(x), expected, rtol=1e-5)
    assert abs(float(sde.sigma(1.0)) / sde.prior_std - 1) < 1e-4 or sde.beta_max < 10


@pytest.mark.parametrize("fields", [{"beta_min": 3.0, "beta_max": 2.0}, {"t_min": 0.0}, {"t_min": 1.5}])
def test_impossible_parameters_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        VP(**fields)
