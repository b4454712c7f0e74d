"""The U-Net's shapes and the behaviour of its blocks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from denoisers.network import Denoiser
from models.embeddings import sinusoidal
from models.layers import Dropout, GroupNorm
from models.unet import UNet
from sde_lib.vp import VP


def _init(network, side, channels):
    return Denoiser(network, VP()).init(jax.random.key(0), (side, side, channels))


def _randomized(params):
    """Parameters without the zero layers, so that every path is seen."""
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    return tree.unflatten([np.float32(0.2 * rng.standard_normal(leaf.shape)) for leaf in leaves])


@pytest.mark.parametrize(
    ("side", "channels", "fields"),
    [
        (8, 1, {"multipliers": (1, 2), "attention": (4,)}),
        (28, 1, {"multipliers": (1, 1, 1), "attention": (7,)}),
        (7, 2, {"multipliers": (1, 2, 2), "attention": (4, 2)}),
        (9, 4, {"multipliers": (1, 1), "time_embedding": "fourier"}),
        (16, 3, {"multipliers": (1,), "blocks": 2, "attention": (), "dtype": "bfloat16"}),
    ],
)
def test_unet_keeps_the_shape_of_any_image(side, channels, fields):
    network = UNet(channels=channels, width=8, **{"blocks": 1, **fields})
    params = _randomized(_init(network, side, channels))
    x = jax.random.normal(jax.random.key(1), (2, side, side, channels))
    apply = jax.jit(lambda x, time: network.apply({"params": params}, x, time))
    y = apply(x, jnp.array([1.0, 500.0]))
    assert y.shape == x.shape and y.dtype == jnp.float32
    assert jnp.isfinite(y).all()
    # Each output depends on its own time, and on every pixel of its own image.
    other_time = apply(x, jnp.array([1.0, 100.0]))
    assert jnp.allclose(y[0], other_time[0], atol=1e-5) and not jnp.allclose(y[1], other_time[1])


def test_unet_starts_at_zero_and_its_parameters_are_float32():
    network = UNet(channels=1, width=8, multipliers=(1,), blocks=1, attention=(), dtype="bfloat16")
    params = _init(network, 8, 1)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}
    y = jax.jit(network.apply)({"params": params}, jnp.ones((1, 8, 8, 1)), jnp.ones(1))
    assert jnp.abs(y).max() < 1e-3


def test_initial_parameters_follow_the_key_and_the_published_variance():
    network = UNet(channels=1, width=32, multipliers=(2,), blocks=1, attention=())
    one, same = _init(network, 8, 1), _init(network, 8, 1)
    other = Denoiser(network, VP()).init(jax.random.key(1), (8, 8, 1))
    assert all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(same)))
    kernel = one["ResidualBlock_0"]["Conv_0"]["kernel"]
    assert not np.array_equal(kernel, other["ResidualBlock_0"]["Conv_0"]["kernel"])
    # Fan-average scaling: variance 1 / (9 (32 + 64) / 2), of a uniform law.
    assert abs(kernel.var() * 9 * 48 - 1) < 0.05
    traced = jax.eval_shape(lambda key: Denoiser(network, VP()).init(key, (8, 8, 1)), jax.random.key(0))
    assert jax.tree.map(jnp.shape, traced) == jax.tree.map(jnp.shape, one)


@pytest.mark.parametrize("channels", [3, 12, 160])
def test_group_norm_agrees_with_flax(channels):
    x = 5 + jax.random.normal(jax.random.key(0), (2, 5, 4, channels))
    ours = GroupNorm()
    params = _randomized(ours.init(jax.random.key(1), x)["params"])
    groups = next(g for g in range(max(min(channels // 4, 32), 1), 0, -1) if channels % g == 0)
    expected = jax.jit(nn.GroupNorm(groups, epsilon=1e-6).apply)({"params": params}, x)
    np.testing.assert_allclose(jax.jit(ours.apply)({"params": params}, x), expected, atol=2e-5)


@pytest.mark.parametrize("narrow", [False, True])
def test_derivatives_of_group_norm_are_those_of_flax(narrow):
    """First and second ones; of what is written out in its stead, in float64."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, change, back = (jnp.asarray(3 + rng.standard_normal((2, 5, 4, 12))) for _ in range(3))
        if narrow:
            x, change = x.astype(jnp.bfloat16), change.astype(jnp.bfloat16)
        params = {name: jnp.asarray(rng.standard_normal(12)) for name in ("scale", "bias")}

        def derivatives(layer, x):
            def apply(params, x):
                return layer.apply({"params": params}, x)

            forward = jax.jvp(apply, (params, x), (jax.tree.map(jnp.cos, params), change.astype(x.dtype)))[1]

            def pulled(params, x):
                value, pull = jax.vjp(apply, params, x)
                return pull(back.astype(value.dtype))

            second = jax.jvp(pulled, (params, x), (params, change.astype(x.dtype)))[1]
            return forward, pulled(params, x), second

        found = jax.jit(lambda: derivatives(GroupNorm(groups=3, dtype=jnp.float32 if narrow else None), x))()
        expected = jax.jit(lambda: derivatives(nn.GroupNorm(3, epsilon=1e-6), x.astype(float)))()
    # In bfloat16 the gradient by x is itself rounded, and sums are float32's.
    tolerance = 2e-2 if narrow else 1e-11
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(a, float), b, rtol=tolerance, atol=tolerance)


def test_group_norm_of_bfloat16_survives_a_large_mean():
    """Its variance is the difference of two sums there; it stays below what rounding the images costs."""
    rng = np.random.default_rng(1)
    exact = 100 + rng.standard_normal((2, 16, 16, 32))
    x = jnp.asarray(exact, jnp.bfloat16)
    layer = GroupNorm(groups=8, dtype=jnp.float32)
    params = layer.init(jax.random.key(0), x)["params"]
    found = jax.jit(layer.apply)({"params": params}, x)
    own = jax.jit(layer.apply)({"params": params}, x.astype(jnp.float32))
    rounding = np.abs(np.asarray(x, float) - exact).std()
    assert np.abs(found - own).max() < 0.05 * rounding


def test_dropout_of_an_example_depends_on_its_key_alone():
    layer = Dropout(0.25)
    keys = jax.random.split(jax.random.key(0), 6)
    x = jnp.ones((6, 4, 4, 100))
    y = layer.apply({}, x, keys)
    np.testing.assert_array_equal(layer.apply({}, x[3:], keys[3:]), y[3:])
    kept = float((y > 0).mean())
    assert abs(kept - 0.75) < 4 * np.sqrt(0.25 * 0.75 / x.size)
    np.testing.assert_allclose(y[y > 0], 1 / 0.75, rtol=1e-6)
    np.testing.assert_array_equal(layer.apply({}, x, None), x)


def test_dropout_layers_draw_different_masks():
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x, keys):
            return Dropout(0.5)(x, keys), Dropout(0.5)(x, keys)

    first, second = Two().apply({}, jnp.ones((1, 200)), jax.random.split(jax.random.key(0), 1))
    assert not jnp.array_equal(first, second)


def test_sinusoidal_embedding_has_the_published_frequencies():
    found = sinusoidal(jnp.array([3.0]), 8)[0]
    frequencies = 10_000.0 ** (-np.arange(4) / 3)
    np.testing.assert_allclose(found, [*np.sin(3 * frequencies), *np.cos(3 * frequencies)], rtol=1e-5)
