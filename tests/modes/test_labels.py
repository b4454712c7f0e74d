"""Labels on their whole way: from the data through training, sampling and evaluation, by a tiny network."""

import dataclasses
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import experiment
import main
import models
from components import ConfigError
from configs import digits
from denoisers.network import Denoiser
from experiment.draw import NumberedSamples
from likelihood.exact import log_likelihood
from parallel.batches import one_by_one
from reports import pictures
from sde_lib.noise import example_keys, root_key
from sde_lib.vp import VP
from tests.conftest import TINY, as_flags


class Labelled(nn.Module):
    """Its output is a shift of its own for each class."""

    channels: int
    classes: int = 10

    @nn.compact
    def __call__(self, x, noise, label=None, dropout_keys=None):
        shift = nn.Embed(self.classes, self.channels, embedding_init=nn.initializers.normal(1.0))(label)
        return nn.Conv(self.channels, (1, 1))(x) + shift[:, None, None]


PLAIN = {name: value for name, value in TINY.items() if not name.startswith("model.")}
PLAIN |= {
    "sampling.corrector": "none",
    "training.steps": 2,
    "eval.two_sample.num_samples": 16,
    "eval.bits_per_dim.tolerance": 1e-2,
}
EXPERIMENT = """
from configs import digits

def get_config():
    config = digits.get_config()
    for name in config.model:
        config.model[name] = None
    config.model.name = "labelled"
    return config
"""


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs main on digits with the labelled network: run(mode, {...}) -> (exit code, what it said)."""
    monkeypatch.setitem(models.MODELS, "labelled", Labelled)
    file = tmp_path / "labelled.py"
    file.write_text(EXPERIMENT)

    def run(mode, fields=None):
        flags = as_flags({**PLAIN, **(fields or {})})
        arguments = ["main.py", f"--config={file}", f"--workdir={tmp_path / 'run'}", f"--mode={mode}"]
        return main.main([*arguments, *flags]), capsys.readouterr().err

    return run


def test_labels_go_from_the_data_to_every_result(run, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    assert run("train", {"training.sample_every": 1})[0] == 0
    everything = {
        "eval.evaluators": "loss,two_sample,bits_per_dim,discrete_bound,continuous_bound,diagnostics",
        "eval.bound.levels": 4,
        "eval.bound.images": 16,
        "eval.diagnostics.images": 16,
    }
    assert run("eval", everything)[0] == 0
    metrics = json.loads((workdir / "metrics.json").read_text())
    assert np.isfinite(metrics["bits_per_dim"]["model"]["value"])
    assert run("encode", {"encoding.num_images": 3, "encoding.tolerance": 1e-2})[0] == 0
    with np.load(workdir / "encoding.npz") as found:
        assert found["label"].shape == (3,) and np.abs(found["reconstructed"] - found["x"]).max() < 0.5
    assert run("variance", {"variance.levels": 2, "variance.examples": 16})[0] == 0
    assert run("optimal_grid", {"optimal_grid.levels": 3, "optimal_grid.examples": 16})[0] == 0
    few = {"calibration.nfe": "(3,)", "calibration.noises": 8, "calibration.starts": 1}
    assert run("calibrate", {**few, "calibration.fine_steps": 50, "calibration.pictures": 4})[0] == 0

    # Sampling knows the classes without the data.
    monkeypatch.setattr("data.create", None)
    assert run("sample")[0] == 0
    with np.load(workdir / "samples.npz") as found:
        by_frequency = dict(found)
    assert by_frequency["label"].shape == (16,) and len(set(by_frequency["label"])) > 3
    assert run("sample", {"sampling.labels": by_frequency["label"][0]})[0] == 0
    with np.load(workdir / "samples.npz") as found:
        assert set(found["label"]) == {by_frequency["label"][0]}
        np.testing.assert_array_equal(found["images"][0], by_frequency["images"][0])
    assert run("sample", {"sampling.labels": "(3, 7)"})[0] == 0
    with np.load(workdir / "samples.npz") as found:
        np.testing.assert_array_equal(found["label"], [3, 7] * 8)
    for wrong in ("10", "(3, -1)", "()", "(0.5,)"):
        code, error = run("sample", {"sampling.labels": wrong})
        assert code == 2 and "sampling.labels" in error and "0..9" in error and len(error.splitlines()) == 1


def _setup(frequencies):
    """An experiment of data with these frequencies, as where the network reads labels."""
    config = digits.get_config()
    config.update_from_flattened_dict(TINY)
    config.data.update({"image_size": 8, "channels": 1, "pixel_values": 17})
    return dataclasses.replace(experiment.create(config), class_frequencies=frequencies), config.sampling


def test_the_label_of_a_sample_depends_on_its_number_alone_and_follows_the_frequencies():
    frequencies = (0.5, 0.0, 0.2, 0.3, 0.0)
    samples = NumberedSamples(*_setup(frequencies))
    labels, count = samples.labels(range(4000)), 4000
    np.testing.assert_array_equal(samples.labels([17, 3999]), labels[[17, 3999]])
    found = np.bincount(labels, minlength=5) / count
    assert (
        np.abs(found - frequencies)
        <= 4 * np.sqrt(np.multiply(frequencies, 1 - np.array(frequencies)) / count)
    ).all()


def test_labels_of_data_that_has_none_are_refused():
    setup, sampling = _setup(None)
    assert NumberedSamples(setup, sampling).labels(range(3)) is None
    sampling.labels = (0,)
    with pytest.raises(ConfigError, match="no labels"):
        NumberedSamples(setup, sampling)


@pytest.mark.parametrize("predictor", ["ode", "adaptive_sde", "ddim"])
def test_every_kind_of_sampler_gives_each_sample_its_own_label(predictor):
    setup, sampling = _setup((0.1,) * 10)
    network = Labelled(channels=1)
    denoiser = Denoiser(network, setup.sde, "eps", "time")
    params = denoiser.init(root_key(0), setup.shape, labelled=True)
    setup = type(setup)(**{**vars(setup), "denoiser": denoiser})
    sampling.update_from_flattened_dict(
        {"predictor.name": predictor, "corrector.name": "none", "steps": 3, "labels": (2, 5, 7)}
    )
    mixed = NumberedSamples(setup, sampling).draw(params, 16)
    sampling.labels = (5,)
    np.testing.assert_allclose(
        NumberedSamples(setup, sampling).draw(params, 16)[1::3], mixed[1::3], atol=1e-4
    )
    sampling.labels = (2,)
    assert np.abs(NumberedSamples(setup, sampling).draw(params, 16)[1::3] - mixed[1::3]).max() > 0.1


@pytest.mark.slow
def test_likelihoods_of_labelled_examples_are_those_of_each_alone():
    denoiser = Denoiser(Labelled(channels=1), VP(), "edm", "log_sigma")
    params = denoiser.init(root_key(0), (2, 2, 1), labelled=True)
    x, label = jax.random.normal(root_key(1), (3, 2, 2, 1)), jnp.array([1, 4, 4])
    keys = example_keys(root_key(2), jnp.arange(3))

    def log_prob(keys, x, label):
        return log_likelihood(
            keys, VP(), denoiser.bind(params, label), x, tolerance=1e-3, probe="exact"
        ).log_prob

    together = one_by_one(log_prob)(keys, x, label)
    alone = [log_prob(keys[i : i + 1], x[i : i + 1], label[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(together, jnp.stack(alone), rtol=1e-4)
    with pytest.raises(ValueError, match="one_by_one"):
        log_prob(keys, x, label)


def test_samples_are_shown_one_row_a_class():
    images, labels = np.full((5, 2, 2, 1), [[[[0]]]], np.uint8), np.array([4, 1, 4, 4, 1])
    images[labels == 4] = 16
    picture = pictures.samples(images, 17, labels)
    assert picture.shape == (5, 8, 3)
    assert (picture[:2, :5:3] == 0).all() and (picture[3:, ::3] == 255).all()
    assert (picture[:2, 6:] == 128).all()


def test_a_network_that_does_not_read_labels_draws_none(tiny_config):
    tiny_config.data.update(
        {"image_size": 8, "channels": 1, "pixel_values": 17, "classes": 10, "class_frequencies": (0.1,) * 10}
    )
    unconditional = experiment.create(tiny_config)
    assert NumberedSamples(unconditional, tiny_config.sampling).labels(range(3)) is None
    tiny_config.sampling.labels = (1,)
    with pytest.raises(ConfigError, match=r"sampling\.labels.*model\.name"):
        experiment.create(tiny_config)
