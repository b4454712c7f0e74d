"""Optimizers and schedules: the published settings, number by number."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from components import ConfigError
from configs import base
from training import optimizers


def _optim(**fields):
    config = base.get_config().optim
    config.update(fields)
    return config


def _rates(config, steps, total):
    return np.array([float(optimizers.learning_rate(config, total)(step)) for step in steps])


def test_the_learning_rate_warms_up_and_falls_as_a_cosine():
    optim = _optim(warmup=10, schedule="cosine", learning_rate=0.1, grad_clip=0.0, beta1=0.0, beta2=0.0)
    optimizer = optimizers.create(optim, 110)
    # With both betas zero Adam's update is the learning rate times the gradient's sign.
    state, update = optimizer.init(jnp.float32(0.0)), jax.jit(optimizer.update)
    rates = []
    for _ in range(111):
        change, state = update(jnp.float32(2.0), state, jnp.float32(0.0))
        rates.append(-float(change))
    np.testing.assert_allclose(rates[:11], 0.1 * np.arange(11) / 10, atol=1e-6)
    np.testing.assert_allclose(rates[60], 0.05, atol=1e-6)
    assert abs(rates[110]) < 1e-6


def test_the_linear_schedule_ends_at_zero():
    optim = _optim(warmup=10, schedule="linear", learning_rate=0.1)
    found = _rates(optim, [0, 5, 10, 60, 110], 110)
    np.testing.assert_allclose(found, [0, 0.05, 0.1, 0.05, 0], atol=1e-7)


def test_edm2_s_learning_rate_is_the_published_function_of_images():
    # Karras et al. (2024): 0.01 / sqrt(max(images / (35000 batch), 1)) min(images / 10^7, 1).
    batch, steps = 2048, np.array([0, 1, 1000, 4882, 4883, 35_000, 140_000, 500_000])
    images = steps * batch
    published = 0.01 / np.sqrt(np.maximum(images / (35_000 * batch), 1)) * np.minimum(images / 1e7, 1)
    optim = _optim(warmup=4883, schedule="inverse_sqrt", decay_steps=35_000, learning_rate=0.01)
    np.testing.assert_allclose(_rates(optim, steps, 524_288), published, rtol=5e-5)


def test_the_ancestor_s_learning_rate_is_zero_at_first_and_stays_after_the_warm_up():
    optim = _optim(warmup=5000, learning_rate=2e-4)
    np.testing.assert_allclose(_rates(optim, [0, 2500, 5000, 10**6], 1_300_000), [0, 1e-4, 2e-4, 2e-4])


def test_gradients_are_clipped_by_their_global_norm():
    clip, free = optimizers.create(_optim(), 10), optimizers.create(_optim(grad_clip=0.0), 10)
    gradient = {"a": jnp.full(4, 30.0), "b": jnp.full(4, 40.0)}
    norm = float(optax.tree.norm(gradient))
    scaled = jax.tree.map(lambda g: g / norm, gradient)
    params = jax.tree.map(jnp.zeros_like, gradient)
    clipped = clip.update(gradient, clip.init(params), params)[1]
    expected = free.update(scaled, free.init(params), params)[1]
    for a, b in zip(jax.tree.leaves(clipped), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_epsilon_is_added_to_the_root_of_the_second_moment():
    optimizer = optimizers.create(_optim(epsilon=3.0, warmup=0, learning_rate=0.5, grad_clip=0.0), 10)
    update, _ = optimizer.update(jnp.float32(1.0), optimizer.init(jnp.float32(0.0)), jnp.float32(0.0))
    np.testing.assert_allclose(update, -0.5 * 1 / (1 + 3), rtol=1e-5)


def test_muon_makes_updates_of_kernels_orthogonal_and_is_adam_for_the_rest():
    optim = _optim(name="muon", warmup=0, learning_rate=0.1, grad_clip=0.0)
    rng = np.random.default_rng(0)
    params = {"layer": {"kernel": jnp.zeros((3, 3, 4, 8)), "bias": jnp.zeros(8)}, "frequencies": jnp.zeros(5)}
    gradient = jax.tree.map(lambda a: jnp.asarray(rng.standard_normal(a.shape), jnp.float32), params)
    optimizer = optimizers.create(optim, 10)
    update, _ = jax.jit(optimizer.update)(gradient, optimizer.init(params), params)
    kernel = np.asarray(update["layer"]["kernel"]).reshape(36, 8)
    # Newton-Schulz brings singular values near one only; a root mean square of 0.2 is that of sqrt(36).
    singular = np.linalg.svd(kernel, compute_uv=False) / (0.1 * 0.2 * np.sqrt(36))
    assert singular.min() > 0.5 and singular.max() < 1.5
    for found, of in (
        (update["layer"]["bias"], gradient["layer"]["bias"]),
        (update["frequencies"], gradient["frequencies"]),
    ):
        np.testing.assert_allclose(found, -0.1 * np.sign(of), rtol=1e-4)


def test_muon_s_momentum_is_published_where_it_is_left_out():
    params = {"kernel": jnp.zeros((4, 8))}
    rng = np.random.default_rng(1)
    gradients = [{"kernel": jnp.asarray(rng.standard_normal((4, 8)), jnp.float32)} for _ in range(2)]

    def second_update(momentum):
        optimizer = optimizers.create(_optim(name="muon", warmup=0, momentum=momentum), 10)
        _, state = optimizer.update(gradients[0], optimizer.init(params), params)
        return optimizer.update(gradients[1], state, params)[0]["kernel"]

    np.testing.assert_array_equal(second_update(None), second_update(0.95))
    assert np.abs(second_update(None) - second_update(0.5)).max() > 1e-5


def test_a_warm_up_as_long_as_the_run_is_told_where_the_rate_should_fall():
    for schedule in ("cosine", "linear"):
        line = optimizers.unreached(_optim(warmup=10, schedule=schedule), 10)
        assert "optim.warmup=10" in line and "training.steps=10" in line
        assert optimizers.unreached(_optim(warmup=9, schedule=schedule), 10) is None
    for schedule in ("constant", "inverse_sqrt"):
        assert optimizers.unreached(_optim(warmup=10, schedule=schedule), 10) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schedule": "inverse_sqrt"}, "optim.decay_steps"),
        ({"decay_steps": 10}, 'needs optim.schedule="inverse_sqrt"'),
        ({"epsilon": 0.0}, "optim.epsilon=0.0 must be positive"),
        ({"momentum": 1.0}, "optim.momentum=1.0"),
        ({"weight_decay": 0.1}, 'needs optim.name="adamw" or "muon"'),
    ],
)
def test_what_cannot_be_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        optimizers.create(_optim(**fields), 10)
