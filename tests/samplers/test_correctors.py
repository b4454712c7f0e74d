"""Langevin steps: their sizes, what they repair, and who depends on whom."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from denoisers.gaussian_mixture import GaussianMixture
from samplers.correctors import AnnealedLangevin, Damping, Langevin
from samplers.solvers.predictors import ReverseDiffusion
from samplers.table import sample
from samplers.time_grids import Power
from sde_lib import SDES
from tests.conftest import sampling

MEAN, VARIANCE, SHAPE = 0.3, 0.25, (2, 1, 1)


def _gaussian(shape):
    d = int(np.prod(shape))
    return GaussianMixture.diagonal([1.0], np.full((1, d), MEAN), np.full((1, d), VARIANCE), shape)


def _denoise(sde, shape=SHAPE):
    return lambda x, t: _gaussian(shape).denoise(sde, x, t)


X = jnp.array([[[[1.0]], [[2.0]]], [[[0.5]], [[-3.0]]]])


def _step(corrector, sde=None, t=0.3):
    """The new states, the noise and the scores of one step from X."""
    sde, keys = sde or SDES["vp"](), jax.random.split(jax.random.key(0), 2)
    times = jnp.full(2, t)
    z = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 0), SHAPE))(keys)
    return corrector.step(keys, X, times, _denoise(sde)), z, _denoise(sde)(X, times).score


def test_langevin_s_step_size_is_that_of_algorithm_4():
    found, z, score = _step(Langevin(snr=0.2))
    for i in range(2):
        size = 2 * (0.2 * np.linalg.norm(z[i]) / np.linalg.norm(score[i])) ** 2
        np.testing.assert_allclose(found[i], X[i] + size * score[i] + np.sqrt(2 * size) * z[i], rtol=1e-5)


def test_the_released_step_size_averages_over_the_batch_and_is_damped():
    sde, t, levels = SDES["vp"](), 0.3, 1000
    found, z, score = _step(Langevin(0.2, 1, "batch", Damping(sde, levels)))
    beta = np.linspace(sde.beta_min / levels, sde.beta_max / levels, levels)[int(t * (levels - 1))]
    norm = [np.linalg.norm(np.reshape(v, (2, -1)), axis=1).mean() for v in (z, score)]
    size = 2 * (1 - beta) * (0.2 * norm[0] / norm[1]) ** 2
    np.testing.assert_allclose(found, X + size * score + np.sqrt(2 * size) * z, rtol=1e-5)


def test_annealed_langevin_s_step_size_is_the_noise_s():
    sde = SDES["ve"]()
    found, z, score = _step(AnnealedLangevin(snr=0.2), sde)
    size = 2 * (0.2 * float(sde.sigma(jnp.float32(0.3)))) ** 2
    np.testing.assert_allclose(found, X + size * score + np.sqrt(2 * size) * z, rtol=1e-5)


def _bias(sde, correctors, shape, count=64):
    table = ReverseDiffusion()(sde, Power()(sde, 20)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), count)
    draw = jax.jit(lambda keys: sample(keys, sde, _denoise(sde, shape), shape, table, correctors).x)
    return abs(float(draw(keys).var()) / VARIANCE - 1)


@pytest.mark.parametrize("name", ["vp", pytest.param("subvp", marks=pytest.mark.slow), "ve"])
def test_langevin_steps_repair_what_the_predictor_left(name):
    # In high dimension, where the norms that set the step hardly vary from sample to sample.
    sde, shape = SDES[name](), (20, 20, 1)
    before = _bias(sde, (), shape)
    assert _bias(sde, (Langevin(snr=0.1, steps=20),), shape) < 0.5 * before
    assert _bias(sde, (AnnealedLangevin(snr=0.1, steps=20),), shape) < 0.5 * before


def test_in_two_dimensions_annealed_langevin_repairs_and_the_norm_of_a_sample_spoils():
    sde, shape = SDES["ve"](), (2,)
    before = _bias(sde, (), shape, 20_000)
    assert _bias(sde, (AnnealedLangevin(snr=0.1, steps=20),), shape, 20_000) < 0.5 * before
    assert _bias(sde, (Langevin(snr=0.1, steps=20),), shape, 20_000) > before


@pytest.mark.parametrize(("norm", "coupled"), [("sample", False), ("batch", True)])
def test_only_the_batch_norm_couples_samples(norm, coupled):
    sde = SDES["vp"]()
    table = ReverseDiffusion()(sde, Power()(sde, 10)).astype(np.float32)

    def draw(count):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.arange(count))
        return jax.jit(lambda keys: sample(keys, sde, _denoise(sde), SHAPE, table, (Langevin(norm=norm),)).x)(
            keys
        )

    assert np.allclose(draw(3), draw(8)[:3], rtol=1e-5, atol=1e-6) != coupled


# Song et al. (2021), table 1: (predictor steps, corrector, corrector steps) and its NFE.
PROTOCOLS = {
    "P1000": (1000, "none", 1, 1001),
    "P2000": (2000, "none", 1, 2001),
    "C2000": (1000, "langevin", 2, 3003),
    "PC1000": (1000, "langevin", 1, 2002),
}


@pytest.mark.parametrize("name", ["vp", "ve"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_table_1_of_song_et_al_can_be_said_by_config(protocol, name):
    steps, corrector, corrector_steps, nfe = PROTOCOLS[protocol]
    predictors = ["none"] if protocol == "C2000" else ["ancestral", "reverse_diffusion", "flow"]
    for predictor in predictors:
        config = sampling(
            {
                "predictor": "reverse_diffusion" if predictor == "flow" else predictor,
                **({"probability_flow": True} if predictor == "flow" else {}),
                "steps": steps,
                "grid": "uniform",
                "corrector": corrector,
                "corrector.steps": corrector_steps,
            }
        )
        assert samplers.create(config, SDES[name]()).nfe == nfe
        config.corrector.name = "legacy_langevin" if corrector == "langevin" else "none"
        if predictor != "none":
            config.predictor.name = f"legacy_{config.predictor.name}"
            # The released code has no call besides those of its N steps.
            assert samplers.create(config, SDES[name]()).nfe == steps * (nfe // (steps + 1))
