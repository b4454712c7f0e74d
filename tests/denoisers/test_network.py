"""Parametrizations: how a network's output becomes E[x_0 | x_t]."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components import ConfigError
from configs import base
from denoisers.network import NOISE_INPUTS, PARAMETRIZATIONS, Denoiser, create, edm_preconditioning
from sde_lib.discrete import DDPM, SMLD
from sde_lib.edm import EDM
from sde_lib.subvp import SubVP
from sde_lib.ve import VE
from sde_lib.vp import VP


class Affine(nn.Module):
    """A 'network' with an output that depends on all it is given."""

    @nn.compact
    def __call__(self, x, noise, label=None, dropout_keys=None):
        bias = self.param("bias", nn.initializers.constant(0.3), ())
        return jnp.sin(x) + bias + 0.01 * noise[:, None, None, None]


SDES = [VP(), SubVP(), VE()]
X = np.random.default_rng(0).standard_normal((4, 3, 3, 2)).astype(np.float32)
T = jnp.array([1e-3, 0.2, 0.7, 1.0])
each_sde = pytest.mark.parametrize("sde", SDES, ids=lambda sde: type(sde).__name__)


@each_sde
def test_eps_parametrization_returns_the_network_as_eps(sde):
    denoiser = Denoiser(Affine(), sde, "eps", "time")
    params = {"bias": jnp.float32(0.3)}
    output = Affine().apply({"params": params}, X, 999.0 * T)
    np.testing.assert_array_equal(denoiser(params, X, T).eps, output)


@each_sde
def test_edm_parametrization_is_karras_et_al_in_scaled_variables(sde):
    denoiser = Denoiser(Affine(), sde, "edm", "log_sigma", sigma_data=0.6)
    params = {"bias": jnp.float32(0.3)}
    alpha, sigma = (np.asarray(f(T), np.float64)[:, None, None, None] for f in (sde.alpha, sde.sigma))
    y, r = X / alpha, sigma / alpha
    total = r**2 + 0.6**2
    network = Affine().apply({"params": params}, y / np.sqrt(total), np.log(r).ravel() / 4)
    expected = 0.6**2 / total * y + r * 0.6 / np.sqrt(total) * np.asarray(network)
    np.testing.assert_allclose(denoiser(params, X, T).x0, expected, rtol=1e-4, atol=1e-5)


@each_sde
def test_edm_inputs_and_targets_have_unit_variance(sde):
    # For Gaussian data of that spread, c_in x and (x_0 - c_skip y) / c_out are standard normal.
    alpha, sigma, spread = sde.alpha(T), sde.sigma(T), 0.6
    r = sigma / alpha
    c = edm_preconditioning(alpha, r, spread)
    variance_y = spread**2 + r**2
    np.testing.assert_allclose(c.c_in**2 * variance_y, 1, rtol=1e-5)
    error = (1 - c.skip) ** 2 * spread**2 + c.skip**2 * r**2
    np.testing.assert_allclose(error / c.out**2, 1, rtol=1e-4)


@each_sde
def test_prediction_is_one_statement_in_all_its_forms(sde):
    prediction = Denoiser(Affine(), sde).bind({"bias": jnp.float32(0.3)})(X, T)
    a, s = prediction.alpha, prediction.sigma
    np.testing.assert_allclose(a * prediction.x0 + s * prediction.eps, X, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(prediction.score, -prediction.eps / s, rtol=1e-4, atol=1e-4)
    if isinstance(sde, VP):
        np.testing.assert_allclose(a * X - s * prediction.velocity, prediction.x0, rtol=1e-3, atol=1e-4)


@each_sde
# A prediction of x_0 says nothing of the noise near the data, in any precision.
@pytest.mark.parametrize("parametrization", [name for name in PARAMETRIZATIONS if name != "x0"])
def test_eps_near_the_data_keeps_its_digits_in_float32(sde, parametrization):
    denoiser = Denoiser(Affine(), sde, parametrization, "log_sigma")
    t = jnp.full(4, sde.t_min)
    found = denoiser({"bias": jnp.float32(0.3)}, X, t)
    with jax.enable_x64(True):
        exact = denoiser({"bias": jnp.float64(0.3)}, jnp.asarray(X, jnp.float64), t.astype(jnp.float64))
        np.testing.assert_allclose(
            exact.alpha * exact.x0 + exact.sigma * exact.eps, X, rtol=1e-10, atol=1e-12
        )
    np.testing.assert_allclose(found.eps, exact.eps, rtol=1e-4, atol=1e-5)


@each_sde
@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_a_network_that_returns_its_target_gives_the_data_and_the_noise(sde, parametrization):
    # The targets as their papers write them, in x = alpha x_0 + sigma eps.
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        x0, eps = rng.standard_normal((2, 4, 3, 3, 2))
        t = jnp.asarray([0.01, 0.2, 0.7, 0.99])
        alpha, sigma = (np.asarray(f(t))[:, None, None, None] for f in (sde.alpha, sde.sigma))
        x, r = alpha * x0 + sigma * eps, sigma / alpha
        total = np.hypot(r, 0.5)
        targets = {
            "eps": eps,
            "x0": x0,
            "v": alpha * eps - sigma * x0,
            "score": -eps,
            "unscaled_score": -eps / sigma,
            "flow": eps - x0,
            "edm": (x0 - (0.5 / total) ** 2 * x / alpha) / (r * 0.5 / total),
        }

        class Constant:
            def apply(self, variables, x, noise, label, dropout_keys):
                return targets[parametrization]

        found = Denoiser(Constant(), sde, parametrization, "log_sigma")({}, jnp.asarray(x), t)
        np.testing.assert_allclose(found.x0, x0, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.eps, eps, rtol=1e-9, atol=1e-9)


def test_a_second_half_of_channels_places_the_variance():
    class Two:
        def apply(self, variables, x, noise, label, dropout_keys):
            return jnp.concatenate([x, jnp.full_like(x, 0.5)], axis=-1)

    found = Denoiser(Two(), VP(), variance_head="fraction")({}, X, T)
    assert found.eps.shape == X.shape
    np.testing.assert_allclose(found.eps, X, rtol=1e-5)
    np.testing.assert_allclose(found.variance_fraction, 0.75)


def test_noise_inputs_that_the_process_does_not_have_are_refused():
    config = base.get_config().denoiser
    config.noise_input = "index"
    with pytest.raises(ConfigError, match="denoiser.noise_input"):
        create(config, Affine(), VP())
    np.testing.assert_allclose(create(config, Affine(), DDPM()).sde.index(jnp.float32(0.5)), 499)
    config.noise_input = "rescaled_index"
    with pytest.raises(ConfigError, match="denoiser.noise_input"):
        create(config, Affine(), VP())
    config.noise_input = "time"
    with pytest.raises(ConfigError, match="log_sigma"):
        create(config, Affine(), EDM())


def test_levels_are_counted_as_the_published_networks_count_them():
    # NCSN: its table of sigmas decreases. DDPM: level 0 is the least noise; between levels, linear in t.
    smld, ddpm = SMLD(noise_levels=232, sigma_max=50.0), DDPM()
    table = np.geomspace(50, 0.01, 232)
    t = jnp.asarray(smld.grid, jnp.float32)
    index = np.asarray(NOISE_INPUTS["index"](smld, t))
    np.testing.assert_allclose(index, np.arange(231, -1, -1), atol=1e-3)
    np.testing.assert_allclose(smld.sigma(t), table[np.round(index).astype(int)], rtol=1e-4)
    t = jnp.array([1 / 1000, 2 / 1000, 2.25 / 1000, 1.0])
    np.testing.assert_allclose(NOISE_INPUTS["index"](ddpm, t), [0, 1, 1.25, 999], atol=1e-3)


@each_sde
def test_log_sigma_is_natural_and_karras_et_al_take_a_quarter_of_it(sde):
    expected = np.log(np.asarray(sde.sigma(T), float) / np.asarray(sde.alpha(T), float))
    np.testing.assert_allclose(NOISE_INPUTS["unscaled_log_sigma"](sde, T), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(NOISE_INPUTS["log_sigma"](sde, T), expected / 4, rtol=1e-4, atol=1e-4)


class Rematerialized(nn.Module):
    """Two layers, and how much of them is computed again on the way back."""

    rematerialization: str = "none"

    @nn.compact
    def __call__(self, x, noise, label=None, dropout_keys=None):
        h = jnp.sin(nn.Dense(8, name="first")(x) + noise[:, None, None, None])
        if dropout_keys is not None:
            h *= jax.vmap(lambda key: jax.random.bernoulli(key, 0.5, h.shape[1:]))(dropout_keys)
        return nn.Dense(2, name="second")(jnp.tanh(h))


def test_full_rematerialization_changes_no_value_and_no_gradient():
    plain, again = (Denoiser(Rematerialized(name), VP()) for name in ("none", "full"))
    params = plain.init(jax.random.key(0), X.shape[1:])
    keys = jax.random.split(jax.random.key(1), 4)

    def loss(denoiser):
        return lambda params, x: jnp.square(denoiser(params, x, T, dropout_keys=keys).eps).sum()

    expected = jax.value_and_grad(loss(plain), (0, 1))(params, X)
    found = jax.value_and_grad(loss(again), (0, 1))(params, X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)
    kept = [str(jax.make_jaxpr(jax.grad(loss(d)))(params, X)).count("sin ") for d in (plain, again)]
    assert kept[1] > kept[0] == 1


def test_the_rescaled_index_counts_levels_as_if_there_were_a_thousand():
    many, few = DDPM(noise_levels=4000), DDPM()
    levels = jnp.arange(4000.0)
    found = NOISE_INPUTS["rescaled_index"](many, (levels + 1) / 4000)
    # The released code of Nichol and Dhariwal (2021) multiplies the number of the level.
    np.testing.assert_allclose(found, levels * (1000 / 4000), atol=1e-3)
    t = jnp.linspace(1e-3, 1, 50)
    np.testing.assert_array_equal(NOISE_INPUTS["rescaled_index"](few, t), NOISE_INPUTS["index"](few, t))
