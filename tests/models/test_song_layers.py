"""What bfloat16 rounds in the blocks of Song et al. (2021)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models.layers import GroupNorm
from models.song_layers import norm_silu


class _NormSilu(nn.Module):
    @nn.compact
    def __call__(self, x):
        return norm_silu(4, "norm", x)


def test_norm_and_silu_are_rounded_once():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 6, 6, 16)) * 3 + 1, jnp.bfloat16)
    scale, bias = (jnp.asarray(rng.standard_normal(16), jnp.float32) for _ in range(2))
    params = {"scale": scale, "bias": bias}
    found = jax.jit(_NormSilu().apply)({"params": {"norm": params}}, x)
    exact = jax.nn.silu(GroupNorm(groups=4).apply({"params": params}, x.astype(jnp.float32)))
    assert found.dtype == jnp.bfloat16
    # But for what lies within float32's own error of the middle between two.
    assert jnp.mean(found == exact.astype(jnp.bfloat16)) > 0.99


def test_its_derivatives_are_those_of_the_two_steps():
    rng = np.random.default_rng(1)
    x, change = (jnp.asarray(rng.standard_normal((2, 4, 4, 8)), jnp.float32) for _ in range(2))
    params = {"scale": jnp.asarray(rng.standard_normal(8), jnp.float32), "bias": jnp.ones(8)}

    def together(params, x):
        return _NormSilu().apply({"params": {"norm": params}}, x)

    def apart(params, x):
        return jax.nn.silu(GroupNorm(groups=4).apply({"params": params}, x))

    def derivatives(function):
        value, forward = jax.jvp(lambda x: function(params, x), (x,), (change,))
        backward = jax.vjp(function, params, x)[1](change)
        return value, forward, backward

    found, expected = jax.jit(lambda: (derivatives(together), derivatives(apart)))()
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
