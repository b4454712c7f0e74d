"""Averages: each is what its paper defines, and any power function is had from snapshots of two."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components import ConfigError
from configs import base
from training import ema

STEPS = 2000


def _config(**fields):
    config = base.get_config().ema
    config.update(fields)
    return config


def _recorded(dtype=np.float64):
    """Parameters [STEPS + 1, 7] of a run that moves as runs do: a fast start, a walk, and noise."""
    rng, t = np.random.default_rng(0), np.arange(STEPS + 1)[:, None]
    walk = np.cumsum(rng.standard_normal((STEPS + 1, 7)), axis=0) / np.sqrt(STEPS)
    noise = 0.3 * rng.standard_normal((STEPS + 1, 7))
    return (rng.standard_normal(7) * (1 - np.exp(-t / 150)) + walk + noise).astype(dtype)


def _tracked(profiles, run):
    """Averages after every step, {name: [STEPS, 7]}, by `update`; the start is run[0]."""

    def one(averages, x):
        step, params = x
        averages = ema.update(profiles, averages, params, step)
        return averages, averages

    start = {name: jnp.asarray(run[0]) for name in profiles}
    steps = jnp.arange(1, len(run), dtype=jnp.int32)
    return jax.device_get(jax.jit(lambda: jax.lax.scan(one, start, (steps, jnp.asarray(run[1:])))[1])())


def _exact(run, step, std):
    """The power-function average at a step by its definition: the integral of the profile over each step."""
    gamma = ema.power_of_std(std)
    ends = (np.arange(step + 1) / step) ** (gamma + 1)
    return np.diff(ends) @ run[1 : step + 1].astype(np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_power_function_average_is_its_definition(dtype):
    run = _recorded(dtype)
    with jax.enable_x64(dtype == np.float64):
        tracked = _tracked(ema.create(_config(decays=(), power_stds=(0.05, 0.1, 0.2)), 1), run)
    change = np.abs(run - run[0]).max()
    for std in (0.05, 0.1, 0.2):
        for step in (1, 2, 500, STEPS):
            found = tracked[f"power_{std}"][step - 1]
            assert np.abs(found - _exact(run, step, std)).max() < 1e-6 * change


def test_a_power_function_has_the_relative_standard_deviation_that_names_it():
    for std in (0.01, 0.05, 0.1, 0.25):
        gamma = ema.power_of_std(std)
        assert abs(ema.std_of_power(gamma) - std) < 1e-9
        ends = np.linspace(0, 1, 200_001) ** (gamma + 1)
        weights, middle = np.diff(ends), (np.arange(200_000) + 0.5) / 200_000
        mean = weights @ middle
        assert abs(np.sqrt(weights @ (middle - mean) ** 2) - std) < 1e-5


# Power functions of the paper's text: sigma_rel 0.05 and 0.10 are gamma 16.97 and 6.94 (Karras et al. 2024).
@pytest.mark.parametrize(("std", "gamma"), [(0.05, 16.97), (0.1, 6.94)])
def test_the_exponents_are_those_of_the_paper(std, gamma):
    assert abs(ema.power_of_std(std) - gamma) < 0.005


@pytest.mark.parametrize(
    ("std", "step"), [(0.04, 2000), (0.075, 2000), (0.1, 1500), (0.15, 1000), (0.2, 2000)]
)
def test_any_average_is_reconstructed_from_snapshots_of_two(std, step):
    run, kept = _recorded(np.float32), (0.05, 0.1)
    tracked = _tracked(ema.create(_config(decays=(), power_stds=kept), 1), run)
    pairs = [(s, k) for s in range(50, step + 1, 50) for k in kept]
    coefficients, distance = ema.reconstruction(*zip(*pairs, strict=True), step, std)
    found = sum(c * tracked[f"power_{k}"][s - 1] for c, (s, k) in zip(coefficients, pairs, strict=True))
    change = np.abs(run[step] - run[0]).max()
    assert abs(coefficients.sum() - 1) < 1e-12 and distance < 0.02
    error = np.abs(found - _exact(run, step, std)).max() / change
    assert error < 1e-3, error


@pytest.mark.parametrize("std", [0.04, 0.075, 0.15])
def test_the_squared_error_of_a_profile_falls_with_the_fourth_power_of_the_snapshots(std):
    # As Karras et al. (2024, figure 4) found by experiment.
    def distance(count):
        pairs = [(step, kept) for step in np.arange(1, count + 1) / count for kept in (0.05, 0.1)]
        return ema.reconstruction(*zip(*pairs, strict=True), 1.0, std)[1]

    assert 3.8 < distance(64) / distance(128) < 4.2


def test_an_average_that_was_kept_is_reconstructed_as_it_is():
    pairs = [(s, k) for s in (100, 200, 300) for k in (0.05, 0.1)]
    coefficients, distance = ema.reconstruction(*zip(*pairs, strict=True), 200, 0.1)
    np.testing.assert_allclose(coefficients, [0, 0, 0, 1, 0, 0], atol=1e-9)
    assert distance < 1e-6


def test_the_inner_product_of_profiles_is_its_integral():
    x = (np.arange(400_000) + 0.5) / 400_000 * 300

    def profile(step, gamma):
        return np.where(x <= step, (gamma + 1) * (np.minimum(x, step) / step) ** gamma / step, 0)

    for a, b in (((100, 7.0), (300, 17.0)), ((300, 2.0), (250, 9.0)), ((200, 3.0), (200, 5.0))):
        integral = np.sum(profile(*a) * profile(*b)) * 300 / 400_000
        assert abs(ema.power_product(*a, *b) / integral - 1) < 1e-4


def test_a_decay_is_the_recursion_of_its_definition():
    values, expected = (1.0, 3.0, -2.0), 0.5
    profiles, averages = ema.create(_config(decays=(0.9,)), 1), {"0.9": jnp.float32(0.5)}
    for step, value in enumerate(values, 1):
        averages = ema.update(profiles, averages, jnp.float32(value), step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    np.testing.assert_allclose(averages["0.9"], expected, rtol=1e-6)


@pytest.mark.parametrize("ramp", [0.05, 0.0])
def test_a_half_life_is_edm_s_recursion_in_images(ramp):
    # beta = 0.5^(batch / max(min(half-life, ramp images), 1e-8)), with the images before the step.
    batch, half_life, run = 512, 500_000.0, _recorded()
    with jax.enable_x64(True):
        profiles = ema.create(_config(decays=(), half_life_images=half_life, half_life_ramp=ramp), batch)
        tracked = _tracked(profiles, run)["half_life_500000"]
    expected = run[0]
    for step in range(1, STEPS + 1):
        images = (step - 1) * batch
        current = min(half_life, images * ramp) if ramp else half_life
        beta = 0.5 ** (batch / max(current, 1e-8))
        expected = run[step] + beta * (expected - run[step])
        if step in (1, 2, 300, STEPS):
            np.testing.assert_allclose(tracked[step - 1], expected, rtol=1e-6)


def test_averages_have_names_and_are_chosen_by_their_numbers():
    config = _config(decays=(0.999, 0.9999), half_life_images=5e5, power_stds=(0.05, 0.1))
    profiles = ema.create(config, 64)
    assert list(profiles) == ["0.999", "0.9999", "half_life_500000", "power_0.05", "power_0.1"]
    chosen = [ema.chosen(profiles, number) for number in (None, 0.9999, 5e5, 0.1)]
    assert chosen == ["0.999", "0.9999", "half_life_500000", "power_0.1"]
    assert ema.numbers(config) == (0.999, 0.9999, 5e5, 0.05, 0.1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decays": ()}, "at least one"),
        ({"power_stds": (0.3,)}, "ema.power_stds"),
        ({"power_stds": (0.1, 0.1)}, "ema.power_stds"),
        ({"decays": (0.1,), "power_stds": (0.1,)}, "a number in common"),
        ({"half_life_images": 0.0}, "ema.half_life_images"),
        ({"half_life_ramp": -1.0}, "ema.half_life_ramp"),
    ],
)
def test_what_cannot_be_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        ema.create(_config(**fields), 1)
