"""EDM2's network against the published implementation, and its layers against what they promise."""

import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import models
from components import ConfigError
from configs import base
from models import magnitude_preserving as mp
from models.edm2 import EDM2

GOLDEN = np.load(Path(__file__).parent / "golden" / "edm2.npz")

# name: (our fields, the published code's arguments, side, channels, classes)
GOLDEN_CASES = {
    "classes": (
        {"width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (4,), "head_width": 4},
        {"model_channels": 8, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4]}
        | {"channels_per_head": 4},
        8, 3, 10,
    ),
    "balances": (
        {"width": 12, "multipliers": (1, 2), "blocks": 2, "attention": (8,), "head_width": 12}
        | {"embedding_multiplier": 3, "noise_multiplier": 2, "label_balance": 0.3, "concat_balance": 0.4}
        | {"residual_balance": 0.45, "attention_balance": 0.2, "activation_clip": 1.5},
        {"model_channels": 12, "channel_mult": [1, 2], "num_blocks": 2, "attn_resolutions": [8]}
        | {"channels_per_head": 12, "channel_mult_emb": 3, "channel_mult_noise": 2, "label_balance": 0.3}
        | {"concat_balance": 0.4, "res_balance": 0.45, "attn_balance": 0.2, "clip_act": 1.5},
        8, 1, 4,
    ),
    "no_classes": (
        {"width": 6, "multipliers": (2, 1), "blocks": 1, "attention": (), "head_width": 3}
        | {"activation_clip": 0.0},
        {"model_channels": 6, "channel_mult": [2, 1], "num_blocks": 1, "attn_resolutions": []}
        | {"channels_per_head": 3, "clip_act": None},
        4, 2, 0,
    ),
}  # fmt: skip


def ruled(shapes):
    """Weights by a rule: from numpy's default_rng(crc32 of the names on the way, joined by "/").

    Kernels are 1.3 times standard normal numbers, frequencies standard normal, phases uniform in [0, 1),
    gains 0.7 + 0.2 times a standard normal number; all in float32.
    """

    def of_leaf(path, leaf):
        names = [part.key for part in path]
        rng = np.random.default_rng(zlib.crc32("/".join(names).encode()))
        if names[-1] == "phases":
            return np.float32(rng.uniform(size=leaf.shape))
        scale, shift = {"kernel": (1.3, 0), "frequencies": (1, 0)}.get(names[-1], (0.2, 0.7))
        return np.float32(shift + scale * rng.standard_normal(leaf.shape))

    return jax.tree_util.tree_map_with_path(of_leaf, shapes)


def inputs(batch, side, channels, classes):
    """Images, noise levels and labels, and the images whose product with the output is differentiated."""
    rng = np.random.default_rng(20)
    x = np.float32(rng.standard_normal((batch, side, side, channels)))
    v = np.float32(rng.standard_normal((batch, side, side, channels)))
    noise = np.float32(np.log([0.002, 0.5, 80.0][:batch]) / 4)
    return x, noise, np.arange(batch) * max(classes - 1, 0) // batch, v


def _shapes(network, side):
    x, one = jnp.zeros((1, side, side, network.channels)), jnp.zeros(1)
    init = jax.eval_shape(lambda key: network.init(key, x, one, jnp.zeros(1, int)), jax.random.key(0))
    return init["params"]


# In float32 one case is quick; the others differ in what float64 tells.
@pytest.mark.parametrize(
    ("name", "x64", "bar"),
    [
        *((name, True, 1e-9) for name in GOLDEN_CASES),
        ("no_classes", False, 1e-4),
        *(pytest.param(name, False, 1e-4, marks=pytest.mark.slow) for name in ("balances", "classes")),
    ],
)
def test_output_and_input_gradient_are_those_of_the_published_network(name, x64, bar):
    fields, _, side, channels, classes = GOLDEN_CASES[name]
    network = EDM2(channels=channels, classes=classes, **fields)
    params = ruled(_shapes(network, side))
    x, noise, label, v = inputs(2, side, channels, classes)
    with jax.enable_x64(x64):
        params, x, noise = jax.tree.map(lambda a: jnp.asarray(a, float), (params, x, noise))

        def product(x):
            y = network.apply({"params": params}, x, noise, label if classes else None)
            return (y * v).sum(), y

        (_, y), gradient = jax.jit(jax.value_and_grad(product, has_aux=True))(x)
        for found, what in ((y, "output"), (gradient, "gradient")):
            expected = GOLDEN[f"{name}_{what}"]
            assert np.abs(found - expected).max() < bar * np.sqrt(np.mean(expected**2))


# The published code's own counts, of its network without the head of the log-variance (128 numbers).
@pytest.mark.parametrize(
    ("width", "count"),
    [
        (128, 124710821),
        *(
            pytest.param(width, count, marks=pytest.mark.slow)
            for width, count in ((192, 280209253), (256, 497803045), (320, 777492197), (384, 1119276709))
        ),
    ],
)
def test_the_presets_of_imagenet_64_have_the_published_numbers_of_parameters(width, count):
    shapes = _shapes(EDM2(channels=3, classes=1000, width=width), 64)
    fourier = shapes.pop("noise_fourier")
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count
    assert fourier["frequencies"].size == fourier["phases"].size == width


def test_a_new_network_gives_zero_and_later_all_magnitudes_are_about_one():
    fields = {"width": 32, "multipliers": (1, 2), "blocks": 1, "attention": (4,), "head_width": 16}
    network = EDM2(channels=3, classes=5, **fields)
    x, noise, label, _ = inputs(3, 8, 3, 5)
    params = jax.jit(network.init)(jax.random.key(0), x, noise, label)["params"]
    features = jax.jit(lambda params: network.apply({"params": params}, x, noise, label, method="features"))
    output, last = features(params)
    assert jnp.all(output == 0) and last.shape == (3, 8, 8, 32)
    assert abs(float(jnp.sqrt(jnp.mean(last**2))) - 1) < 0.2
    params["output_gain"] = jnp.ones(())
    assert abs(float(jnp.sqrt(jnp.mean(features(params)[0] ** 2))) - 1) < 0.3


def test_forced_normalization_changes_no_output_and_is_settled_after_once():
    network = EDM2(channels=1, width=8, multipliers=(1,), blocks=1, attention=(), head_width=8)
    params = ruled(_shapes(network, 4))
    once = network.normalized(params)
    twice = network.normalized(once)
    kernel = once["output"]["kernel"]
    np.testing.assert_allclose(np.sqrt(np.mean(kernel**2, axis=(0, 1, 2))), 1, atol=2e-4)
    for a, b in zip(jax.tree.leaves(twice), jax.tree.leaves(once), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4)
    assert np.array_equal(once["output_gain"], params["output_gain"])
    x, noise, _, _ = inputs(2, 4, 1, 0)
    apply = jax.jit(lambda params: network.apply({"params": params}, x, noise))
    np.testing.assert_allclose(apply(once), apply(params), atol=2e-3)


def test_an_odd_side_is_rounded_up_and_rematerialization_changes_nothing():
    fields = {"width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (4,), "head_width": 8}
    plain, again = (EDM2(channels=2, **fields, rematerialization=r) for r in ("none", "blocks"))
    x, noise, _, _ = inputs(2, 7, 2, 0)
    params = ruled(_shapes(plain, 7))
    assert jax.tree.map(jnp.shape, _shapes(again, 7)) == jax.tree.map(jnp.shape, params)
    y = jax.jit(plain.apply)({"params": params}, x, noise)
    np.testing.assert_allclose(jax.jit(again.apply)({"params": params}, x, noise), y, atol=1e-5)
    assert y.shape == x.shape and jnp.isfinite(y).all()


def test_bfloat16_is_within_two_percent_and_a_class_of_none_is_no_class():
    fields = {"width": 32, "multipliers": (1,), "blocks": 1, "attention": (), "head_width": 16}
    wide = EDM2(channels=3, classes=4, **fields)
    params = ruled(_shapes(wide, 8))
    x, noise, label, _ = inputs(2, 8, 3, 4)
    apply = jax.jit(lambda label: wide.apply({"params": params}, x, noise, label))
    y = apply(label)
    narrow = EDM2(channels=3, classes=4, **fields, dtype="bfloat16")
    narrow = jax.jit(narrow.apply)({"params": params}, x, noise, label)
    assert narrow.dtype == jnp.float32
    assert jnp.sqrt(jnp.mean((narrow - y) ** 2) / jnp.mean(y**2)) < 0.02
    none = apply(np.full(2, -1))
    assert not np.allclose(none, y, atol=1e-2)
    np.testing.assert_allclose(jax.jit(wide.apply)({"params": params}, x, noise), none, atol=1e-5)


def test_sums_and_concatenations_keep_magnitudes():
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.standard_normal((4, 50, 50, c)), jnp.float32) for c in (24, 8))
    assert abs(jnp.std(mp.add(a, a[::-1], 0.3)) - 1) < 0.01
    joined = mp.concatenate(a, b, 0.5)
    assert abs(jnp.sqrt(jnp.mean(joined**2)) - 1) < 0.01
    # Both parts count alike, whatever their channels.
    parts = jnp.sum(joined[..., :24] ** 2), jnp.sum(joined[..., 24:] ** 2)
    assert abs(parts[0] / parts[1] - 1) < 0.03
    assert abs(jnp.sqrt(jnp.mean(mp.silu(a) ** 2)) - 1) < 0.01


def test_what_is_zero_stays_zero_with_a_finite_gradient():
    gradient = jax.grad(lambda x: mp.normalize(x, axis=-1).sum())(jnp.zeros((2, 3)))
    np.testing.assert_allclose(gradient, 1 / mp.EPSILON, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"residual_balance": 1.5}, "residual_balance=1.5 must lie"),
        ({"head_width": 100}, "head_width=100 must divide"),
        ({"multipliers": ()}, "multipliers"),
        ({"dtype": "int8"}, "dtype"),
        ({"blocks": 0}, "blocks=0"),
        ({"heads": 2}, "heads is set"),
    ],
)
def test_what_cannot_be_is_refused(fields, message):
    config = base.get_config()
    config.model.name = "edm2"
    config.model.update(fields)
    with pytest.raises(ConfigError, match=message):
        models.create(config.model, 3, 10)


def test_sides_and_noise_levels_that_cannot_be_are_refused():
    network = EDM2(channels=3)
    assert network.refusal(64, "log_sigma") is None and network.refusal(None, "log_sigma") is None
    assert "side 16 does not occur" in network.refusal(50, "log_sigma")
    assert "log_sigma" in network.refusal(64, "time")
    assert network.ignores_labels and not EDM2(channels=3, classes=2).ignores_labels
