"""NCSN and NCSNv2 against the networks that were published, and the blocks they are made of.

golden/refinenet.npz holds outputs and input gradients of the authors' PyTorch networks (ermongroup/ncsn and
ermongroup/ncsnv2, without the latter's division by sigma) in float64, for weights and inputs of the rules
below.
"""

import zlib
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from denoisers.network import Denoiser
from experiment import checks
from models.ncsn import NCSN
from models.ncsnv2 import NCSNv2, form_for
from models.refinenet import InstanceNormPlusPlus, interpolation_matrix, max_pool5, mean_pool
from sde_lib.discrete import SMLD

GOLDEN = Path(__file__).parent / "golden" / "refinenet.npz"


def generator(name):
    """NumPy's default generator, seeded by the CRC-32 of a name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def weights(shapes, input_scale=1.0):
    """Parameters by rule: normal numbers n of each name's generator, for every part of the tree.

    A kernel is n / sqrt(fan in), gamma is 1 + n / 5, everything else n / 5; `input_scale` multiplies the
    first convolution's.
    """

    def values(name, shape):
        n = generator(name).standard_normal(shape)
        n = n / np.sqrt(np.prod(shape[:-1])) if name.endswith("kernel") else n / 5
        return 1 + n if name.endswith("gamma") else n * (input_scale if name.startswith("input/") else 1)

    flat = flax.traverse_util.flatten_dict(shapes, sep="/")
    named = {name: values(name, leaf.shape) for name, leaf in flat.items()}
    return flax.traverse_util.unflatten_dict(named, sep="/")


def shapes_of(network, side, channels):
    """The parameters' shapes and dtypes."""
    x, noise = jax.ShapeDtypeStruct((1, side, side, channels), np.float32), jax.ShapeDtypeStruct((1,), int)
    return jax.eval_shape(network.init, jax.random.key(0), x, noise)["params"]


# Network, side and channels of the images, and the scale of the first convolution: where it is small, the
# first norms see variances below their epsilon.
CASES = {
    "ncsn": (NCSN(channels=3, width=8, recentre=True), 8, 3, 1.0),
    "ncsn_small": (NCSN(channels=2, width=6, noise_levels=4), 8, 2, 1e-3),
    "ncsnv2_64": (NCSNv2(channels=1, width=8, form=64), 12, 1, 1.0),
    "ncsnv2_128": (NCSNv2(channels=1, width=8, form=128, recentre=True), 12, 1, 1.0),
    "ncsnv2_256": (NCSNv2(channels=1, width=8, form=256), 16, 1, 1.0),
}
LEVELS = np.array([0, 3])


def inputs(name, side, channels):
    """Images and the output's cotangent of a case, each [2, side, side, channels], from its generator."""
    return generator(name).standard_normal((2, 2, side, side, channels))


def found(name, precision, **fields):
    """The output and the gradient of its product with the cotangent, in x; `fields` replace the network's."""
    network, side, channels, input_scale = CASES[name]
    x, cotangent = (jnp.asarray(a, precision) for a in inputs(name, side, channels))
    params = weights(shapes_of(network, side, channels), input_scale)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, precision), params)
    levels = jnp.asarray(LEVELS, jnp.float32)

    # As arguments: XLA would compute with constants while it compiles.
    def both(params, x, cotangent):
        apply = network.clone(**fields).apply
        output, pull_back = jax.vjp(lambda x: apply({"params": params}, x, levels), x)
        return output, pull_back(cotangent)[0]

    return jax.jit(both)(params, x, cotangent)


def differences(name, found):
    """The largest differences from the golden output and gradient, in units of the RMS of each."""
    with np.load(GOLDEN) as golden:
        for ours, part in zip(found, ("output", "gradient"), strict=True):
            expected = golden[f"{name}/{part}"]
            yield np.abs(np.asarray(ours) - expected).max() / np.sqrt(np.square(expected).mean())


# Each takes half a minute to compile; the blocks of the others are in these two.
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in ("ncsn", "ncsnv2_64") else pytest.mark.slow) for name in CASES],
)
def test_outputs_and_input_gradients_are_the_published_networks(name):
    with jax.enable_x64(True):
        ours = found(name, "float64")
        assert ours[0].dtype == "float64"
        assert max(differences(name, ours)) < 1e-9


def test_they_are_in_float32_with_rematerialized_blocks():
    ours = found("ncsnv2_128", "float32", rematerialization="blocks")
    assert ours[0].dtype == "float32"
    assert max(differences("ncsnv2_128", ours)) < 1e-4


def test_bfloat16_is_close():
    ours = found("ncsnv2_64", "float32", dtype="bfloat16")
    assert ours[0].dtype == "float32"
    expected = np.load(GOLDEN)["ncsnv2_64/output"]
    assert np.sqrt(np.square(ours[0] - expected).mean() / np.square(expected).mean()) < 0.02


@pytest.mark.parametrize(
    ("network", "side", "count"),
    [
        # The counts of the authors' PyTorch code; the forms for larger images have no published figures.
        (NCSN(channels=3), 32, 30_117_635),
        (NCSNv2(channels=3), 32, 29_694_083),
        (NCSNv2(channels=3), 64, 29_694_083),
        (NCSNv2(channels=3), 128, 83_445_379),
        (NCSNv2(channels=3), 256, 94_132_611),
    ],
)
def test_parameter_counts_are_the_published_codes(network, side, count):
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes_of(network, side, 3))) == count


def test_ncsn_is_initialized_near_the_identity_of_its_norms():
    params = Denoiser(NCSN(channels=1, width=32), SMLD(noise_levels=10)).init(jax.random.key(0), (8, 8, 1))
    gamma, beta = params["norm"]["gamma"], params["norm"]["beta"]
    assert gamma.shape == (10, 32) and abs(gamma.mean() - 1) < 0.01 and abs(gamma.std() - 0.02) < 0.005
    assert not beta.any()
    kernel = params["stage_1_block_1"]["conv_1"]["kernel"]
    assert abs(kernel).max() < 1 / np.sqrt(9 * 32) and abs(kernel.var() * 9 * 32 - 1 / 3) < 0.02


def test_the_form_follows_the_image_side():
    assert [form_for(side) for side in (28, 64, 95, 96, 128, 129, 256)] == [64, 64, 64, 128, 128, 256, 256]


def test_images_of_any_sides_keep_them():
    network = NCSNv2(channels=2, width=4, form=256)
    x = jax.random.normal(jax.random.key(0), (2, 7, 10, 2))
    params = weights(shapes_of(network, 8, 2))
    apply = jax.jit(lambda params, x, noise: network.apply({"params": params}, x, noise, method="features"))
    y, last = apply(params, x, jnp.zeros(2))
    assert y.shape == x.shape and last.shape == (*x.shape[:3], 4) and jnp.isfinite(y).all()


def test_ncsn_takes_the_nearest_level():
    network = NCSN(channels=2, width=4)
    x = jnp.tile(jax.random.normal(jax.random.key(0), (1, 5, 4, 2)), (4, 1, 1, 1))
    params = weights(shapes_of(network, 4, 2))
    y = jax.jit(network.apply)({"params": params}, x, jnp.array([3.0, 2.9999, 3.4, 4.0]))
    np.testing.assert_allclose(y[1:3], np.stack([y[0], y[0]]), rtol=1e-5, atol=1e-6)
    assert not np.allclose(y[3], y[0], rtol=1e-2)


def test_instance_norm_plus_plus_is_its_formula():
    x = 2 + jax.random.normal(jax.random.key(0), (3, 5, 4, 6))
    norm = InstanceNormPlusPlus(noise_levels=4)
    params = weights(jax.eval_shape(norm.init, jax.random.key(0), x, jnp.array([0, 1, 3]))["params"])
    y = norm.apply({"params": params}, x, jnp.array([0, 1, 3]))
    gamma, alpha, beta = (params[name][[0, 1, 3]][:, None, None] for name in ("gamma", "alpha", "beta"))
    mu, spread = x.mean((1, 2), keepdims=True), np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    v = np.sqrt(mu.var(axis=-1, ddof=1, keepdims=True) + 1e-5)
    means = (mu - mu.mean(axis=-1, keepdims=True)) / v
    np.testing.assert_allclose(y, gamma * ((x - mu) / spread + alpha * means) + beta, rtol=1e-4, atol=1e-5)


def test_pooling_and_interpolation_at_the_border():
    x = jnp.arange(1.0, 10.0).reshape(1, 3, 3, 1)
    np.testing.assert_allclose(mean_pool(x, 2, 2)[0, ..., 0], [[3, 4.5], [7.5, 9]])
    np.testing.assert_allclose(mean_pool(x, 5, 1)[0, 1, 1, 0], 45 / 25)
    image = jax.random.normal(jax.random.key(0), (1, 7, 6, 2))
    windows = flax.linen.max_pool(image, (5, 5), (1, 1), "SAME")
    np.testing.assert_array_equal(max_pool5(image), windows)
    gradient = jax.grad(lambda image: max_pool5(image)[0, 3, 3, 0])(jnp.ones((1, 7, 7, 1)))
    np.testing.assert_array_equal(np.argwhere(gradient), [[0, 1, 1, 0]])
    np.testing.assert_allclose(interpolation_matrix(2, 4) @ [0.0, 3.0], [0, 1, 2, 3], atol=1e-12)
    np.testing.assert_allclose(interpolation_matrix(1, 3) @ [2.0], [2, 2, 2])


@pytest.mark.parametrize(
    ("network", "fields", "field"),
    [
        (NCSN, {"noise_levels": 1}, "noise_levels=1"),
        (NCSN, {"width": 1}, "width=1"),
        (NCSNv2, {"form": 32}, "form=32"),
        (NCSNv2, {"dtype": "float16"}, "dtype"),
        (NCSNv2, {"rematerialization": "some"}, "rematerialization"),
    ],
)
def test_fields_that_cannot_be_are_refused(network, fields, field):
    with pytest.raises(ValueError, match=field):
        network(channels=1, **fields)


def test_levels_that_are_not_the_process_are_refused():
    config = base.get_config()
    config.denoiser.noise_input = "index"
    network = NCSN(channels=3)
    assert not list(checks.network_refusals(config, network, SMLD(noise_levels=10)))
    (line,) = checks.network_refusals(config, network, SMLD(noise_levels=232))
    assert "model.noise_levels=10" in line and "Set model.noise_levels=232" in line
    config.denoiser.noise_input = "log_sigma"
    (line,) = checks.network_refusals(config, network, SMLD(noise_levels=10))
    assert "denoiser.noise_input=index" in line.replace('"', "")
    assert not list(checks.network_refusals(config, NCSNv2(channels=3), SMLD(noise_levels=232)))
