"""DDPM against recorded outputs of Song et al.'s `ddpm` (the released JAX code, in float64)."""

import jax
import numpy as np
import pytest

from models.ddpm import DDPM
from tests.models.published import GOLDEN, difference, outputs, shapes

SIDE, CHANNELS, NOISE = 8, 2, (3.0, 700.0)
TINY = {"channels": 2, "width": 32, "multipliers": (1, 2), "blocks": 1, "attention": (4,)}
CASES = {
    "published": {},
    "unconditional": {"time_embedding": "none", "resample_with_convolution": False, "recentre": True},
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_input_gradients_are_the_published_codes(case):
    golden = np.load(GOLDEN / "ddpm.npz")
    with jax.enable_x64(True):
        network = DDPM(**TINY, **CASES[case], dtype="float64")
        output, gradient = outputs(network, NOISE, SIDE, CHANNELS, np.float64)
    assert difference(output, golden[f"{case}/output"]) < 1e-9
    assert difference(gradient, golden[f"{case}/gradient"]) < 1e-9


@pytest.mark.parametrize(
    ("count", "side", "fields"),
    [
        # Counted in the released code: attention follows the last block of a side on the way up, which
        # leaves 35.2 of DDPM's own 35.7 million.
        (35_218_947, 32, {}),
        (32_329_347, 32, {"time_embedding": "none"}),
        (111_569_923, 256, {"multipliers": (1, 1, 2, 2, 4, 4), "dropout": 0.0}),
    ],
)
def test_published_sizes_have_the_parameters_of_the_released_code(count, side, fields):
    leaves = jax.tree.leaves(shapes(DDPM(channels=3, **fields), side, 3))
    assert sum(leaf.size for leaf in leaves) == count


@pytest.mark.parametrize(
    "fields",
    [
        {"time_embedding": "learned"},
        {"width": 3},
        {"dropout": 1.0},
        {"multipliers": ()},
        {"rematerialization": "all"},
        {"dtype": "float16"},
    ],
)
def test_fields_that_cannot_be_are_refused_by_name(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        DDPM(channels=3, **fields)


def test_a_side_without_attention_and_an_embedding_of_times_are_refused():
    assert DDPM(channels=3).refusal(32, "time") is None
    assert "side 16" in DDPM(channels=3).refusal(28, "time")
    assert "fourier" in DDPM(channels=3, time_embedding="fourier").refusal(32, "index")
