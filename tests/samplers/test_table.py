"""Tables and the loop that runs them, against textbook loops and exact moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from configs import base
from creation import ConfigError
from samplers import predictors, time_grids
from samplers.correctors import Langevin
from samplers.table import sample
from sde_lib.gaussian_mixture import GaussianMixture
from sde_lib.subvp import SubVP
from sde_lib.ve import VE
from sde_lib.vp import VP

SDES = {"vp": VP(), "subvp": SubVP(), "ve": VE(sigma_max=20.0)}
SERVED = [(p, n) for p in predictors.PREDICTORS for n in SDES if (p, n) != ("ancestral", "subvp")]
each_pair = pytest.mark.parametrize(("predictor", "name"), SERVED)
MEAN, VARIANCE, SHAPE = 0.3, 0.25, (2, 1, 1)


def _denoise(sde):
    gaussian = GaussianMixture.diagonal([1.0], np.full((1, 2), MEAN), np.full((1, 2), VARIANCE), SHAPE)
    return lambda x, t: gaussian.denoise(sde, x, t)


def _table(predictor, sde, steps, final_denoise=True):
    return predictors.table(predictor, sde, time_grids.uniform(sde, steps), final_denoise)


def _run(sde, table, count=4, corrector=None, keep=None, seed=0):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(count))
    table = table.astype(np.float32)
    denoise = _denoise(sde)

    def draw(keys, table):
        result = sample(keys, sde, denoise, SHAPE, table, corrector, keep)
        return result.trajectory if keep else result.x

    return jax.jit(draw)(keys, table)


def _textbook(predictor, sde, score, x, t, s, z):
    """One step of Song et al. (2021), written from the SDE's own functions and the score."""
    h, f, g = t - s, sde.drift_rate(t), sde.diffusion(t)
    if predictor == "euler_maruyama":
        return x - (f * x - g**2 * score) * h + g * jnp.sqrt(h) * z
    scale = sde.alpha(t) / sde.alpha(s)
    std = jnp.sqrt(sde.sigma(t) ** 2 - scale**2 * sde.sigma(s) ** 2)
    if predictor == "reverse_diffusion":
        return x - (scale - 1) * x + std**2 * score + std * z
    # Ancestral: the mean (x + std^2 score) / scale, with the posterior's variance.
    return (x + std**2 * score) / scale + std * sde.sigma(s) / sde.sigma(t) * z


@each_pair
@pytest.mark.parametrize("final_denoise", [True, False])
def test_the_loop_agrees_with_a_textbook_loop(predictor, name, final_denoise):
    sde, steps = SDES[name], 7
    with jax.enable_x64(True):
        table = _table(predictor, sde, steps, final_denoise)
        keys = jax.random.split(jax.random.key(1), 3)
        denoise = _denoise(sde)
        found = sample(keys, sde, denoise, SHAPE, table).x

        def normal(row, split):
            row_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, row)
            if split:
                row_keys = jax.vmap(jax.random.split)(row_keys)[:, 0]
            return jax.vmap(lambda key: jax.random.normal(key, SHAPE))(row_keys)

        rows = steps + 1 if final_denoise else steps
        x = sde.prior_std * normal(rows + 1, False)
        times = jnp.asarray(time_grids.uniform(sde, steps))
        for n in range(steps):
            t, s = times[n], times[n + 1]
            score = denoise(x, jnp.full(3, t)).score
            # The step's noise is drawn in the row that follows, or in the closing move.
            z = normal(n + 1, n + 1 < rows)
            x = _textbook(predictor, sde, score, x, t, s, z)
        if final_denoise:
            x = denoise(x, jnp.full(3, times[-1])).x0
        np.testing.assert_allclose(found, x, rtol=1e-8, atol=1e-8)


def _moments(sde, table):
    """Mean and variance of a run on one Gaussian: exact, since every row is affine."""
    m, v = 0.0, sde.prior_std**2
    rows = len(table.times)
    with jax.enable_x64(True):
        a, s = (np.asarray(f(jnp.asarray(table.times))) for f in (sde.alpha, sde.sigma))
    gain = a * VARIANCE / (a**2 * VARIANCE + s**2)
    prediction = (0.0, 0.0)
    for k in range(rows + 1):
        move = table.move[k] if k < rows else table.closing_move
        noise = table.noise[k] if k < rows else table.closing_noise
        scale = move[0] + move[1] * prediction[0]
        m, v = scale * m + move[1] * prediction[1], scale**2 * v + noise**2
        if k < rows:
            prediction = (gain[k], MEAN - gain[k] * a[k] * MEAN)
    return m, v


@each_pair
def test_the_moments_converge_to_those_of_the_data(predictor, name):
    sde = SDES[name]
    bias = []
    for steps in (250, 1000, 4000):
        _, variance = _moments(sde, _table(predictor, sde, steps, final_denoise=False))
        with jax.enable_x64(True):
            t = sde.sampling_t_min
            exact = float(sde.alpha(t)) ** 2 * VARIANCE + float(sde.sigma(t)) ** 2
        bias.append(variance / exact - 1)
    # First order: four times the steps, a quarter of the bias, until the prior's own mismatch shows.
    assert abs(bias[2]) < 5e-3
    assert abs(bias[2]) < 0.4 * abs(bias[1]) or abs(bias[2]) < 2e-4
    mean, _ = _moments(sde, _table(predictor, sde, 4000))
    assert abs(mean - MEAN) < 3e-3


def test_samples_have_the_predicted_moments():
    sde = SDES["vp"]
    table = _table("reverse_diffusion", sde, 50)
    x = np.asarray(_run(sde, table, count=8000)).reshape(-1)
    mean, variance = _moments(sde, table)
    assert abs(x.mean() - mean) < 4 * np.sqrt(variance / x.size)
    assert abs(x.var() / variance - 1) < 4 * np.sqrt(2 / x.size)


@pytest.mark.parametrize("name", SDES)
def test_langevin_steps_repair_what_the_predictor_left(name):
    # Few predictor steps leave a bias that Langevin steps at each level reduce. In high
    # dimension, where the norms that set the step hardly vary from sample to sample.
    sde, d = SDES[name], 400
    table = _table("reverse_diffusion", sde, 20).astype(np.float32)
    gaussian = GaussianMixture.diagonal([1.0], np.full((1, d), MEAN), np.full((1, d), VARIANCE), (20, 20, 1))
    keys = jax.random.split(jax.random.key(0), 64)

    def bias(corrector):
        def draw(keys):
            return sample(
                keys, sde, lambda x, t: gaussian.denoise(sde, x, t), gaussian.shape, table, corrector
            ).x

        return abs(float(jax.jit(draw)(keys).var()) / VARIANCE - 1)

    assert bias(Langevin(snr=0.1, steps=20)) < 0.5 * bias(None)


def test_langevin_step_size_is_that_of_algorithm_4():
    sde, t = VP(), jnp.full(2, 0.3)
    denoise = _denoise(sde)
    x = jnp.array([[[[1.0]], [[2.0]]], [[[0.5]], [[-3.0]]]])
    keys = jax.random.split(jax.random.key(0), 2)
    found = Langevin(snr=0.2).step(keys, x, t, denoise)
    z = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 0), SHAPE))(keys)
    for i in range(2):
        score = denoise(x, t).score[i]
        size = 2 * (0.2 * np.linalg.norm(z[i]) / np.linalg.norm(score)) ** 2
        np.testing.assert_allclose(found[i], x[i] + size * score + np.sqrt(2 * size) * z[i], rtol=1e-5)


def test_a_sample_does_not_depend_on_its_batch():
    sde = SDES["vp"]
    table = _table("euler_maruyama", sde, 10)
    corrector = Langevin()
    np.testing.assert_allclose(
        _run(sde, table, 3, corrector), _run(sde, table, 8, corrector)[:3], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("corrector", "final_denoise"), [(None, True), (None, False), (Langevin(steps=2), True)]
)
def test_nfe_is_the_number_of_calls(corrector, final_denoise):
    sde, calls = SDES["ve"], []
    exact = _denoise(sde)

    def denoise(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return exact(x, t)

    table = _table("reverse_diffusion", sde, 6, final_denoise).astype(np.float32)
    result = sample(jax.random.split(jax.random.key(0), 2), sde, denoise, SHAPE, table, corrector)
    jax.block_until_ready(result.x)
    jax.effects_barrier()
    assert len(calls) == result.nfe


def test_the_trajectory_starts_at_the_prior_and_ends_at_the_sample():
    sde = SDES["vp"]
    table = _table("ancestral", sde, 12)
    trajectory = _run(sde, table, keep=(0, 5, 12))
    assert trajectory.shape == (4, 4, *SHAPE)
    np.testing.assert_allclose(trajectory[-1], _run(sde, table), rtol=1e-6)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.arange(4))
    first = jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(k, table.rows + 1), SHAPE))(keys)
    np.testing.assert_allclose(trajectory[0], first, rtol=1e-6)


def test_one_compilation_serves_all_predictors_of_as_many_steps():
    sde, traces = SDES["vp"], []
    exact = _denoise(sde)

    def draw(keys, table):
        traces.append(1)
        return sample(keys, sde, exact, SHAPE, table).x

    compiled = jax.jit(draw)
    for predictor in predictors.PREDICTORS:
        compiled(jax.random.split(jax.random.key(0), 2), _table(predictor, sde, 5).astype(np.float32))
    assert len(traces) == 1


def test_ancestral_refuses_the_sub_vp_sde():
    config = base.get_config().sampling
    config.predictor = "ancestral"
    with pytest.raises(ConfigError, match="sub-VP"):
        samplers.create(config, SDES["subvp"])
