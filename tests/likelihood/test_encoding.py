"""Latent codes: there and back, and the same for every parametrization."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from denoisers.mixtures import Digits, Images, OneGaussian, Ring, TwoMoons
from denoisers.network import PARAMETRIZATIONS
from likelihood import encoding
from sde_lib import SDES
from tests.exact import exact_denoiser

CASES = {
    "gaussian": OneGaussian(dimension=4),
    "two_moons": TwoMoons(),
    "ring": Ring(),
    "digits": Digits(components=3),
    "images": Images(side=6, rank=4),
}


@pytest.mark.parametrize(
    ("case", "name"),
    [
        *((case, "vp") for case in CASES if case != "images"),
        ("ring", "edm"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (("images", "vp"), ("digits", "ve"), ("digits", "cosine"))
        ),
    ],
)
def test_decoding_a_code_returns_the_data_in_float32(case, name):
    mixture, sde = CASES[case].build(), SDES[name]()
    x = mixture.sample(jax.random.key(0), 20)

    @jax.jit
    def there_and_back(x):
        def denoise(x, t):
            return mixture.denoise(sde, x, t)

        code = encoding.encode(sde, denoise, x, tolerance=1e-6)
        return code, encoding.decode(sde, denoise, code.x, tolerance=1e-6)

    code, back = there_and_back(x)
    assert not code.failed.any() and not back.failed.any()
    np.testing.assert_allclose(back.x, x, atol=1e-4)
    assert np.abs(code.x).max() > 0.5 * sde.prior_std


def test_codes_are_those_of_the_linear_flow_of_a_gaussian():
    with jax.enable_x64(True):
        mixture, sde = OneGaussian(dimension=4).build(), SDES["vp"]()
        x = mixture.sample(jax.random.key(0), 5)
        found = encoding.encode(sde, lambda x, t: mixture.denoise(sde, x, t), x, 1e-9, "dopri8").x
        axes, variances = mixture.covariances.axes[0], mixture.covariances.variances[0]
        (a0, a1), (s0, s1) = (f(jnp.asarray([sde.t_min, sde.t_max])) for f in (sde.alpha, sde.sigma))
        # Each direction is scaled by the ratio of its spreads.
        scale = jnp.sqrt((a1**2 * variances + s1**2) / (a0**2 * variances + s0**2))
        expected = a1 * mixture.means[0] + ((x - a0 * mixture.means[0]) @ axes * scale) @ axes.T
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.slow
def test_codes_do_not_depend_on_the_parametrization():
    with jax.enable_x64(True):
        mixture, sde = TwoMoons().build(), SDES["vp"]()
        x = mixture.sample(jax.random.key(0), 8)

        def codes_of(parametrization):
            denoise = exact_denoiser(mixture, sde, parametrization).bind({})
            return jax.jit(lambda x: encoding.encode(sde, denoise, x, 1e-8).x)(x)

        codes = {name: codes_of(name) for name in PARAMETRIZATIONS}
        for name, code in codes.items():
            np.testing.assert_allclose(code, codes["eps"], atol=1e-6, err_msg=name)


def test_codes_follow_the_prior():
    mixture, sde = Digits(components=3).build(), SDES["vp"]()
    x = mixture.sample(jax.random.key(0), 200)
    code = jax.jit(lambda x: encoding.encode(sde, lambda x, t: mixture.denoise(sde, x, t), x, 1e-4).x)(x)
    assert abs(float(code.mean())) < 4 / np.sqrt(code.size) + 0.01
    assert abs(float(code.std()) - 1) < 4 / np.sqrt(2 * code.size) + 0.01


def test_interpolation_turns_evenly_and_keeps_the_norm():
    first, second = jnp.array([2.0, 0.0, 0.0]), jnp.array([0.0, 2.0, 0.0])
    found = encoding.interpolate(first, second, jnp.linspace(0, 1, 5))
    angles = np.linspace(0, np.pi / 2, 5)
    expected = 2 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_interpolation_ends_at_both_codes_whatever_their_angle():
    key = jax.random.key(0)
    first = jax.random.normal(key, (4, 4, 1))
    for second in (first, 3 * first, -first + 1e-3, jax.random.normal(jax.random.key(1), (4, 4, 1))):
        found = encoding.interpolate(first, second, jnp.array([0.0, 0.5, 1.0]))
        np.testing.assert_allclose(found[0], first, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found[2], second, rtol=1e-4, atol=1e-4)
        mean_norm = 0.5 * (jnp.linalg.norm(first) + jnp.linalg.norm(second))
        np.testing.assert_allclose(jnp.linalg.norm(found[1]), mean_norm, rtol=1e-4)


def test_temperature_scales_the_variance():
    code = jax.random.normal(jax.random.key(0), (10_000,))
    np.testing.assert_allclose(encoding.scale_temperature(code, 0.25).var(), 0.25 * code.var(), rtol=1e-5)
