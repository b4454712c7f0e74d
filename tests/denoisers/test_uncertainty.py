"""The learned uncertainty: it goes to the log of the mean loss, on any network, and no prediction sees it."""

import jax
import jax.numpy as jnp
import numpy as np

import models
from configs import base
from denoisers import network
from losses import weighted_by_uncertainty
from sde_lib.vp import VP


def _denoiser(uncertainty, **model):
    config = base.get_config()
    config.denoiser.uncertainty = uncertainty
    config.model.update({"width": 8, "multipliers": (1,), "blocks": 1, "attention": (), **model})
    if model:
        config.denoiser.noise_input = "log_sigma"
    return network.create(config.denoiser, models.create(config.model, 1), VP())


def test_the_weighted_loss_is_least_at_the_log_of_the_mean_loss():
    losses = jnp.asarray(np.random.default_rng(0).exponential(3.0, 1000), jnp.float32)

    def mean(u):
        return weighted_by_uncertainty(losses, u).mean()

    best = jnp.log(losses.mean())
    assert abs(jax.grad(mean)(best)) < 1e-5 and jax.grad(jax.grad(mean))(best) > 0
    # There every noise level has the same gradient of its loss, one over its size.
    np.testing.assert_allclose(
        jax.grad(lambda s: weighted_by_uncertainty(s * losses, best).mean())(1.0), 1, rtol=1e-5
    )


def test_any_network_has_one_and_its_predictions_stay():
    plain, with_it = _denoiser(False), _denoiser(True)
    params = with_it.init(jax.random.key(0), (8, 8, 1))
    assert params.keys() == {"network", "uncertainty"}
    x, t = jax.random.normal(jax.random.key(1), (3, 8, 8, 1)), jnp.array([0.1, 0.5, 0.9])
    np.testing.assert_array_equal(
        jax.jit(with_it)(params, x, t).eps, jax.jit(plain)(params["network"], x, t).eps
    )
    u = with_it.log_variance(params, t)
    assert u.shape == (3,) and len(np.unique(u)) == 3 and np.abs(u).max() < 5
    # The network of this one has no sizes to hold, its uncertainty has.
    after = with_it.normalized(params)
    assert after["network"] is params["network"] and plain.takes_labels is with_it.takes_labels
    kernel = after["uncertainty"]["linear"]["kernel"]
    np.testing.assert_allclose(np.sqrt(np.mean(kernel**2)), 1, atol=2e-4)


def test_a_network_that_is_normalized_is_so_under_a_head_and_an_uncertainty():
    config = base.get_config()
    config.denoiser.update({"uncertainty": True, "variance_head": "residual", "noise_input": "log_sigma"})
    config.model.update({"name": "edm2", "width": 8, "multipliers": (1,), "blocks": 1, "attention": ()})
    config.model.head_width = 8
    denoiser = network.create(config.denoiser, models.create(config.model, 1), VP())
    params = jax.tree.map(lambda leaf: np.full(leaf.shape, 2.0, np.float32), denoiser.shapes((4, 4, 1)))
    after = denoiser.normalized(params)["network"]
    assert abs(after["network"]["output"]["kernel"].mean() - 1) < 1e-3
    assert (jax.tree.leaves(after["variance_branch"])[0] == 2).all()
