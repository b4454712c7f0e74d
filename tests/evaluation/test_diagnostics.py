"""The diagnostics of a denoiser without error, and of denoisers wrong in a known way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from denoisers.mixtures import Digits, Ring, TwoMoons
from evaluation import diagnostics
from sde_lib import SDES
from sde_lib.vp import VP
from tests.exact import exact_denoiser


def _at(mixture, sde, denoise, log_snr, count=200):
    x0, keys = mixture.sample(jax.random.key(0), count), jax.random.split(jax.random.key(1), count)
    t = sde.time_of_log_snr(jnp.asarray(log_snr, x0.dtype))
    return jax.jit(lambda x0, t: diagnostics.at_level(keys, sde, denoise, x0, t))(x0, t)


@pytest.mark.parametrize("name", ["vp", "ve", "edm", "cosine", "rectified_flow"])
@pytest.mark.parametrize("log_snr", [-3.0, 1.0, 6.0])
def test_an_exact_denoiser_passes(name, log_snr):
    with jax.enable_x64(True):
        mixture, sde = Ring().build(), SDES[name]()
        found = _at(mixture, sde, lambda x, t: mixture.denoise(sde, x, t), log_snr)
        np.testing.assert_allclose(found.implied_error, found.floor, rtol=1e-8)
        np.testing.assert_allclose(found.asymmetry, 0, atol=1e-16)
        assert jnp.sqrt(found.residual.mean() / found.residual_scale.mean()) < 1e-7
        difference = np.asarray(found.error - found.floor)
        assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(difference))


def test_probes_are_unbiased_in_high_dimension():
    with jax.enable_x64(True):
        mixture, sde = Digits(components=3).build(), VP()
        found = _at(mixture, sde, lambda x, t: mixture.denoise(sde, x, t), 2.0, count=150)
        for difference in (found.implied_error - found.floor, found.residual):
            assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(difference))
        np.testing.assert_allclose(found.asymmetry, 0, atol=1e-16)


def test_a_field_that_turns_is_no_gradient():
    with jax.enable_x64(True):
        mixture, sde = TwoMoons().build(), VP()
        turn = jnp.array([[0.0, 0.3], [-0.3, 0.0]])

        def denoise(x, t):
            exact = mixture.denoise(sde, x, t)
            y = x / exact.alpha
            x0 = exact.x0 + y @ turn.T
            return exact.replace(x0=x0, eps=(x - exact.alpha * x0) / exact.sigma)

        found = _at(mixture, sde, denoise, 1.0)
        # |A - A^T| / 2 is the turn itself: |0.3 z|^2 = 0.09 * 2 for every Rademacher z.
        np.testing.assert_allclose(found.asymmetry, 0.18, rtol=1e-8)
        assert found.residual.mean() > 1e-3 * found.residual_scale.mean()


def test_a_scaled_denoiser_is_miscalibrated_and_breaks_fokker_planck():
    with jax.enable_x64(True):
        mixture, sde = TwoMoons().build(), VP()
        wrong = exact_denoiser(mixture, sde, "x0").bind({"scale": 0.7})
        found = _at(mixture, sde, wrong, 1.0)
        exact = _at(mixture, sde, lambda x, t: mixture.denoise(sde, x, t), 1.0)
        # The Jacobian's trace scales with the denoiser, while its error grows.
        np.testing.assert_allclose(found.implied_error, 0.7 * exact.floor, rtol=1e-8)
        assert found.error.mean() > exact.error.mean()
        np.testing.assert_allclose(found.asymmetry, 0, atol=1e-16)
        assert jnp.sqrt(found.residual.mean() / found.residual_scale.mean()) > 0.01
