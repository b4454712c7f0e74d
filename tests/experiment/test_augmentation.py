"""Augmented images are shown only to networks that are told of them, and samples are not augmented."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import experiment
import main
from configs import digits
from data.augmentation import LABELS
from denoisers.network import Denoiser
from sde_lib.vp import VP
from tests.conftest import TINY, as_flags

NETWORK = {"model.name": "song_unet", "model.augmentation_labels": LABELS, "data.augmentation": 0.5}


class Told(nn.Module):
    """Gives back the first number that it is told."""

    channels: int = 1
    augmentation_labels: int = LABELS

    def __call__(self, x, noise, label=None, dropout_keys=None, augmentation=None):
        return jnp.zeros_like(x) if augmentation is None else 0 * x + augmentation[:, :1, None, None]


def test_the_denoiser_hands_on_what_was_done_to_an_image():
    x, t = jnp.ones((2, 4, 4, 1)), jnp.full(2, 0.5)
    augmentation = jnp.array([[1.0] * LABELS, [2.0] * LABELS])
    denoiser = Denoiser(Told(), VP())
    np.testing.assert_array_equal(denoiser({}, x, t, augmentation=augmentation).eps[:, 0, 0, 0], [1, 2])
    np.testing.assert_array_equal(denoiser.bind({})(x, t).eps, 0 * x)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"data.augmentation": 0.12}, "model.augmentation_labels is not there"),
        ({**NETWORK, "model.augmentation_labels": 0}, "model.augmentation_labels is not there"),
        ({**NETWORK, "model.augmentation_labels": 8}, "model.augmentation_labels is 8"),
        ({"data.augmentation": 1.5}, "data.augmentation=1.5 must lie in 0..1"),
        (NETWORK, None),
        ({**NETWORK, "data.augmentation": 0.0}, None),
    ],
)
def test_a_network_that_is_not_told_is_refused_by_a_line_that_names_both_fields(fields, found):
    config = digits.get_config()
    for name in config.model:
        config.model[name] = None
    config.model.name = "unet"
    config.update_from_flattened_dict(fields)
    lines = experiment.problems(config)
    assert (lines == []) if found is None else any("data.augmentation" in x and found in x for x in lines)


@pytest.mark.slow
def test_an_experiment_with_augmentation_is_trained_and_sampled(tmp_path):
    # A variance head stands between the denoiser and the network.
    head = {"denoiser.variance_head": "residual", "loss.variance_weight": 1.0}
    fields = {**TINY, **NETWORK, **head, "training.steps": 2, "sampling.steps": 2}
    for mode in ("train", "sample"):
        arguments = ["--config=configs/digits.py", f"--workdir={tmp_path}", f"--mode={mode}"]
        assert main.main(["main.py", *arguments, *as_flags(fields)]) == 0
    with np.load(tmp_path / "samples.npz") as samples:
        assert samples["images"].shape == (16, 8, 8, 1)
