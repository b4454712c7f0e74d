"""The convolution in pieces is the convolution, in every kind of derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.convolution import convolution

OPTIONS = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    shapes = ((5, 24, 24, 2), (3, 3, 2, 3), (5, 24, 24, 3))
    return [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]


def _both(strides=(1, 1)):
    def plain(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, strides, "SAME", **OPTIONS)

    return plain, lambda x, kernel: convolution(x, kernel, strides, "SAME", **OPTIONS)


def test_gradients_and_tangents_are_those_of_the_whole_batch(arrays):
    x, kernel, cotangents = arrays

    def derivatives(function):
        def loss(x, kernel):
            return jnp.sum(jnp.tanh(function(x, kernel)) * cotangents)

        return (
            jax.grad(loss, (0, 1))(x, kernel),
            jax.grad(loss, 1)(x, kernel),
            jax.jvp(lambda x: function(x, kernel), (x,), (2 * x,)),
            jax.jvp(loss, (x, kernel), (x + 1, kernel - 1)),
            jax.grad(lambda k: jnp.sum(jax.grad(loss)(x, k) ** 2))(kernel),
            jax.vmap(lambda k: jax.grad(loss, 1)(x, k))(jnp.stack([kernel, 2 * kernel])),
            jax.grad(jax.checkpoint(loss), 1)(x, kernel),
        )

    expected, found = (jax.jit(lambda f=f: derivatives(f))() for f in _both())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3), expected, found)


def test_pieces_are_taken_on_cpus_alone_and_no_branch_is_left(arrays):
    x, kernel, _ = arrays
    gradient = jax.jit(jax.grad(lambda kernel: jnp.sum(_both()[1](x, kernel) ** 2)))
    text = gradient.lower(kernel).compile().as_text()
    elsewhere = gradient.trace(kernel).lower(lowering_platforms=("tpu",)).as_text()
    assert "conditional" not in text and text.count(" convolution(") == 1 + 5
    assert elsewhere.count("stablehlo.convolution") == 2


def test_strides_go_through(arrays):
    x, kernel, _ = arrays
    plain, pieces = _both((2, 2))
    np.testing.assert_allclose(pieces(x, kernel), plain(x, kernel), atol=1e-5)
