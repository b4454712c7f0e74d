"""DDPM++ and NCSN++ against recorded outputs of Song et al. (2021): the released JAX code, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.ncsnpp import NCSNpp
from models.unet import UNet
from tests.models.published import GOLDEN, QUICK, difference, inputs, outputs, shapes, weights

SIDE, CHANNELS = 8, 2
TINY = {"channels": 2, "width": 16, "multipliers": (1, 2), "blocks": 1, "attention": (4,)}
CONTINUOUS = {"fir": True, "progressive_input": "residual", "time_embedding": "fourier", "recentre": True}
CASES = {
    "ddpmpp": {},
    "ncsnpp": CONTINUOUS,
    "ncsnpp_256": {**CONTINUOUS, "progressive_input": "input_skip", "progressive_output": "output_skip"},
    "cat": {
        "residual_block": "ddpm",
        "fir": True,
        "progressive_input": "input_skip",
        "progressive_output": "output_skip",
        "progressive_combine": "cat",
        "resample_with_convolution": False,
    },
    "residual_without_filter": {
        "progressive_input": "residual",
        "progressive_output": "residual",
        "skip_rescale": False,
        "time_embedding": "none",
    },
    "skew_filter": {
        "residual_block": "ddpm",
        "fir": True,
        "fir_kernel": (1, 2, 4, 1),
        "progressive_input": "residual",
        "progressive_output": "residual",
    },
}


def _noise(fields):
    return np.log([0.02, 30.0]) if fields.get("time_embedding") == "fourier" else (3.0, 700.0)


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_input_gradients_are_the_published_codes(case):
    golden, fields = np.load(GOLDEN / "ncsnpp.npz"), CASES[case]
    with jax.enable_x64(True):
        network = NCSNpp(**TINY, **fields, dtype="float64")
        output, gradient = outputs(network, _noise(fields), SIDE, CHANNELS, np.float64)
    assert difference(output, golden[f"{case}/output"]) < 1e-9
    assert difference(gradient, golden[f"{case}/gradient"]) < 1e-9


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_float32_and_bfloat16_stay_by_the_published_outputs(dtype, tolerance):
    expected = np.load(GOLDEN / "ncsnpp.npz")["ncsnpp_256/output"]
    network = NCSNpp(**TINY, **CASES["ncsnpp_256"], dtype=dtype)
    params = weights(shapes(network, SIDE, CHANNELS), np.float32)
    x, _ = inputs(SIDE, CHANNELS, np.float32)
    found = jax.jit(network.apply, compiler_options=QUICK)(
        {"params": params}, x, np.float32(_noise(CASES["ncsnpp_256"]))
    )
    assert found.dtype == np.float32
    assert np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)) < tolerance


@pytest.mark.parametrize("architecture", [NCSNpp, UNet])
def test_rematerialized_blocks_have_the_same_parameters_and_gradients(architecture):
    gradients = []
    for rematerialization in ("none", "blocks"):
        network = architecture(2, 8, (1,), 1, (), rematerialization=rematerialization)
        params = weights(shapes(network, 4, 2), np.float32)
        x, cotangents = inputs(4, 2, np.float32)
        keys = jax.random.split(jax.random.key(0), 2)

        def loss(params, network=network, x=x, cotangents=cotangents, keys=keys):
            output = network.apply({"params": params}, x, jnp.array([3.0, 700.0]), dropout_keys=keys)
            return jnp.sum(output * cotangents)

        gradients.append(jax.jit(jax.grad(loss), compiler_options=QUICK)(params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), *gradients)


@pytest.mark.parametrize(
    ("count", "side", "fields"),
    [
        # Counted in the released code; the paper rounds them to 62 and 107 million.
        (61_804_419, 32, {}),
        (106_632_579, 32, {"blocks": 8}),
        (62_758_915, 32, CONTINUOUS),
        (107_587_075, 32, {**CONTINUOUS, "blocks": 8}),
        (65_574_549, 256, {**CASES["ncsnpp_256"], "multipliers": (1, 1, 2, 2, 2, 2, 2), "blocks": 2}),
        (
            105_785_896,
            1024,
            {**CASES["ncsnpp_256"], "width": 16, "multipliers": (1, 2, 4, 8, 16, 32, 32, 32), "blocks": 1},
        ),
    ],
)
def test_published_sizes_have_the_parameters_of_the_released_code(count, side, fields):
    leaves = jax.tree.leaves(shapes(NCSNpp(channels=3, **fields), side, 3))
    assert sum(leaf.size for leaf in leaves) == count


@pytest.mark.parametrize("case", ["ddpmpp", "ncsnpp_256", "skew_filter", "residual_without_filter"])
def test_odd_sides_round_up(case):
    network = NCSNpp(**{**TINY, "attention": (3,), "multipliers": (1, 2, 2)}, **CASES[case])
    params = shapes(network, 9, CHANNELS)
    x = jax.ShapeDtypeStruct((2, 9, 11, CHANNELS), np.float32)
    noise = jax.ShapeDtypeStruct((2,), np.float32)
    found = jax.eval_shape(
        lambda p, x, n: network.apply({"params": p}, x, n, method="features"), params, x, noise
    )
    assert found[0].shape == x.shape and found[1].shape == (2, 9, 11, network.width)


def test_dropout_acts_with_keys_alone_and_by_example():
    network = NCSNpp(**TINY, dropout=0.5)
    params = weights(shapes(network, SIDE, CHANNELS), np.float32)
    x, noise = jnp.ones((2, SIDE, SIDE, CHANNELS)), jnp.full(2, 3.0)

    def call(keys):
        return network.apply({"params": params}, x, noise, dropout_keys=keys)

    apply = jax.jit(call, compiler_options=QUICK)
    keys = jax.random.split(jax.random.key(0), 3)
    first, second = apply(keys[:2]), apply(keys[1:])
    np.testing.assert_allclose(first[1], second[0], atol=1e-5)
    assert jnp.abs(first[0] - first[1]).max() > 0.1


@pytest.mark.parametrize(
    "fields",
    [
        {"residual_block": "resnet"},
        {"progressive_input": "output_skip"},
        {"progressive_output": "input_skip"},
        {"progressive_combine": "mean"},
        {"fir_kernel": (1, -1)},
        {"time_embedding": "positional"},
    ],
)
def test_fields_that_cannot_be_are_refused_by_name(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        NCSNpp(channels=3, **fields)
