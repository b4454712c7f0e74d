"""EDM's form of ADM is that of Karras et al. (2022)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from denoisers.network import Denoiser
from models.dhariwal_unet import DhariwalUNet
from sde_lib.edm import EDM
from tests.models.parity import assert_as_recorded, count, ruled, shapes

CASES = {
    "published": (
        DhariwalUNet(
            2,
            width=64,
            multipliers=(1, 2),
            blocks=1,
            attention=(4,),
            class_conditional=True,
            classes=5,
            augmentation_labels=9,
        ),
        [-1.2, 0.7],
        {"label": [1, 4], "told": True},
    ),
    # 16 channels have no head, and so no attention, at the side 8.
    "narrow": (
        DhariwalUNet(1, width=16, multipliers=(1, 3, 3), blocks=1, attention=(8, 2), embedding_multiplier=2),
        [2.0, 900.0],
        {},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_input_gradients_are_those_of_the_released_code(case):
    network, noise, more = CASES[case]
    assert_as_recorded("dhariwal_unet", case, network, noise, **more)


def test_the_published_network_has_the_published_number_of_parameters():
    # Counted in the released code; about 296M are published.
    network = DhariwalUNet(3, class_conditional=True, classes=1000)
    assert count(shapes(network, 64, 3)) == 295_899_267


def test_a_new_network_is_zero_whatever_it_is_told_and_no_augmentation_is_zeros():
    network = DhariwalUNet(1, width=8, multipliers=(1,), blocks=1, attention=(), augmentation_labels=9)
    x, noise = jnp.ones((2, 4, 4, 1)), jnp.zeros(2)
    params = Denoiser(network, EDM()).init(jax.random.key(0), x.shape[1:])
    apply = jax.jit(network.apply)
    assert not jnp.any(apply({"params": params}, x, noise, augmentation=jnp.ones((2, 9))))
    params = {"params": jax.tree.map(jnp.float32, ruled(shapes(network, 4, 1)))}
    plain = apply(params, x, noise)
    np.testing.assert_array_equal(plain, apply(params, x, noise, augmentation=jnp.zeros((2, 9))))
    assert not jnp.allclose(plain, apply(params, x, noise, augmentation=jnp.ones((2, 9))))


def test_heads_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="head_width=64 gives 3 heads, which do not divide the 200 channels"):
        DhariwalUNet(3, width=200)
