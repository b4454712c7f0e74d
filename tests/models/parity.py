"""How networks are compared with recorded outputs of reference implementations on the same weights.

The rule of the weights, on the names of our parameters: for each, numpy.random.default_rng, seeded by the
zlib.crc32 of its path with "/" between the names, draws standard normal z of its shape in float64. A kernel
is z divided by the root of its fan in, a norm's scale is 1 + z / 10, Fourier frequencies are 16 z, and all
else (biases, places) is z / 10.

The rule of the inputs: numpy.random.default_rng(0) draws, one after the other, two standard normal images
[2, 8, 8, 2], a cotangent of the output's shape and two rows of 9 augmentation labels. Recorded are the
output, and the gradient of the sum of output times cotangent by the images.
"""

import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

GOLDEN = Path(__file__).parent / "golden"


def shapes(network, side, channels, **more):
    """The parameters' shapes for images of that side and channels."""
    x, noise = jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32), jax.ShapeDtypeStruct((1,), "f4")
    return jax.eval_shape(network.init, jax.random.key(0), x, noise, **more)["params"]


def count(tree):
    """How many parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def ruled(tree):
    """The parameters of these shapes, by the rule; float64."""

    def leaf(path, shape):
        names = [part.key for part in path]
        z = np.random.default_rng(zlib.crc32("/".join(names).encode())).standard_normal(shape.shape)
        if names[-1] == "kernel":
            return z / np.sqrt(np.prod(shape.shape[:-1]))
        return {"scale": 1 + z / 10, "frequencies": 16 * z}.get(names[-1], z / 10)

    return jax.tree_util.tree_map_with_path(leaf, tree)


def output_and_gradient(network, params, x, cotangent, *arguments, **more):
    """What is recorded, in the dtype of x."""

    def both(params, x, cotangent, arguments, more):
        output, back = jax.vjp(lambda x: network.apply({"params": params}, x, *arguments, **more), x)
        return output, back(cotangent)[0]

    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, x.dtype), params)
    arguments, more = jax.tree.map(jnp.asarray, (arguments, more))
    return jax.jit(both)(params, x, jnp.asarray(cotangent, x.dtype), arguments, more)


def assert_as_recorded(file, case, network, noise, *, double=True, told=False, label=None):
    """Compares a network with what is recorded in golden/<file>.npz under the name `case`.

    Args:
      noise: two noise levels; label: two classes, or None; told: whether the augmentation labels are given.
      double: in float64, to 1e-9 of the root mean square; else in float32, to 1e-4.
    """
    side, channels = 8, 2
    params = ruled(shapes(network, side, channels))
    rng = np.random.default_rng(0)
    with np.load(GOLDEN / f"{file}.npz") as golden:
        expected = [golden[f"{case}_{what}"] for what in ("output", "gradient")]
    x, cotangent = rng.standard_normal((2, side, side, channels)), rng.standard_normal(expected[0].shape)
    augmentation = rng.standard_normal((2, 9))
    with jax.enable_x64(double):
        dtype = np.float64 if double else np.float32
        more = {} if label is None else {"label": np.array(label)}
        more |= {"augmentation": augmentation.astype(dtype)} if told else {}
        found = output_and_gradient(
            network, params, jnp.asarray(x, dtype), cotangent, np.array(noise, dtype), **more
        )
        assert {leaf.dtype for leaf in found} == {np.dtype(dtype)}
    for ours, theirs in zip(found, expected, strict=True):
        error = np.abs(np.asarray(ours) - theirs).max() / np.sqrt(np.mean(theirs**2))
        assert error < (1e-9 if double else 1e-4)
