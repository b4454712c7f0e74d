"""Likelihoods by the probability-flow ODE against exact ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from likelihood import bits_per_dim, log_likelihood
from sde_lib.gaussian import Gaussian
from sde_lib.subvp import SubVP
from sde_lib.ve import VE
from sde_lib.vp import VP

SDES = [VP(), SubVP(), VE(sigma_max=30.0)]
each_sde = pytest.mark.parametrize("sde", SDES, ids=lambda sde: type(sde).__name__)


def _gaussian(dtype):
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    variances = jnp.asarray([0.05, 0.3, 1.0, 2.0], dtype)
    return Gaussian(jnp.full(4, 0.1, dtype), jnp.asarray(rotation, dtype), variances, (2, 2, 1))


def _model_log_prob(gaussian, sde, x):
    """The density that the flow from the prior, rather than from p_1, gives at t_min."""
    ends = jnp.asarray([sde.t_min, sde.t_max], x.dtype)
    (a0, a1), (s0, s1) = sde.alpha(ends), sde.sigma(ends)
    # The flow of a Gaussian is linear: each direction is scaled by the ratio of its spreads.
    start, end = a0**2 * gaussian.variances + s0**2, a1**2 * gaussian.variances + s1**2
    offsets = (x.reshape(len(x), -1) - a0 * gaussian.mean) @ gaussian.axes
    latent = a1 * gaussian.mean + (offsets * jnp.sqrt(end / start)) @ gaussian.axes.T
    return sde.prior_log_prob(latent) + 0.5 * jnp.sum(jnp.log(end / start))


@each_sde
def test_isotropic_data_has_an_exact_divergence_from_one_probe(sde):
    # J is a multiple of the identity, so a Rademacher probe gives its trace without error.
    with jax.enable_x64(True):
        gaussian = Gaussian(jnp.zeros(4), jnp.eye(4), jnp.full(4, 0.3), (2, 2, 1))
        x = gaussian.sample(jax.random.key(0), 5)
        found = log_likelihood(
            jax.random.split(jax.random.key(1), 5),
            sde,
            lambda x, t: gaussian.denoise(sde, x, t),
            x,
            tolerance=1e-10,
        )
        expected = _model_log_prob(gaussian, sde, x)
        np.testing.assert_allclose(found.log_prob, expected, atol=1e-6)
        # The prior stands in for p_1; the density of the data itself is this close.
        np.testing.assert_allclose(found.log_prob, gaussian.log_prob(x), atol=0.05)
    assert not found.failed.any()


@each_sde
@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased_on_anisotropic_data(sde, probe):
    gaussian = _gaussian(jnp.float32)
    x = jnp.repeat(gaussian.sample(jax.random.key(0), 1), 400, axis=0)
    found = log_likelihood(
        jax.random.split(jax.random.key(1), 400),
        sde,
        lambda x, t: gaussian.denoise(sde, x, t),
        x,
        tolerance=1e-5,
        probe=probe,
    )
    error = float(found.log_prob.std()) / np.sqrt(400)
    assert abs(float(found.log_prob.mean() - _model_log_prob(gaussian, sde, x)[0])) < 4 * error + 1e-3


@each_sde
def test_latents_are_what_the_linear_flow_gives(sde):
    with jax.enable_x64(True):
        gaussian = _gaussian(jnp.float64)
        x = gaussian.sample(jax.random.key(0), 3)
        found = log_likelihood(
            jax.random.split(jax.random.key(1), 3), sde, lambda x, t: gaussian.denoise(sde, x, t), x, 1e-9
        )
        a1, s1 = sde.alpha(1.0), sde.sigma(1.0)
        a0, s0 = sde.alpha(sde.t_min), sde.sigma(sde.t_min)
        offsets = (x.reshape(3, -1) - a0 * gaussian.mean) @ gaussian.axes
        scale = jnp.sqrt((a1**2 * gaussian.variances + s1**2) / (a0**2 * gaussian.variances + s0**2))
        expected = a1 * gaussian.mean + (offsets * scale) @ gaussian.axes.T
        np.testing.assert_allclose(found.latent.reshape(3, -1), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("levels", [17, 256])
@pytest.mark.parametrize("centered", [True, False])
def test_a_uniform_model_has_log2_of_the_levels_bits(levels, centered):
    # The uniform density over the cube that the pixels are scaled to.
    shape = (8, 8, 1)
    log_prob = jnp.full(3, -64 * np.log(2.0) if centered else 0.0)
    np.testing.assert_allclose(bits_per_dim(log_prob, shape, levels, centered), np.log2(levels), rtol=1e-6)
