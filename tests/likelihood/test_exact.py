"""Likelihoods by the probability-flow ODE against exact ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from denoisers.gaussian_mixture import GaussianMixture
from denoisers.mixtures import Digits, Images, OneGaussian, Ring, TwoMoons
from denoisers.prediction import Prediction
from likelihood.exact import bits_per_dim, log_likelihood, standard_errors
from sde_lib import SDES
from sde_lib.base import expand
from sde_lib.probability_flow import SOLVERS
from sde_lib.ve import VE
from sde_lib.vp import VP

CASES = {
    "gaussian": OneGaussian(dimension=4),
    "two_moons": TwoMoons(),
    "ring": Ring(),
    "digits": Digits(components=3),
    "images": Images(side=4, rank=4),
}


QUICK = ("ve", "subvp", "cosine", "edm")


def _at_t_min(mixture, sde, count, key=0):
    """Draws of the marginal at t_min and their exact log-density."""
    t = jnp.full(count, sde.t_min)
    mean, std = sde.marginal(mixture.sample(jax.random.key(key), count), t)
    x = mean + std * jax.random.normal(jax.random.key(key + 1), mean.shape)
    return x, mixture.log_prob(x, sde.alpha(t), sde.sigma(t))


def _from_the_end(mixture, sde):
    """The mixture's own density at t_max, in place of the prior that is only close to it."""
    return lambda x: mixture.log_prob(x, sde.alpha(sde.t_max), sde.sigma(sde.t_max))


def _solve(mixture, sde, x, key=7, prior_log_prob=None, **settings):
    keys = jax.random.split(jax.random.key(key), len(x))
    return jax.jit(
        lambda keys, x: log_likelihood(
            keys, sde, lambda x, t: mixture.denoise(sde, x, t), x, prior_log_prob=prior_log_prob, **settings
        )
    )(keys, x)


@pytest.mark.parametrize(
    ("case", "name"),
    [
        *((case, "vp") for case in CASES),
        *(("ring", name) for name in QUICK),
        *(pytest.param("ring", name, marks=pytest.mark.slow) for name in SDES if name not in ("vp", *QUICK)),
    ],
)
def test_exact_trace_gives_the_exact_log_density(case, name):
    with jax.enable_x64(True):
        mixture, sde = CASES[case].build(), SDES[name]()
        x, expected = _at_t_min(mixture, sde, 3)
        found = _solve(
            mixture,
            sde,
            x,
            prior_log_prob=_from_the_end(mixture, sde),
            tolerance=1e-9,
            probe="exact",
            solver="dopri8",
            max_steps=5000,
        )
        assert not found.failed.any() and found.by_probe.shape == (3, 1)
        np.testing.assert_allclose(
            found.log_prob / mixture.dimension, expected / mixture.dimension, rtol=0, atol=1e-6
        )


@pytest.mark.parametrize(
    ("case", "probe"),
    [
        ("ring", "gaussian"),
        ("digits", "rademacher"),
        pytest.param("digits", "gaussian", marks=pytest.mark.slow),
        *(pytest.param(case, "rademacher", marks=pytest.mark.slow) for case in CASES if case != "digits"),
    ],
)
def test_hutchinson_in_float32_agrees_within_its_error(case, probe):
    mixture, sde = CASES[case].build(), VP()
    x, expected = _at_t_min(mixture, sde, 100)
    found = _solve(mixture, sde, x, tolerance=1e-5, probe=probe, probes=4)
    assert found.by_probe.shape == (100, 4)
    difference = np.asarray(found.log_prob - expected)
    error = difference.std() / np.sqrt(len(x))
    # The prior in place of p(x_T) costs this much at most, on average.
    ends = sde.alpha(1.0) ** 2 * mixture.dimension
    assert abs(difference.mean()) < 3 * error + ends


@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_probes_spread_around_the_exact_value_of_one_point(probe):
    mixture, sde = OneGaussian(dimension=4).build(), VE(sigma_max=30.0)
    x, expected = _at_t_min(mixture, sde, 1)
    found = _solve(
        mixture, sde, x, prior_log_prob=_from_the_end(mixture, sde), probe=probe, probes=300
    ).by_probe[0]
    assert abs(float(found.mean() - expected[0])) < 3 * float(found.std()) / np.sqrt(300) + 1e-3
    # The test must be able to fail.
    assert float(found.std()) > 0.05


def test_isotropic_data_has_an_exact_divergence_from_one_probe():
    # J is a multiple of the identity, so a Rademacher probe gives its trace without error.
    with jax.enable_x64(True):
        mixture = GaussianMixture.diagonal([1.0], np.zeros((1, 4)), np.full((1, 4), 0.3), (2, 2, 1))
        for sde in (VP(), SDES["subvp"](), VE(sigma_max=30.0)):
            x, expected = _at_t_min(mixture, sde, 5)
            found = _solve(mixture, sde, x, prior_log_prob=_from_the_end(mixture, sde), tolerance=1e-10)
            np.testing.assert_allclose(found.log_prob, expected, atol=1e-6)


@pytest.mark.parametrize(
    "solver", [pytest.param(s, marks=pytest.mark.slow) if s == "dopri8" else s for s in SOLVERS]
)
def test_every_solver_converges_and_counts_its_evaluations(solver):
    with jax.enable_x64(True):
        mixture, sde = TwoMoons().build(), VP()
        x, expected = _at_t_min(mixture, sde, 2)
        calls = []

        def denoise(x, t):
            jax.debug.callback(lambda: calls.append(1))
            return mixture.denoise(sde, x, t)

        keys = jax.random.split(jax.random.key(0), 1)
        found = log_likelihood(
            keys,
            sde,
            denoise,
            x[:1],
            1e-5,
            "exact",
            solver=solver,
            max_steps=20_000,
            prior_log_prob=_from_the_end(mixture, sde),
        )
        jax.effects_barrier()
        assert abs(float(found.log_prob[0] - expected[0])) < 2e-3
        assert len(calls) == int(found.nfe[0])


def test_a_solver_out_of_steps_says_so():
    mixture, sde = Ring().build(), VP()
    x, _ = _at_t_min(mixture, sde, 2)
    assert _solve(mixture, sde, x, max_steps=3).failed.all()


def _uniform_denoise(sde):
    """The exact denoiser of data uniform on [-1, 1] in every dimension: a truncated normal's mean."""

    def denoise(x, t):
        alpha, sigma = expand(sde.alpha(t), x), expand(sde.sigma(t), x)
        y, r = x / alpha, sigma / alpha
        low, high = (-1 - y) / r, (1 - y) / r
        pdf, cdf = jax.scipy.stats.norm.pdf, jax.scipy.stats.norm.cdf
        eps = -(pdf(low) - pdf(high)) / (cdf(high) - cdf(low))
        return Prediction(x0=y - r * eps, eps=eps, alpha=alpha, sigma=sigma)

    return denoise


def test_uniform_noise_images_have_eight_bits_under_a_uniform_model():
    with jax.enable_x64(True):
        shape, sde = (2, 2, 3), VE(sigma_min=1e-5, sigma_max=200.0)
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (6, *shape))
        x = jnp.asarray((pixels + rng.uniform(size=pixels.shape)) / 128 - 1)
        keys = jax.random.split(jax.random.key(0), 6)
        found = jax.jit(
            lambda x: log_likelihood(
                keys, sde, _uniform_denoise(sde), x, 1e-8, "exact", solver="dopri8", max_steps=20_000
            )
        )(x)
        bits = bits_per_dim(found.log_prob, shape, 256, centered=True)
        # The rest is the prior, a Gaussian 200 wide in place of the data's p(x_T).
        np.testing.assert_allclose(bits, 8.0, atol=1e-4)


@pytest.mark.parametrize("levels", [17, 256])
@pytest.mark.parametrize("centered", [True, False])
def test_the_bookkeeping_of_a_uniform_model_is_exact(levels, centered):
    # The uniform density over the cube that the pixels are scaled to.
    log_prob = np.full(3, -64 * np.log(2.0) if centered else 0.0)
    np.testing.assert_allclose(
        bits_per_dim(log_prob, (8, 8, 1), levels, centered), np.log2(levels), rtol=1e-12
    )


def test_dequantized_gaussian_bits_bound_the_bits_of_the_pixels():
    # One pixel of 17 levels with known probabilities; the density model is their exact Gaussian.
    rng, spread = np.random.default_rng(0), 0.4
    edges = np.linspace(-1, 1, 18)
    mass = np.diff(norm(scale=spread).cdf(edges))
    pixels = rng.choice(17, 200_000, p=mass / mass.sum())
    x = (pixels + rng.uniform(size=pixels.shape)) / 17 * 2 - 1
    found = bits_per_dim(norm(scale=spread).logpdf(x), (1,), 17, centered=True).mean()
    entropy = -np.sum(mass / mass.sum() * np.log2(mass))
    assert entropy < found < entropy + 0.02


def test_standard_errors_find_the_parts_of_a_known_model():
    rng, images, repeats, probes = np.random.default_rng(0), 40, 3, 2
    scales = {"image": 0.5, "dequantization": 0.4, "probe": 0.7}
    sizes = {"image": images, "dequantization": images * repeats, "probe": images * repeats * probes}
    trials = [
        (
            2.0
            + scales["image"] * rng.standard_normal((images, 1, 1))
            + scales["dequantization"] * rng.standard_normal((images, repeats, 1))
            + scales["probe"] * rng.standard_normal((images, repeats, probes))
        )
        for _ in range(2000)
    ]
    found = [standard_errors(values) for values in trials]
    for part, scale in scales.items():
        mean_square = np.mean([errors[part] ** 2 for errors in found])
        np.testing.assert_allclose(mean_square, scale**2 / sizes[part], rtol=0.05, err_msg=part)
    # The total is what the means of whole experiments really scatter by.
    total = np.sqrt(np.mean([errors["total"] ** 2 for errors in found]))
    np.testing.assert_allclose(total, np.std([values.mean() for values in trials]), rtol=0.06)


def test_parts_without_repetition_are_not_made_up():
    values = np.random.default_rng(0).standard_normal((50, 1, 1))
    found = standard_errors(values)
    assert found["probe"] is None and found["dequantization"] is None
    np.testing.assert_allclose(found["image"], found["total"])
    np.testing.assert_allclose(found["total"], values.std(ddof=1) / np.sqrt(50))
