"""Draws of examples: what they depend on, and what they do not."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import experiment
from sde_lib import SDES, noise
from tests.conftest import ROOT


def _data(key):
    return np.asarray(jax.random.key_data(key)).tolist()


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1, 2**32, 5 * 2**40 + 3, 2**64 - 1])
def test_a_seed_is_used_whole_as_in_64_bit_mode(seed):
    with jax.enable_x64(True):
        expected = jax.random.key(np.uint64(seed), impl="threefry2x32")
    assert _data(noise.root_key(seed)) == _data(expected)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_is_no_seed_is_refused(seed):
    with pytest.raises(ValueError, match=str(seed)):
        noise.root_key(seed)


def test_purposes_have_keys_of_their_own():
    # The first two collided as sums of letters, as anagrams do.
    purposes = ("held-out loss", "variance data", "train", "sample", "elapsm")
    for seed in (0, 1):
        assert len({tuple(_data(noise.purpose_key(noise.root_key(seed), p))) for p in purposes}) == 5


def test_the_draw_of_an_example_depends_on_its_number_alone():
    key = noise.root_key(3)
    for draw in (noise.normal, noise.uniform, noise.rademacher):
        whole = draw(noise.example_keys(key, jnp.arange(7)), (4, 2))
        part = draw(noise.example_keys(key, jnp.array([5, 2])), (4, 2))
        np.testing.assert_array_equal(part, whole[jnp.array([5, 2])])


@pytest.mark.parametrize("name", SDES)
def test_perturb_draws_from_the_marginal(name):
    sde, count = SDES[name](), 20_000
    keys, x0 = noise.example_keys(noise.root_key(0), jnp.arange(count)), jnp.full((count, 2), 0.5)
    t = jnp.full(count, 0.4)
    xt, eps = jax.jit(sde.perturb)(keys, x0, t)
    mean, std = float(sde.alpha(t[0]) * 0.5), float(sde.sigma(t[0]))
    np.testing.assert_allclose(xt, mean + std * eps, rtol=1e-5, atol=1e-5 * std)
    z = (np.asarray(xt) - mean) / std
    assert abs(z.mean()) < 4 / np.sqrt(z.size) and abs(z.var() - 1) < 4 * np.sqrt(2 / z.size)


_DRAW = """
import jax, numpy as np
import experiment
from configs import digits
config = digits.get_config()
config.data.update({"image_size": 8, "channels": 1, "pixel_values": 17})
config.model.update({"width": 8, "multipliers": (1,), "attention": ()})
key = experiment.create(config).key("train")
print(jax.random.key_impl(key), jax.config.jax_threefry_partitionable, jax.random.bits(key, (5,)).tolist())
"""


def test_the_environment_does_not_change_the_draws(tiny_config):
    tiny_config.data.update({"image_size": 8, "channels": 1, "pixel_values": 17})
    key = experiment.create(tiny_config).key("train")
    expected = f"threefry2x32 True {jax.random.bits(key, (5,)).tolist()}"
    other = {"JAX_THREEFRY_PARTITIONABLE": "0", "JAX_DEFAULT_PRNG_IMPL": "rbg"}
    done = subprocess.run(
        [sys.executable, "-c", _DRAW],
        env={**os.environ, **other},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.strip() == expected
