"""Likelihoods of many examples: resumable, by example, with honest failures."""

import dataclasses

import jax
import numpy as np
import pytest

import experiment
from components import UserError
from configs import digits, gaussian_mixture
from denoisers.gaussian_mixture import ExactDenoiser, GaussianMixture
from evaluation.bounds import bounds_in_nats, network_bounds
from evaluation.flow import flow_log_prob, partial_likelihoods, solved_examples
from evaluation.held_out import HeldOut
from likelihood.bounds import DensityDecoder
from sde_lib.vp import VP
from workdir.partial import Partial

COUNT, REPEATS = 48, 2


@pytest.fixture
def config():
    config = gaussian_mixture.get_config("ring")
    config.eval.update({"batch_size": 16, "bits_per_dim": {"probe": "rademacher", "probes": 2}})
    return config


def _draws(setup):
    return [lambda k=k: np.asarray(setup.mixture.sample(jax.random.key(k), COUNT)) for k in range(REPEATS)]


def _run(path, config, draws=None):
    setup = experiment.create(config)
    draws = draws or _draws(setup)
    partial = partial_likelihoods(path, config, setup.mixture, _draws(setup)[0](), REPEATS)
    return flow_log_prob(
        setup, setup.mixture, draws, COUNT, partial, config.eval.bits_per_dim, config.eval.batch_size
    )


def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(tmp_path, config, monkeypatch):
    whole = _run(tmp_path / "whole", config)
    assert np.isfinite(whole["log_prob"]).all() and whole["log_prob"].shape == (COUNT, REPEATS, 2)

    # Killed in the second repeat, after its first batch.
    add, added = Partial.add, []

    def killed(self, rows, arrays):
        add(self, rows, arrays)
        added.append(rows)
        if len(added) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Partial, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "part", config)
    monkeypatch.setattr(Partial, "add", add)

    drawn = []
    setup = experiment.create(config)
    draws = [lambda k=k, draw=draw: drawn.append(k) or draw() for k, draw in enumerate(_draws(setup))]
    resumed = _run(tmp_path / "part", config, draws)
    assert drawn == [1]
    for name in whole:
        np.testing.assert_array_equal(resumed[name], whole[name])


def test_a_batch_may_hold_solves_of_two_draws(tmp_path, config):
    whole = _run(tmp_path / "whole", config)
    config.eval.batch_size = 40
    other = _run(tmp_path / "other", config)
    np.testing.assert_allclose(other["log_prob"], whole["log_prob"], atol=1e-3)


@pytest.mark.parametrize("change", ["nothing", "parameters", "examples", "seed", "tolerance"])
def test_likelihoods_are_kept_for_what_they_were_computed_from(tmp_path, config, change):
    mixture, x = experiment.create(config).mixture, np.zeros((5, 2), np.float32)
    first = partial_likelihoods(tmp_path / "x", config, mixture, x, 1)
    rows = {"log_prob": np.zeros((5, 2)), "nfe": np.full(5, 7)}
    first.add(np.arange(5), rows)
    first.save()
    first.finish(rows)
    if change == "parameters":
        mixture = mixture.replace(means=0.9 * mixture.means)
    elif change == "examples":
        x = x + 1
    elif change == "seed":
        config.seed = 1
    elif change == "tolerance":
        config.eval.bits_per_dim.tolerance = 1e-3
    again = partial_likelihoods(tmp_path / "x", config, mixture, x, 1)
    if change == "nothing":
        np.testing.assert_array_equal(again.merged(5)["nfe"], 7)
    else:
        with pytest.raises(UserError, match="5 of 5 rows"):
            again.merged(5)


def test_examples_that_ran_out_of_steps_are_left_out_and_counted(config, capsys):
    log_prob = np.zeros((4, 1, 1))
    log_prob[2] = np.nan
    np.testing.assert_array_equal(
        solved_examples(log_prob, config.eval.bits_per_dim), [True, True, False, True]
    )
    assert "1 of 4" in capsys.readouterr().err
    with pytest.raises(UserError, match="eval.bits_per_dim.tolerance"):
        solved_examples(np.full((4, 1, 1), np.nan), config.eval.bits_per_dim)


def test_bounds_do_not_depend_on_the_batches(config):
    config.eval.update({"bound": {"levels": 16, "images": 32}})
    found = []
    for batch_size in (16, 32):
        config.eval.batch_size = batch_size
        setup = experiment.create(config)
        x0 = np.asarray(setup.mixture.sample(jax.random.key(0), 40))
        held_out = HeldOut({"image": x0}, lambda keys, x0: x0)
        found.append(bounds_in_nats(setup, setup.mixture, held_out, DensityDecoder(), config))
    for name in ("continuous_bound", "discrete_bound"):
        assert found[0][name].prior.shape == (32,)
        np.testing.assert_allclose(found[0][name].total, found[1][name].total, rtol=1e-5)


@pytest.mark.parametrize("decoder", ["pixels", "density"])
def test_bounds_of_uniform_pixels_are_their_eight_bits(decoder):
    # A wide Gaussian in place of a network: the most that can be said of noise is said by each decoder,
    # if scaling, dequantization and Jacobian are booked rightly.
    config = digits.get_config()
    config.data.update({"image_size": 2, "channels": 1, "pixel_values": 256})
    config.model.attention = ()
    config.eval.batch_size = 64
    config.eval.bound.update({"images": 512, "levels": 64, "grid": "log_snr"})
    config.eval.bound.decoder, config.eval.evaluators = decoder, ("continuous_bound",)
    setup = experiment.create(config)
    uniform = GaussianMixture.diagonal([1.0], np.zeros((1, 4)), np.full((1, 4), 1 / 3), (2, 2, 1))
    setup = dataclasses.replace(setup, sde=VP(t_min=1e-3), denoiser=ExactDenoiser(VP(t_min=1e-3), uniform))
    images = np.random.default_rng(0).integers(0, 256, (512, 2, 2, 1), dtype=np.uint8)
    found = network_bounds(setup, uniform, {"image": images}, config)["continuous_bound"]
    # The Gaussian of that variance costs log2(sqrt(2 pi e / 12)) more than the uniform density.
    expected = 8 + np.log2(np.sqrt(2 * np.pi * np.e / 12))
    assert abs(found["value"] - expected) < 4 * found["standard_error"] + 0.02
    assert found["standard_error"] < 0.2
    total = sum(part["value"] for part in found["parts"].values())
    np.testing.assert_allclose(found["value"], total, rtol=1e-5)
