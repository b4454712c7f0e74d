"""Networks against recorded outputs of the published implementations: weights by a rule, files of outputs."""

import functools
import pathlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

# Little optimization halves the time to compile, and changes no result that is compared.
QUICK = {"xla_backend_optimization_level": 0}
GOLDEN = pathlib.Path(__file__).parent / "golden"


def shapes(network, side, channels):
    """The parameters' shapes."""
    x, noise = jnp.zeros((1, side, side, channels)), jnp.ones(1)
    return jax.eval_shape(lambda key: network.init(key, x, noise), jax.random.key(0))["params"]


def weights(shapes, dtype):
    """Parameters by rule: each is drawn by numpy's default_rng, seeded by the crc32 of its path.

    Standard normal numbers, rounded to float32; a kernel divided by the root of its fan in, a scale 1 + 0.2
    of them, a bias 0.2 of them.
    """
    drawn = {}
    for path, leaf in flatten_dict(shapes, sep="/").items():
        draw = np.random.default_rng(zlib.crc32(path.encode())).standard_normal(leaf.shape)
        if path.endswith("kernel"):
            draw /= np.sqrt(np.prod(leaf.shape[:-1]))
        elif path.endswith("scale"):
            draw = 1 + 0.2 * draw
        elif path.endswith("bias"):
            draw *= 0.2
        drawn[path] = draw.astype(np.float32).astype(dtype)
    return unflatten_dict(drawn, sep="/")


def inputs(side, channels, dtype):
    """Images [2, side, side, channels] and the cotangents of the output, of default_rng(1), in this order."""
    rng = np.random.default_rng(1)
    draws = [rng.standard_normal((2, side, side, channels)).astype(np.float32) for _ in range(2)]
    return [draw.astype(dtype) for draw in draws]


def outputs(network, noise, side, channels, dtype):
    """The output for two images, and the gradient of its product with the cotangents by the images."""
    params = weights(shapes(network, side, channels), dtype)
    x, cotangents = inputs(side, channels, dtype)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def run(params, x, noise, cotangents):
        output, gradient = jax.vjp(lambda x: network.apply({"params": params}, x, noise), x)
        return output, gradient(cotangents.astype(output.dtype))[0]

    return [np.asarray(a) for a in run(params, x, np.asarray(noise, np.float32).astype(dtype), cotangents)]


def difference(found, expected):
    """The largest difference over the root mean square of what is expected."""
    return np.abs(found - expected).max() / np.sqrt(np.mean(np.square(expected)))
