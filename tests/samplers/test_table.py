"""The loop that runs tables: noise by sample, calls counted, trajectories, one compilation for all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from denoisers.gaussian_mixture import GaussianMixture
from samplers.correctors import Langevin
from samplers.moments import moments
from samplers.solvers.ddim import DDIM
from samplers.solvers.dpm_solver_plus_plus import Multistep, Stochastic
from samplers.solvers.predictors import Ancestral, EulerMaruyama, ReverseDiffusion
from samplers.solvers.sa_solver import SASolver
from samplers.solvers.unipc import UniPC
from samplers.table import sample
from samplers.time_grids import LogSNR, Power
from sde_lib import SDES
from tests.conftest import sampling

MEAN, VARIANCE, SHAPE = 0.3, 0.25, (2, 1, 1)


def _denoise(sde):
    gaussian = GaussianMixture.diagonal([1.0], np.full((1, 2), MEAN), np.full((1, 2), VARIANCE), SHAPE)
    return lambda x, t: gaussian.denoise(sde, x, t)


def _table(solver, sde, steps, final_denoise=True):
    return solver(sde, Power()(sde, steps), final_denoise).astype(np.float32)


def _run(sde, table, count=4, between=(), keep=None, seed=0):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(count))
    draw = jax.jit(lambda keys, table: sample(keys, sde, _denoise(sde), SHAPE, table, between, keep))
    return draw(keys, table)


def test_samples_have_the_predicted_moments():
    sde = SDES["vp"]()
    table = ReverseDiffusion()(sde, Power()(sde, 50))
    x = np.asarray(_run(sde, table.astype(np.float32), count=8000).x).reshape(-1)
    mean, variance = moments(sde, table, MEAN, VARIANCE)
    assert abs(x.mean() - mean) < 4 * np.sqrt(variance / x.size)
    assert abs(x.var() / variance - 1) < 4 * np.sqrt(2 / x.size)


def test_a_sample_does_not_depend_on_its_batch():
    sde = SDES["vp"]()
    table = _table(EulerMaruyama(), sde, 10)
    found = [_run(sde, table, count, (Langevin(),)).x for count in (3, 8)]
    np.testing.assert_allclose(found[0], found[1][:3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("solver", "between", "final_denoise"),
    [
        (ReverseDiffusion(), (), True),
        (ReverseDiffusion(), (), False),
        (ReverseDiffusion(), (Langevin(steps=2),), True),
        (UniPC(), (), True),
    ],
)
def test_nfe_is_the_number_of_calls(solver, between, final_denoise):
    sde, calls = SDES["ve"](), []
    exact = _denoise(sde)

    def denoise(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return exact(x, t)

    table = _table(solver, sde, 6, final_denoise)
    result = sample(jax.random.split(jax.random.key(0), 2), sde, denoise, SHAPE, table, between)
    jax.block_until_ready(result.x)
    jax.effects_barrier()
    assert result.nfe.tolist() == [len(calls)] * 2


def test_the_trajectory_starts_at_the_prior_and_ends_at_the_sample():
    sde = SDES["vp"]()
    table = _table(Ancestral(), sde, 12)
    kept = _run(sde, table, keep=(0, 5, 12))
    assert kept.trajectory.shape == (4, 4, *SHAPE)
    assert kept.predictions.shape == (3, 4, *SHAPE)
    np.testing.assert_allclose(kept.trajectory[-1], _run(sde, table).x, rtol=1e-6)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.arange(4))
    first = jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(k, table.rows + 1), SHAPE))(keys)
    np.testing.assert_allclose(kept.trajectory[0], first, rtol=1e-6)
    for row, state, prediction in zip((0, 5, 12), kept.trajectory, kept.predictions, strict=False):
        expected = _denoise(sde)(state, jnp.full(4, table.times[row])).x0
        np.testing.assert_allclose(prediction, expected, rtol=1e-5, atol=1e-6)


def test_one_compilation_serves_all_solvers_grids_and_seeds_of_as_many_rows_and_predictions():
    sde, traces = SDES["vp"](), []
    exact = _denoise(sde)

    @jax.jit
    def draw(keys, table):
        traces.append(1)
        return sample(keys, sde, exact, SHAPE, table).x

    one = [ReverseDiffusion(), Ancestral(), DDIM(0.3), EulerMaruyama()]
    two = [Multistep(2), Stochastic(2), SASolver(2, 0)]
    for solvers, compilations in ((one, 1), (two, 2)):
        for seed, solver in enumerate(solvers):
            for grid in (Power(), LogSNR()):
                if isinstance(solver, EulerMaruyama) and isinstance(grid, LogSNR):
                    continue
                table = solver(sde, grid(sde, 5)).astype(np.float32)
                draw(jax.random.split(jax.random.key(seed), 2), table)
        assert len(traces) == compilations


def test_rows_without_noise_draw_none():
    sde = SDES["vp"]()
    table = _table(DDIM(), sde, 5)
    exact = _denoise(sde)
    keys = jax.random.split(jax.random.key(0), 2)
    program = jax.jit(lambda keys, table: sample(keys, sde, exact, SHAPE, table).x).lower(keys, table)
    # Noise stands in the branch of a condition, which a row without noise does not take.
    assert "stablehlo.case" in program.as_text() or "stablehlo.if" in program.as_text()


def test_a_table_prints_one_line_a_call():
    config = sampling({"predictor": "edm", "steps": 2, "largest_bias": None})
    text = str(samplers.create(config, SDES["vp"]()).table)
    assert len(text.splitlines()) == 1 + 5 + 1
    assert "eps" in text and "x0" in text and "unchanged" in text
