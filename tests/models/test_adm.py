"""ADM and its classifier are those of Dhariwal & Nichol (2021) and Nichol & Dhariwal (2021)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.adm import ADM
from models.adm_classifier import ADMClassifier
from tests.models.parity import assert_as_recorded, count, ruled, shapes

SMALL = {"width": 32, "multipliers": (1, 2), "blocks": 1, "attention": (4,), "head_width": 32}
FORERUNNER = {"attention_order": "legacy", "resample_in_blocks": False}
BY_NUMBER = {**FORERUNNER, "head_width": None}
LABELLED = {"class_conditional": True, "classes": 1000}
# Widths that 32 groups divide, as the released code demands.
CASES = {
    "published": (ADM(2, **SMALL, class_conditional=True, classes=5), [3.0, 700.0], [1, 4]),
    "forerunner": (
        ADM(2, **SMALL | BY_NUMBER | {"multipliers": (1, 2, 2), "attention": (4, 2), "heads": 2}),
        [0.0, 999.0],
        None,
    ),
    "plain": (
        ADM(
            1,
            **SMALL
            | BY_NUMBER
            | {"width": 64, "multipliers": (0.5, 1), "attention": (8,), "heads": 4}
            | {"attention_order": "new", "resample_with_convolution": False, "scale_shift_norm": False},
        ),
        [20.5, 500.25],
        None,
    ),
    "classifier": (ADMClassifier(5, **SMALL), [3.0, 700.0], None),
}


@pytest.mark.parametrize(("case", "double"), [("published", False), *((case, True) for case in CASES)])
def test_outputs_and_input_gradients_are_those_of_the_released_code(case, double):
    network, noise, label = CASES[case]
    assert_as_recorded("adm", case, network, noise, double=double, label=label)


@pytest.mark.parametrize(
    ("network", "side", "parameters"),
    [
        # Counted in the released code; Dhariwal & Nichol (2021) publish 296M, 422M, 554M and 559M.
        (ADM(6, **LABELLED), 64, 295_904_454),
        (ADM(6, 256, (1, 1, 2, 3, 4), blocks=2, heads=4, **LABELLED), 128, 421_529_606),
        (ADM(6, 256, (1, 1, 2, 2, 4, 4), blocks=2, **LABELLED), 256, 553_838_086),
        (ADM(6, 256, (0.5, 1, 1, 2, 2, 4, 4), blocks=2, **LABELLED), 512, 558_997_638),
        # Counted in the released code of Nichol & Dhariwal (2021): CIFAR-10 and ImageNet 64 x 64.
        (ADM(6, 128, (1, 2, 2, 2), attention=(16, 8), heads=4, **FORERUNNER), 32, 52_546_438),
        (ADM(6, 128, attention=(16, 8), heads=4, **FORERUNNER), 64, 121_063_942),
        (ADMClassifier(1000, blocks=4), 64, 65_438_568),
        (ADMClassifier(1000, multipliers=(1, 1, 2, 2, 4, 4)), 256, 54_096_360),
    ],
)
def test_published_networks_have_the_published_number_of_parameters(network, side, parameters):
    assert count(shapes(network, side, 3)) == parameters


def test_any_side_is_served_and_rematerialization_changes_no_output():
    fields = SMALL | {"width": 8, "head_width": 4, "attention": (4,)}
    x, noise = jax.random.normal(jax.random.key(0), (2, 7, 7, 3)), jnp.array([1.0, 500.0])
    outputs = []
    for more in ({}, {"rematerialization": "blocks"}, {"dtype": "bfloat16"}):
        network = ADM(3, **fields, dropout=0.5, **more)
        params = jax.tree.map(jnp.float32, ruled(shapes(network, 7, 3)))
        keys = jax.random.split(jax.random.key(1), 2)
        outputs.append(jax.jit(network.apply)({"params": params}, x, noise, None, keys))
    plain, again, short = outputs
    assert plain.shape == x.shape and {y.dtype for y in outputs} == {jnp.dtype("float32")}
    np.testing.assert_allclose(again, plain, atol=1e-6)
    assert 0 < jnp.abs(short - plain).max() < 0.1 * jnp.abs(plain).max()


def test_labels_count_only_where_they_are_read_and_an_unknown_class_is_none():
    network = ADM(1, **SMALL | {"width": 8, "head_width": 4}, class_conditional=True, classes=3)
    assert not network.ignores_labels and ADM(1, class_conditional=True).ignores_labels
    params = jax.tree.map(jnp.float32, ruled(shapes(network, 4, 1)))
    x, noise = jnp.ones((1, 4, 4, 1)), jnp.ones(1)
    apply = jax.jit(network.apply)
    first, second, unknown = (apply({"params": params}, x, noise, jnp.array([label])) for label in (0, 1, -1))
    assert not jnp.allclose(first, second)
    np.testing.assert_allclose(unknown, apply({"params": params}, x, noise), atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attention_order": "old"}, 'attention_order="old" must be one of legacy, new'),
        ({"heads": 4, "head_width": 64}, "heads=4 and head_width=64 exclude each other"),
        ({"heads": 5}, "heads=5 .* do not divide the 192 channels"),
        ({"head_width": 100}, "head_width=100 do not divide the 192 channels"),
        ({"multipliers": ()}, "multipliers"),
        ({"width": 3}, "width=3 must be even"),
        ({"dropout": 1.0}, "dropout=1.0 must lie"),
        ({"rematerialization": "all"}, 'rematerialization="all" must be one of'),
    ],
)
def test_what_cannot_be_is_refused_by_name(fields, message):
    with pytest.raises(ValueError, match=message):
        ADM(3, **fields)


def test_attention_at_a_side_that_does_not_occur_is_refused():
    assert ADM(3).refusal(64, "index") is None
    assert "model.attention=(32, 16, 8): side 32 does not occur" in ADM(3).refusal(48, "index")
