"""Variational bounds against exact likelihoods."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from denoisers.gaussian_mixture import GaussianMixture
from denoisers.mixtures import MIXTURES, Digits, Ring
from denoisers.prediction import Prediction
from denoisers.thresholds import Clip
from likelihood.bounds import (
    DensityDecoder,
    PixelDecoder,
    continuous_bound,
    discrete_bound,
    log_snr_levels,
    prior_nats,
    transition_nats,
    uniform_levels,
)
from sde_lib import SDES
from sde_lib.base import expand
from sde_lib.discrete import DDPM
from sde_lib.vp import VP
from tests.exact import exact_denoiser

COUNT = 20_000


def _mean_and_error(values):
    values = np.asarray(values, np.float64)
    return values.mean(), values.std() / np.sqrt(len(values))


def _run(bound, mixture, sde, *arguments, count=COUNT, **settings):
    keys = jax.random.split(jax.random.key(1), count)
    x0 = mixture.sample(jax.random.key(0), count)
    found = jax.jit(
        lambda x0: bound(keys, sde, lambda x, t: mixture.denoise(sde, x, t), x0, *arguments, **settings)
    )(x0)
    return found, -np.asarray(jax.jit(mixture.log_prob)(x0))


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("ring", "vp"),
        *(pytest.param("ring", name, marks=pytest.mark.slow) for name in ("cosine", "ve")),
        *(pytest.param("two_moons", name, marks=pytest.mark.slow) for name in ("vp", "cosine", "ve")),
    ],
)
def test_discrete_bound_is_above_and_converges_at_first_order(case, name):
    mixture, sde = MIXTURES[case]().build(), SDES[name]()
    gaps = []
    for levels in (64, 128, 256):
        grid = log_snr_levels(sde, levels)
        found, exact = _run(discrete_bound, mixture, sde, grid, DensityDecoder())
        gap, error = _mean_and_error(found.total - exact)
        assert gap > 4 * error
        gaps.append(gap)
    # Halving the steps halves the gap, the better the smaller they are.
    assert abs(gaps[1] / gaps[2] - 2) < 0.15 and 2 < gaps[0] / gaps[1] < 2.4


@pytest.mark.parametrize("name", SDES)
def test_continuous_bound_of_the_exact_denoiser_is_the_likelihood(name):
    mixture, sde = Ring().build(), SDES[name]()
    found, exact = _run(continuous_bound, mixture, sde, 64, DensityDecoder())
    gap, error = _mean_and_error(found.total - exact)
    # What is left: the decoder's variance at t_min (VE and EDM start at a visible noise) and the prior.
    start = float(sde.sigma(sde.t_min) / sde.alpha(sde.t_min)) ** 2 / 0.1**2
    assert abs(gap) < 4 * error + 2 * start
    assert error < 0.1


def test_continuous_bound_of_a_wrong_denoiser_is_above():
    mixture, sde = Ring().build(), VP()
    keys, x0 = jax.random.split(jax.random.key(1), COUNT), mixture.sample(jax.random.key(0), COUNT)
    wrong = exact_denoiser(mixture, sde, "eps").bind({"scale": 0.9})
    found = jax.jit(lambda x0: continuous_bound(keys, sde, wrong, x0, 64, DensityDecoder()).total)(x0)
    gap, error = _mean_and_error(found + mixture.log_prob(x0))
    assert gap > 10 * error


def test_small_variance_terms_are_those_of_the_discrete_vdm_loss():
    # Kingma et al. 2021, section 4: (snr(s) - snr(t)) |x_0 - D|^2 / 2.
    with jax.enable_x64(True):
        mixture = Ring().build()
        for sde in (VP(), SDES["ve"](), SDES["subvp"](), DDPM()):
            s, t = jnp.full(5, 0.31), jnp.full(5, 0.35)
            x0 = mixture.sample(jax.random.key(0), 5)
            prediction = mixture.denoise(sde, x0, t)
            found = transition_nats(sde, prediction, x0, s, t, "small")
            snr = [jnp.exp(sde.log_snr(c))[:, None] for c in (s, t)]
            expected = 0.5 * (snr[0] - snr[1]) * (x0 - prediction.x0) ** 2
            np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("choice", ["small", "large"])
def test_transition_nats_are_the_kl_of_two_gaussians(choice):
    with jax.enable_x64(True):
        sde, s, t = VP(), jnp.array([0.2]), jnp.array([0.3])
        x0, xt, guess = (jnp.array([[v]]) for v in (0.4, -0.3, 0.1))
        prediction = Prediction(x0=guess, eps=None, alpha=None, sigma=None)
        found = float(transition_nats(sde, prediction, x0, s, t, choice)[0, 0])
        q_mean, q_std = (float(v[0, 0]) for v in sde.posterior(x0, xt, s, t))
        p_mean = float(sde.posterior(guess, xt, s, t)[0][0, 0])
        p_std = {"small": q_std, "large": float(sde.transition(t, s)[1][0])}[choice]
        grid = q_mean + q_std * np.linspace(-12, 12, 200_001)
        q, p = norm(q_mean, q_std), norm(p_mean, p_std)
        kl = np.sum(q.pdf(grid) * (q.logpdf(grid) - p.logpdf(grid))) * (grid[1] - grid[0])
        np.testing.assert_allclose(found, kl, rtol=1e-8)


def test_prior_nats_are_the_kl_to_the_prior():
    with jax.enable_x64(True):
        for name in ("vp", "ve", "edm", "rectified_flow"):
            sde = SDES[name]()
            x0 = jnp.array([[0.7, -0.2]])
            end = jnp.array([sde.t_max])
            mean, std = sde.marginal(x0, end)
            x = mean + std * jax.random.normal(jax.random.key(0), (200_000, 2))
            log_q = norm(np.asarray(mean), float(std[0, 0])).logpdf(np.asarray(x)).sum(1)
            difference = log_q - np.asarray(sde.prior_log_prob(x))
            value, error = _mean_and_error(difference)
            assert abs(float(prior_nats(sde, x0)[0]) - value) < 4 * error + 1e-12


@pytest.mark.parametrize("centered", [True, False])
def test_pixel_decoder_is_a_distribution_over_the_levels(centered):
    levels = 17
    decoder = PixelDecoder(levels, centered)
    low, high = decoder.range
    centres = low + (np.arange(levels) + 0.5) / levels * (high - low)
    for mean, std in ((0.1, 0.3), (0.96, 0.02), (-0.5, 1e-3), (3.0, 0.1)):
        nats = decoder.nats(jnp.asarray(centres), mean, std)
        np.testing.assert_allclose(np.exp(-np.asarray(nats, np.float64)).sum(), 1.0, rtol=1e-5)
    edges = np.concatenate([[-np.inf], centres[:-1] + (high - low) / levels / 2, [np.inf]])
    expected = -np.log(np.diff(norm(0.1, 0.3).cdf(edges)))
    np.testing.assert_allclose(decoder.nats(jnp.asarray(centres), 0.1, 0.3), expected, rtol=1e-4)


def test_pixel_decoder_stays_finite_far_away():
    with jax.enable_x64(True):
        nats = PixelDecoder(256).nats(jnp.asarray([-0.5 / 128, 0.5 / 128]), jnp.asarray([0.9, -0.9]), 0.01)
        assert jnp.isfinite(nats).all() and (nats > 1000).all()
        assert jnp.isfinite(jax.grad(lambda m: PixelDecoder(256).nats(0.5 / 128, m, 0.01))(0.9))


def _denoise_levels(sde, levels):
    """The exact denoiser of independent pixels, uniform over the centres of `levels` bins."""
    centres = jnp.asarray((np.arange(levels) + 0.5) / levels * 2 - 1)

    def denoise(x, t):
        alpha, sigma = expand(sde.alpha(t), x), expand(sde.sigma(t), x)
        squares = ((x[..., None] - alpha[..., None] * centres) / sigma[..., None]) ** 2
        weights = jax.nn.softmax(-0.5 * squares, axis=-1)
        x0 = weights @ centres
        return Prediction(x0=x0, eps=(x - alpha * x0) / sigma, alpha=alpha, sigma=sigma)

    return denoise, centres


@pytest.mark.parametrize("bound", ["discrete", "continuous"])
def test_bounds_of_pixels_reach_the_entropy_of_their_levels(bound):
    levels, sde = 4, SDES["cosine"]()
    denoise, centres = _denoise_levels(sde, levels)
    x0 = centres[jax.random.randint(jax.random.key(0), (4000, 8), 0, levels)]
    keys = jax.random.split(jax.random.key(1), 4000)
    decoder = PixelDecoder(levels)

    def run(steps):
        grid = log_snr_levels(sde, steps)

        @jax.jit
        def bits():
            if bound == "discrete":
                found = discrete_bound(keys, sde, denoise, x0, grid, decoder)
            else:
                found = continuous_bound(keys, sde, denoise, x0, steps, decoder)
            return found.total / (8 * np.log(2))

        return _mean_and_error(bits())

    few, many = run(128), run(256)
    # log2(4) = 2 bits are the least that any model can reach.
    assert many[0] > 2 - 4 * many[1] and many[1] < 0.01
    if bound == "discrete":
        assert abs((few[0] - 2) / (many[0] - 2) - 2) < 0.3
    else:
        assert many[0] < 2 + 4 * many[1]


@pytest.mark.slow
def test_optimal_between_small_and_large_is_learned():
    # A learned fraction of 0 or 1 is one of the two named choices.
    mixture, sde = Ring().build(), DDPM(noise_levels=20, beta_max=10.0)
    x0, keys = mixture.sample(jax.random.key(0), 200), jax.random.split(jax.random.key(1), 200)
    for raw, choice in ((-1.0, "small"), (1.0, "large")):
        learned = exact_denoiser(mixture, sde, variance_head="fraction").bind({"raw_fraction": raw})
        plain = exact_denoiser(mixture, sde).bind({})
        levels = uniform_levels(sde, 20)
        one, two = (
            discrete_bound(keys, sde, denoise, x0, levels, DensityDecoder(), name).total
            for denoise, name in ((learned, "learned"), (plain, choice))
        )
        np.testing.assert_allclose(one, two, rtol=1e-4)


def test_clipping_keeps_predictions_in_the_range_of_the_data():
    sde = DDPM(noise_levels=20, beta_max=10.0)
    mixture = GaussianMixture.diagonal([1.0], np.zeros((1, 4)), np.full((1, 4), 0.1))
    x0, keys = (
        jnp.clip(mixture.sample(jax.random.key(0), 100), -0.99, 0.99),
        jax.random.split(jax.random.key(1), 100),
    )
    wild = exact_denoiser(mixture, sde).bind({"scale": 100.0})
    levels, decoder = uniform_levels(sde, 20), PixelDecoder(256)
    free, clipped = (
        discrete_bound(keys, sde, denoise, x0, levels, decoder).diffusion
        for denoise in (wild, Clip(*decoder.range)(wild))
    )
    assert clipped.mean() < 0.2 * free.mean()


@pytest.mark.slow
def test_discrete_bound_on_digits_is_above_and_converges():
    mixture, sde = Digits().build(), VP()
    gaps = []
    for levels in (128, 256, 512):
        found, exact = _run(
            discrete_bound, mixture, sde, log_snr_levels(sde, levels), DensityDecoder(), count=2000
        )
        gaps.append(_mean_and_error((found.total - exact) / mixture.dimension)[0])
    assert gaps[0] > gaps[1] > gaps[2] > 0
    np.testing.assert_allclose([gaps[0] / gaps[1], gaps[1] / gaps[2]], 2.0, atol=0.2)
