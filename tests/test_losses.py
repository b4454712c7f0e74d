"""The objective against closed forms on Gaussian data."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import losses
from configs import base
from creation import ConfigError
from losses import Objective
from sde_lib.gaussian import Gaussian
from sde_lib.subvp import SubVP
from sde_lib.ve import VE
from sde_lib.vp import VP

SDES = [VP(), SubVP(), VE()]
each_sde = pytest.mark.parametrize("sde", SDES, ids=lambda sde: type(sde).__name__)
VARIANCES = np.array([0.01, 0.1, 1.0, 2.0], np.float32)
GAUSSIAN = Gaussian(jnp.full(4, 0.2), jnp.eye(4), jnp.asarray(VARIANCES), (2, 2, 1))


def _errors(objective, t, count=20_000):
    x0 = GAUSSIAN.sample(jax.random.key(0), count)
    keys = jax.random.split(jax.random.key(1), count)
    times = jnp.full(count, t)
    return np.asarray(
        objective.example_losses(keys, lambda x, t: GAUSSIAN.denoise(objective.sde, x, t), x0, times)
    )


@each_sde
@pytest.mark.parametrize("weighting", losses.WEIGHTINGS)
@pytest.mark.parametrize("t", [0.05, 0.4, 0.9])
def test_loss_of_the_exact_denoiser_is_its_closed_form(sde, weighting, t):
    objective = Objective(sde, weighting=weighting)
    alpha, sigma = float(sde.alpha(t)), float(sde.sigma(t))
    # (alpha/sigma)^2 Var[x_0 | x_t] in each direction is the error of eps that no denoiser can avoid.
    floor = np.mean(alpha**2 * VARIANCES / (alpha**2 * VARIANCES + sigma**2))
    weight = 1.0 if weighting == "simple" else float(sde.diffusion(t)) ** 2 / sigma**2
    found = _errors(objective, t)
    error = found.std() / np.sqrt(len(found))
    assert error / found.mean() < 0.02
    assert abs(found.mean() - weight * floor) < 4 * error


def test_reductions_differ_by_half_the_dimension():
    mean = _errors(Objective(VP(), reduction="mean"), 0.3, 10)
    half_sum = _errors(Objective(VP(), reduction="half_sum"), 0.3, 10)
    np.testing.assert_allclose(half_sum, 2.0 * mean, rtol=1e-6)


@each_sde
@pytest.mark.parametrize("time_sampling", losses.TIME_SAMPLINGS)
def test_times_cover_their_range_evenly(sde, time_sampling):
    objective = Objective(sde, time_sampling=time_sampling)
    keys, index = jax.random.split(jax.random.key(0), 4096), jnp.arange(4096)
    t = np.sort(np.asarray(objective.times(keys, jax.random.key(1), index, 4096)))
    assert t[0] >= sde.t_min and t[-1] <= sde.t_max
    gap = np.abs(t - np.linspace(sde.t_min, sde.t_max, 4096)).max()
    assert gap < (2e-3 if time_sampling == "low_discrepancy" else 1.63 / np.sqrt(4096))


def test_times_of_a_share_are_those_of_the_whole_batch():
    for name in losses.TIME_SAMPLINGS:
        objective = Objective(VP(), time_sampling=name)
        keys, index = jax.random.split(jax.random.key(0), 16), jnp.arange(16)
        whole = objective.times(keys, jax.random.key(1), index, 16)
        share = objective.times(keys[8:], jax.random.key(1), index[8:], 16)
        np.testing.assert_array_equal(share, whole[8:])


def test_discrete_times_are_the_grid():
    objective = Objective(VP(), time_grid="discrete", noise_levels=10)
    keys = jax.random.split(jax.random.key(0), 1000)
    t = objective.times(keys, jax.random.key(1), jnp.arange(1000), 1000)
    np.testing.assert_allclose(np.unique(np.round(t, 6)), np.arange(1, 11) / 10, rtol=1e-6)


def test_likelihood_weighting_needs_continuous_time():
    config = base.get_config().loss
    config.weighting, config.time_grid = "likelihood", "discrete"
    with pytest.raises(ConfigError, match="loss.time_grid"):
        losses.create(config, VP())
    config.time_grid = "continuous"
    assert dataclasses.asdict(losses.create(config, VP()))["weighting"] == "likelihood"
