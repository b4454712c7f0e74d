"""Functions from a denoiser to a denoiser: both sides of a prediction stay consistent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from components import ConfigError
from denoisers.chain import wrap
from denoisers.gaussian_mixture import GaussianMixture
from denoisers.temperature import Temperature
from denoisers.thresholds import Clip, DynamicThreshold
from samplers.solvers.ddim import DDIM
from samplers.table import sample
from samplers.time_grids import LogSNR
from sde_lib import SDES
from tests.conftest import sampling

SHAPE = (3, 2, 1)


def _problem(mean=0.8, variance=0.25, shape=SHAPE):
    sde, d = SDES["vp"](), int(np.prod(shape))
    gaussian = GaussianMixture.diagonal([1.0], np.full((1, d), mean), np.full((1, d), variance), shape)
    x = 2 * np.random.default_rng(0).standard_normal((5, *shape)).astype(np.float32)
    return sde, lambda x, t: gaussian.denoise(sde, x, t), jnp.asarray(x), jnp.full(5, 0.4)


@pytest.mark.parametrize("wrapper", [Clip(-0.5, 0.5), DynamicThreshold(0.9), Temperature(0.7)], ids=str)
def test_x0_and_eps_still_make_up_x(wrapper):
    _, denoise, x, t = _problem(mean=1.5)
    before, after = denoise(x, t), wrapper(denoise)(x, t)
    assert np.abs(after.x0 - before.x0).max() > 0.05
    np.testing.assert_allclose(after.alpha * after.x0 + after.sigma * after.eps, x, atol=1e-5)


def test_clipping_and_dynamic_thresholding_are_their_formulas():
    _, denoise, x, t = _problem(mean=1.5)
    x0 = np.asarray(denoise(x, t).x0)
    np.testing.assert_allclose(Clip(-0.5, 0.5)(denoise)(x, t).x0, np.clip(x0, -0.5, 0.5), atol=1e-6)
    found = DynamicThreshold(0.9)(denoise)(x, t).x0
    for one, expected in zip(found, x0, strict=True):
        threshold = max(np.quantile(np.abs(expected), 0.9), 1.0)
        np.testing.assert_allclose(one, np.clip(expected, -threshold, threshold) / threshold, atol=1e-6)


def test_what_lies_inside_is_not_changed():
    _, denoise, x, t = _problem(mean=0.0)
    before = denoise(x, t)
    for wrapper in (Clip(-9.0, 9.0), DynamicThreshold(1.0), Temperature(1.0)):
        after = wrapper(denoise)(x / 4, t)
        np.testing.assert_allclose(after.x0, denoise(x / 4, t).x0, atol=1e-6)
        assert before.x0.shape == after.x0.shape


def test_temperature_scales_the_score():
    _, denoise, x, t = _problem()
    np.testing.assert_allclose(
        Temperature(0.5)(denoise)(x, t).score, 2 * denoise(x, t).score, rtol=1e-5, atol=1e-5
    )


def test_a_clipped_sampler_stays_in_the_data_range_and_recompiles_nothing_by_itself():
    sde, denoise, _, _ = _problem(mean=0.8, variance=0.5)
    keys = jax.random.split(jax.random.key(0), 64)
    table = DDIM(1.0)(sde, LogSNR()(sde, 20)).astype(np.float32)
    plain = sample(keys, sde, denoise, SHAPE, table).x
    clipped = sample(keys, sde, wrap((Clip(-1.0, 1.0),), denoise), SHAPE, table).x
    assert np.abs(plain).max() > 1.2
    assert np.abs(clipped).max() <= 1.0 + 1e-6


def _config(**fields):
    config = sampling({"predictor": "ddim", **fields})
    return config


def test_config_makes_the_wrappers():
    sampler = samplers.create(
        _config(eta=1.0, temperature=0.9, threshold="dynamic"), SDES["vp"](), (-1.0, 1.0)
    )
    assert sampler.wrappers == (Temperature(0.9), DynamicThreshold(0.995))
    sampler = samplers.create(_config(threshold="data_range"), SDES["vp"](), (0.0, 1.0))
    assert sampler.wrappers == (Clip(0.0, 1.0),)
    with pytest.raises(ConfigError, match='sampling.threshold.name="dynamic"'):
        samplers.create(_config(threshold="dynamic"), SDES["vp"](), (0.0, 1.0))
    with pytest.raises(ConfigError, match="known range"):
        samplers.create(_config(threshold="data_range"), SDES["vp"]())
