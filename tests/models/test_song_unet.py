"""EDM's DDPM++ and NCSN++ are those of Karras et al. (2022)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from denoisers.network import Denoiser
from models.adm_blocks import double_size, half_size
from models.song_unet import SongUNet
from sde_lib.edm import EDM
from tests.models.parity import assert_as_recorded, count, ruled, shapes

SMALL = {"width": 16, "multipliers": (1, 2, 2), "blocks": 1, "attention": (4,)}
NCSNPP = {
    "time_embedding": "fourier",
    "noise_multiplier": 2,
    "progressive_input": "residual",
    "fir_kernel": (1, 3, 3, 1),
}
CASES = {
    "ddpmpp": (
        SongUNet(
            2, **SMALL | {"multipliers": (2, 2)}, class_conditional=True, classes=5, augmentation_labels=9
        ),
        {"label": [1, 4], "told": True},
    ),
    "ncsnpp": (SongUNet(2, **SMALL, **NCSNPP, augmentation_labels=9), {}),
    "skips": (
        SongUNet(
            1,
            **SMALL | {"multipliers": (1, 2), "blocks": 2, "attention": (8,)},
            embedding_multiplier=2,
            progressive_input="input_skip",
            progressive_output="output_skip",
            fir_kernel=(1, 2, 4, 1),
            class_conditional=True,
            classes=3,
        ),
        {},
    ),
}


@pytest.mark.parametrize(("case", "double"), [("ncsnpp", False), *((case, True) for case in CASES)])
def test_outputs_and_input_gradients_are_those_of_the_released_code(case, double):
    network, more = CASES[case]
    assert_as_recorded("song_unet", case, network, [-1.2, 0.7], double=double, **more)


@pytest.mark.parametrize(
    ("fields", "parameters"),
    [
        # Counted in the released code, whose Fourier frequencies are no parameters: 128 fewer. 55.7M is the
        # published network of CIFAR-10; four multipliers are those of FFHQ and AFHQ.
        ({"class_conditional": True, "classes": 10}, 55_735_299),
        ({}, 55_733_891),
        (NCSNPP, 56_397_827 + 128),
        ({"multipliers": (1, 2, 2, 2)}, 61_805_571),
        ({**NCSNPP, "multipliers": (1, 2, 2, 2)}, 62_761_091 + 128),
    ],
)
def test_published_networks_have_the_published_number_of_parameters(fields, parameters):
    assert count(shapes(SongUNet(3, augmentation_labels=9, **fields), 32, 3)) == parameters


@pytest.mark.parametrize("kernel", [(1, 1), (1, 3, 3, 1), (1, 2, 4, 1), (1, 2, 3, 3, 2, 1)])
def test_doubling_is_four_times_the_transpose_of_halving(kernel):
    x = jnp.zeros((1, 8, 6, 2))
    back = jax.linear_transpose(lambda x: half_size(x, kernel), x)
    y = jax.random.normal(jax.random.key(0), (1, 4, 3, 2))
    np.testing.assert_allclose(double_size(y, (8, 6), kernel), 4 * back(y)[0], atol=1e-6)


@pytest.mark.parametrize("fields", [{}, NCSNPP, {"progressive_input": "input_skip"}])
def test_an_odd_side_is_rounded_up(fields):
    fields |= {"progressive_output": "output_skip"}
    network = SongUNet(3, **SMALL | {"width": 4, "multipliers": (1, 1), "attention": (3,)}, **fields)
    assert network.refusal(5, "log_sigma") is None
    params = jax.tree.map(jnp.float32, ruled(shapes(network, 5, 3)))
    x = jax.random.normal(jax.random.key(0), (1, 5, 5, 3))
    gradient = jax.jit(
        jax.grad(lambda x: jnp.square(network.apply({"params": params}, x, jnp.ones(1))).sum())
    )(x)
    assert gradient.shape == x.shape and (gradient != 0).all()


def test_a_new_network_is_nearly_zero_and_dropped_labels_are_no_labels():
    network = SongUNet(
        1,
        **SMALL | {"width": 4, "multipliers": (1,), "attention": ()},
        class_conditional=True,
        classes=3,
        label_dropout=0.5,
    )
    # Without dropout of features, all that keys can change is the labels.
    network = network.clone(dropout=0.0)
    x, noise, label = jnp.ones((64, 4, 4, 1)), jnp.zeros(64), jnp.ones(64, jnp.int32)
    params = Denoiser(network, EDM()).init(jax.random.key(0), x.shape[1:], labelled=True)
    apply = jax.jit(network.apply)
    assert jnp.abs(apply({"params": params}, x, noise, label)).max() < 1e-3
    params = {"params": jax.tree.map(jnp.float32, ruled(shapes(network, 4, 1)))}
    known, unknown = apply(params, x, noise, label), apply(params, x, noise)
    mixed = apply(params, x, noise, label, jax.random.split(jax.random.key(1), 64))
    dropped = jnp.abs(mixed - unknown).max(axis=(1, 2, 3)) < 1e-5
    np.testing.assert_allclose(mixed[~dropped], known[~dropped], atol=1e-5)
    assert 16 < dropped.sum() < 48 and not jnp.allclose(known[0], unknown[0], atol=1e-3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"time_embedding": "none"}, 'time_embedding="none" must be one of sinusoidal, fourier'),
        ({"progressive_input": "skip"}, 'progressive_input="skip" must be one of none, input_skip, residual'),
        ({"progressive_output": "residual"}, "progressive_output"),
        ({"fir_kernel": (1, 2, 1)}, r"fir_kernel=\(1, 2, 1\) must have an even number"),
        ({"label_dropout": -0.1}, "label_dropout=-0.1 must lie"),
        ({"noise_multiplier": 0}, "noise_multiplier=0 must be positive"),
        ({"augmentation_labels": -9}, "augmentation_labels=-9 must not"),
    ],
)
def test_what_cannot_be_is_refused_by_name(fields, message):
    with pytest.raises(ValueError, match=message):
        SongUNet(3, **fields)


def test_frequencies_made_for_logarithms_are_refused_with_times():
    assert "model.time_embedding" in SongUNet(3, time_embedding="fourier").refusal(32, "time")
