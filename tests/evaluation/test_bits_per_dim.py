"""Likelihoods of many examples: resumable, by example, with honest failures."""

import dataclasses

import jax
import numpy as np
import pytest

import experiment
from components import UserError
from configs import digits, gaussian_mixture
from denoisers.gaussian_mixture import ExactDenoiser, GaussianMixture
from evaluation.bits_per_dim import flow_log_prob, solved_examples, unfinished_likelihoods
from evaluation.bounds import bounds_in_nats, network_bounds
from evaluation.held_out import HeldOut
from likelihood.bounds import DensityDecoder
from sde_lib.vp import VP
from workdir.partial import Unfinished

COUNT, REPEATS = 48, 2


@pytest.fixture
def config():
    config = gaussian_mixture.get_config("ring")
    config.eval.update({"batch_size": 16, "probe": "rademacher", "probes": 2})
    return config


def _draws(setup):
    return [lambda k=k: np.asarray(setup.mixture.sample(jax.random.key(k), COUNT)) for k in range(REPEATS)]


def _run(path, config, draws=None):
    setup = experiment.create(config)
    draws = draws or _draws(setup)
    unfinished = unfinished_likelihoods(path, config, setup.mixture, _draws(setup)[0](), REPEATS)
    return flow_log_prob(setup, setup.mixture, draws, unfinished, config.eval)


def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(tmp_path, config, monkeypatch):
    whole = _run(tmp_path / "whole.npz", config)
    assert np.isfinite(whole["log_prob"]).all() and whole["log_prob"].shape == (COUNT, REPEATS, 2)

    # Killed in the second repeat, after its first batch was saved.
    monkeypatch.setattr("workdir.partial.SECONDS_BETWEEN_SAVES", 0.0)
    save, saves = Unfinished.save, []

    def killed(self, now=True):
        save(self, now)
        saves.append(1)
        if len(saves) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Unfinished, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "part.npz", config)
    monkeypatch.setattr(Unfinished, "save", save)
    with np.load(tmp_path / "part.npz") as part:
        assert np.isfinite(part["nfe"]).sum() == COUNT + 16

    drawn = []
    setup = experiment.create(config)
    draws = [lambda k=k, draw=draw: drawn.append(k) or draw() for k, draw in enumerate(_draws(setup))]
    resumed = _run(tmp_path / "part.npz", config, draws)
    assert drawn == [1]
    for name in whole:
        np.testing.assert_array_equal(resumed[name], whole[name])


def test_results_of_something_else_are_not_taken_up(tmp_path):
    path = tmp_path / "x.npz"
    first = Unfinished(path, {"step": 1}, {"a": np.ones(3)})
    first.save()
    np.testing.assert_array_equal(Unfinished(path, {"step": 1}, {"a": np.zeros(3)}).arrays["a"], 1)
    np.testing.assert_array_equal(Unfinished(path, {"step": 2}, {"a": np.zeros(3)}).arrays["a"], 0)


@pytest.mark.parametrize("change", ["parameters", "examples", "seed", "tolerance"])
def test_likelihoods_hold_for_what_they_were_computed_from(tmp_path, config, change):
    mixture, x = experiment.create(config).mixture, np.zeros((5, 2), np.float32)
    first = unfinished_likelihoods(tmp_path / "x.npz", config, mixture, x, 1)
    first.arrays["nfe"][:] = 7
    first.save()
    assert unfinished_likelihoods(tmp_path / "x.npz", config, mixture, x, 1).arrays["nfe"].sum() == 35
    if change == "parameters":
        mixture = mixture.replace(means=0.9 * mixture.means)
    elif change == "examples":
        x = x + 1
    elif change == "seed":
        config.seed = 1
    else:
        config.eval.tolerance = 1e-3
    assert np.isnan(unfinished_likelihoods(tmp_path / "x.npz", config, mixture, x, 1).arrays["nfe"]).all()


@pytest.mark.parametrize("damage", ["not a zip file", "", "cut"])
def test_a_damaged_file_is_said_and_left(tmp_path, capsys, damage):
    path = tmp_path / "x.npz"
    Unfinished(path, {}, {"a": np.ones(300)}).save()
    path.write_bytes(path.read_bytes()[:500] if damage == "cut" else damage.encode())
    np.testing.assert_array_equal(Unfinished(path, {}, {"a": np.zeros(3)}).arrays["a"], 0)
    assert "cannot be read" in capsys.readouterr().err


def test_examples_that_ran_out_of_steps_are_left_out_and_counted(config, capsys):
    log_prob = np.zeros((4, 1, 1))
    log_prob[2] = np.nan
    np.testing.assert_array_equal(solved_examples(log_prob, config.eval), [True, True, False, True])
    assert "1 of 4" in capsys.readouterr().err
    with pytest.raises(UserError, match="eval.tolerance"):
        solved_examples(np.full((4, 1, 1), np.nan), config.eval)


def test_bounds_do_not_depend_on_the_batches(config):
    config.eval.update(
        {"bound_levels": 16, "bound_images": 32, "continuous_bound": True, "discrete_bound": True}
    )
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
    config.data.update({"image_size": 2, "channels": 1, "levels": 256})
    config.model.attention = ()
    config.eval.update({"batch_size": 64, "bound_images": 512, "bound_levels": 64, "bound_grid": "log_snr"})
    config.eval.update({"continuous_bound": True, "discrete_bound": False, "bound_decoder": decoder})
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
