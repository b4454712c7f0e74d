"""Every forward process against its defining equations."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components import ConfigError
from configs import base
from denoisers.mixtures import Ring, TwoMoons
from sde_lib import SDES, create
from sde_lib.base import SDE
from sde_lib.cosine import Cosine, InterpolatedCosine, ShiftedCosine
from sde_lib.discrete import DDPM, SMLD, ImprovedDDPM
from sde_lib.edm import EDM
from sde_lib.rectified_flow import RectifiedFlow
from sde_lib.subvp import SubVP
from sde_lib.ve import VE
from sde_lib.vp import VP

OTHERS = {
    "vp, other betas": VP(beta_min=0.5, beta_max=8.0),
    "ve, other sigmas": VE(sigma_min=0.02, sigma_max=9.0),
    "cosine, other ends": Cosine(log_snr_min=-10.0, log_snr_max=12.0),
    "interpolated, far": InterpolatedCosine(image_side=512, noise_side_low=32, noise_side_high=256),
    "ddpm, 100 levels": DDPM(noise_levels=100),
    "smld, 10 levels": SMLD(noise_levels=10, sigma_min=0.01, sigma_max=1.0),
}
PROCESSES = {name: cls() for name, cls in SDES.items()} | OTHERS
each_process = pytest.mark.parametrize("sde", PROCESSES.values(), ids=PROCESSES)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def _times(sde, count=200):
    """Times from t_min to t_max, denser near both ends, none at a kink of a discrete schedule."""
    low, high = np.geomspace(1e-7, 0.5, count // 2), 1 - np.geomspace(1e-7, 0.5, count // 2)
    share = np.unique(np.concatenate([[0.0], low, high, [1.0]]))
    t = sde.t_min + share * (sde.t_max - sde.t_min)
    if sde.noise_levels:
        t = t[np.abs(t * sde.noise_levels - np.round(t * sde.noise_levels)) > 1e-9]
    return jnp.asarray(t)


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
    t = _times(sde)
    np.testing.assert_allclose(SDE.drift_rate(sde, t), sde.drift_rate(t), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(SDE.diffusion(sde, t), sde.diffusion(t), rtol=1e-9)


@each_process
def test_log_snr_decreases_and_its_inverse_returns_the_time(sde, float64):
    t = _times(sde)
    expected = 2 * jnp.log(sde.alpha(t) / sde.sigma(t))
    np.testing.assert_allclose(sde.log_snr(t), expected, rtol=1e-10, atol=1e-9)
    assert jnp.all(jnp.diff(sde.log_snr(t)) < 0)
    np.testing.assert_allclose(sde.time_of_log_snr(sde.log_snr(t)), t, rtol=1e-9)


@each_process
def test_transitions_compose(sde, float64):
    # Far apart, across the switch between the two forms of the log-SNR's drop, and close together.
    for s, t, u in ((0.1, 0.4, 0.9), (0.3, 0.301, 0.35), (0.5, 0.500001, 0.500003), (0.0, 1e-5, 0.01)):
        s, t, u = (sde.t_min + q * (sde.t_max - sde.t_min) for q in (s, t, u))
        scale_ts, std_ts = sde.transition(t, s)
        scale_ut, std_ut = sde.transition(u, t)
        scale_us, std_us = sde.transition(u, s)
        np.testing.assert_allclose(scale_us, scale_ut * scale_ts, rtol=1e-12)
        np.testing.assert_allclose(std_us**2, std_ut**2 + (scale_ut * std_ts) ** 2, rtol=1e-12)
        np.testing.assert_allclose(sde.alpha(t), scale_ts * sde.alpha(s), rtol=1e-12)
        np.testing.assert_allclose(sde.sigma(t) ** 2, std_ts**2 + (scale_ts * sde.sigma(s)) ** 2, rtol=1e-12)


@each_process
def test_posterior_is_bayes_rule(sde, float64):
    s, t = (jnp.array([sde.t_min + q * (sde.t_max - sde.t_min)]) for q in (0.3, 0.7))
    x0, xt = jnp.array([[0.4]]), jnp.array([[-1.2]])
    # Bayes: precision-weighted product of x_s | x_0 and of x_t | x_s.
    scale, std = sde.transition(t, s)
    precision = 1 / sde.sigma(s) ** 2 + (scale / std) ** 2
    mean = (sde.alpha(s) * x0 / sde.sigma(s) ** 2 + scale * xt / std**2) / precision
    found_mean, found_std = sde.posterior(x0, xt, s, t)
    np.testing.assert_allclose(found_mean, mean, rtol=1e-11)
    np.testing.assert_allclose(found_std.ravel(), precision**-0.5, rtol=1e-11)


@each_process
@pytest.mark.parametrize("step", [1e-3, 1e-2, 0.1, 0.5])
def test_float32_keeps_four_digits_near_t_min_and_everywhere(sde, step):
    t = np.geomspace(sde.t_min, sde.t_max, 300).astype(np.float32)
    if not sde.noise_levels:
        t = np.concatenate([t, 1 - np.geomspace(1e-4, 1e-2, 50).astype(np.float32)])
    s = np.maximum(t * np.float32(1 - step), np.float32(sde.t_min))
    s, t = s[s < t], t[s < t]
    names = ("alpha", "sigma", "log_snr", "drift_rate", "diffusion")

    def everything(s, t):
        return [*(getattr(sde, name)(t) for name in names), *sde.transition(t, s)]

    single = jax.jit(everything)(s, t)
    with jax.enable_x64(True):
        double = jax.jit(everything)(*(jnp.asarray(x, jnp.float64) for x in (s, t)))
        for name, one, two in zip((*names, "scale", "std"), single, double, strict=True):
            # The log-SNR goes through zero, where its absolute error counts.
            slack = 1e-5 if name == "log_snr" else 0.0
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=slack, err_msg=name)


@each_process
def test_marginals_agree_with_simulating_the_sde(sde):
    count, steps, x0 = 20_000, 4_000, 0.7
    # Even steps in log-SNR resolve the singular ends; Heun's rule for the drift, the midpoint for the noise.
    with jax.enable_x64(True):
        ends = sde.log_snr(jnp.asarray([sde.t_min, sde.t_min + 0.9 * (sde.t_max - sde.t_min)]))
        times = sde.time_of_log_snr(jnp.linspace(*ends, steps + 1))
        middle = (times[1:] + times[:-1]) / 2
        h, t = np.diff(times), float(times[-1])
        f, g = np.asarray(sde.drift_rate(middle)), np.asarray(sde.diffusion(middle))
        alpha, sigma = float(sde.alpha(times[0])), float(sde.sigma(times[0]))
        mean, std = (float(m.ravel()[0]) for m in sde.marginal(jnp.full((1, 1), x0), jnp.array([t])))
    rng = np.random.default_rng(0)
    x = alpha * x0 + sigma * rng.standard_normal(count)
    for i in range(steps):
        middle = x * (1 + 0.5 * h[i] * f[i])
        x = x + h[i] * f[i] * middle + np.sqrt(h[i]) * g[i] * rng.standard_normal(count)
    # Four standard errors, and 0.3% for the simulation's own steps.
    assert abs(x.mean() - mean) < 4 * std / np.sqrt(count) + 3e-3 * abs(mean)
    assert abs(x.std() - std) < 4 * std / np.sqrt(2 * count) + 3e-3 * std


@pytest.mark.parametrize(
    ("sde", "case"),
    [*((sde, Ring()) for sde in PROCESSES.values()), *((PROCESSES[name], TwoMoons()) for name in SDES)],
    ids=[*(f"{name}-ring" for name in PROCESSES), *(f"{name}-moons" for name in SDES)],
)
def test_the_mixture_density_solves_the_fokker_planck_equation(sde, case, float64):
    # d log p/dt = -div(f x) - f x . grad log p + g^2/2 (laplacian log p + |grad log p|^2)
    mixture = case.build()
    points = 24
    share = jnp.linspace(0.003, 0.997, points)
    log_snr = sde.log_snr(jnp.asarray([sde.t_min, sde.t_max]))
    t = sde.time_of_log_snr(log_snr[0] + share * (log_snr[1] - log_snr[0]))
    x0 = mixture.sample(jax.random.key(0), points)
    mean, std = sde.marginal(x0, t)
    x = mean + std * jax.random.normal(jax.random.key(1), x0.shape)

    def log_p(x, t):
        return mixture.log_prob(x[None], sde.alpha(t), sde.sigma(t))[0]

    def terms(x, t):
        gradient = jax.grad(log_p)(x, t)
        laplacian = jnp.trace(jax.hessian(log_p)(x, t))
        f, half_g2 = sde.drift_rate(t), 0.5 * sde.diffusion(t) ** 2
        right = (-2 * f, -f * x @ gradient, half_g2 * laplacian, half_g2 * gradient @ gradient)
        return jax.grad(log_p, argnums=1)(x, t), jnp.stack(right)

    left, right = jax.jit(jax.vmap(terms))(x, t)
    scale = jnp.abs(left) + jnp.abs(right).sum(axis=1)
    assert jnp.all(jnp.abs(left - right.sum(axis=1)) < 1e-8 * scale)


@each_process
def test_prior_density_is_that_of_its_samples(sde):
    from scipy.stats import norm

    x = sde.prior_sample(jax.random.key(0), (500, 4, 4, 2))
    assert abs(float(x.std()) / sde.prior_std - 1) < 4 / np.sqrt(2 * x.size)
    expected = norm(scale=sde.prior_std).logpdf(np.asarray(x)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(sde.prior_log_prob(x), expected, rtol=1e-5)


@pytest.mark.parametrize("name", SDES)
def test_the_prior_is_the_marginal_of_data_at_t_max(name):
    sde = SDES[name]()
    variance = float(sde.alpha(sde.t_max)) ** 2 * 0.25 + float(sde.sigma(sde.t_max)) ** 2
    assert abs(math.sqrt(variance) / sde.prior_std - 1) < 1e-3


# alpha and sigma of the papers, written anew in NumPy.
PUBLISHED = {
    "vp": (
        lambda t: np.exp(-0.25 * t**2 * 19.9 - 0.05 * t),
        lambda t: np.sqrt(1 - np.exp(-0.5 * t**2 * 19.9 - 0.1 * t)),
    ),
    "subvp": (
        lambda t: np.exp(-0.25 * t**2 * 19.9 - 0.05 * t),
        lambda t: 1 - np.exp(-0.5 * t**2 * 19.9 - 0.1 * t),
    ),
    "ve": (np.ones_like, lambda t: 0.01 * 5000**t),
    "edm": (np.ones_like, lambda t: t),
    "rectified_flow": (lambda t: 1 - t, lambda t: t),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_alpha_and_sigma_are_the_published_ones(name, float64):
    sde, t = SDES[name](), np.linspace(0.02, 0.98, 49)
    alpha, sigma = PUBLISHED[name]
    np.testing.assert_allclose(sde.alpha(jnp.asarray(t)), alpha(t), rtol=1e-12)
    np.testing.assert_allclose(sde.sigma(jnp.asarray(t)), sigma(t), rtol=1e-12)


def test_cosines_are_the_published_ones(float64):
    t = np.linspace(0.01, 0.99, 99)
    # Without its ends the schedule is alpha = cos(pi t / 2).
    plain = Cosine(log_snr_max=60.0, log_snr_min=-60.0)
    np.testing.assert_allclose(plain.alpha(jnp.asarray(t)), np.cos(np.pi * t / 2), rtol=1e-10)

    def with_ends(t):
        first, last = np.arctan(np.exp(-7.5)), np.arctan(np.exp(7.5))
        return -2 * np.log(np.tan(first + t * (last - first)))

    np.testing.assert_allclose(Cosine().log_snr(jnp.asarray(t)), with_ends(t), rtol=1e-9, atol=1e-12)
    shifted = ShiftedCosine(image_side=256, noise_side=32).log_snr(jnp.asarray(t))
    np.testing.assert_allclose(shifted, with_ends(t) + 2 * np.log(32 / 256), rtol=1e-9, atol=1e-12)
    found = InterpolatedCosine(image_side=512, noise_side_low=32, noise_side_high=256).log_snr(jnp.asarray(t))
    low, high = (with_ends(t) + 2 * np.log(side / 512) for side in (32, 256))
    np.testing.assert_allclose(found, t * low + (1 - t) * high, rtol=1e-9, atol=1e-12)


def _levels(sde, index):
    t = jnp.asarray(sde.grid)[index - 1]
    return np.asarray(sde.alpha(t)), np.asarray(sde.sigma(t))


def test_discrete_schedules_are_the_papers_on_the_grid(float64):
    index = np.array([1, 2, 10, 500, 999, 1000])
    betas = np.linspace(1e-4, 0.02, 1000)
    alpha, sigma = _levels(DDPM(), index)
    products = np.cumprod(1 - betas)[index - 1]
    np.testing.assert_allclose(alpha**2, products, rtol=1e-12)
    np.testing.assert_allclose(sigma**2, 1 - products, rtol=1e-9)

    signal = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
    products = np.cumprod(1 - np.minimum(1 - signal[1:] / signal[:-1], 0.999))[index - 1]
    alpha, sigma = _levels(ImprovedDDPM(), index)
    np.testing.assert_allclose(alpha**2, products, rtol=1e-9)
    np.testing.assert_allclose(sigma**2, 1 - products, rtol=1e-9)

    alpha, sigma = _levels(SMLD(), index)
    np.testing.assert_array_equal(alpha, 1.0)
    np.testing.assert_allclose(sigma, np.geomspace(0.01, 50, 1000)[index - 1], rtol=1e-10)


def test_steps_between_levels_are_the_betas(float64):
    for sde in (DDPM(), ImprovedDDPM(noise_levels=50)):
        t = jnp.asarray(sde.grid)
        scale, std = sde.transition(t[1:], t[:-1])
        np.testing.assert_allclose(1 - scale**2, sde.betas[1:], rtol=1e-9)
        np.testing.assert_allclose(std**2, sde.betas[1:], rtol=1e-9)


def test_levels_carry_the_integers_of_published_networks():
    for count in (10, 100, 1000):
        sde = DDPM(noise_levels=count, beta_max=5.0)
        np.testing.assert_allclose(sde.index(jnp.asarray(sde.grid)), np.arange(count), atol=1e-4)
        sde = SMLD(noise_levels=count)
        np.testing.assert_allclose(sde.index(jnp.asarray(sde.grid)), np.arange(count)[::-1], atol=1e-3)


def test_many_levels_of_ddpm_tend_to_the_vp_sde(float64):
    t = jnp.linspace(0.1, 1.0, 10)
    errors = [np.abs(DDPM(noise_levels=n).log_snr(t) - VP().log_snr(t)).max() for n in (1000, 4000)]
    assert errors[0] < 0.1 and abs(errors[0] / errors[1] - 4) < 0.1


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (VP, {"beta_min": 3.0, "beta_max": 2.0}),
        (VP, {"t_min": 0.0}),
        (VP, {"t_min": 1.5}),
        (EDM, {"t_min": 90.0}),
        (VE, {"t_max": 0.5}),
        (DDPM, {"t_max": 3.0}),
        (RectifiedFlow, {"t_max": 0.9}),
        (Cosine, {"log_snr_max": 2000.0}),
        (RectifiedFlow, {"t_max": 1.0}),
        (Cosine, {"log_snr_min": 20.0}),
        (ShiftedCosine, {"noise_side": 0}),
        (InterpolatedCosine, {"noise_side_low": 128}),
        (DDPM, {"noise_levels": 1}),
        (DDPM, {"beta_max": 1000.0}),
        (SMLD, {"sigma_min": 60.0}),
    ],
)
def test_impossible_parameters_are_refused(cls, fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        cls(**fields)


def test_a_field_of_another_process_is_refused():
    config = base.get_config().sde
    config.name, config.sigma_max = "edm", 3.0
    with pytest.raises(ConfigError, match=r"sde.sigma_max .* t_max"):
        create(config)
    assert isinstance(SubVP(), SDE)
