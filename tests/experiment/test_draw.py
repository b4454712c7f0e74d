"""Samples by number: the same whatever the environment says, and held once."""

import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import experiment
from configs import gaussian_mixture
from experiment.draw import NumberedSamples
from parallel.batches import joined
from samplers import Samples
from tests.conftest import ROOT, environment

SCRIPT = """
import experiment
from configs import gaussian_mixture

ring = experiment.load(config=gaussian_mixture.get_config("ring"))
drawn = ring.sample(3, steps=2, predictor="ancestral", corrector="none")
print(drawn.tobytes().hex())
"""


def _drawn(**variables):
    """The bytes of three samples, drawn in a process with these environment variables."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_DEFAULT_PRNG")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**inherited, **environment(1), **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def usual():
    return _drawn()


@pytest.mark.parametrize(
    "variables",
    [
        {"JAX_DEFAULT_PRNG_IMPL": "rbg"},
        {"JAX_ENABLE_X64": "1"},
        {"JAX_DEFAULT_PRNG_IMPL": "unsafe_rbg", "JAX_THREEFRY_PARTITIONABLE": "0"},
        {"JAX_THREEFRY_PARTITIONABLE": "0"},
    ],
    ids=str,
)
def test_samples_by_number_do_not_depend_on_the_environment(variables, usual):
    assert usual and _drawn(**variables) == usual


def test_samples_are_not_held_twice(monkeypatch):
    ring = experiment.create(gaussian_mixture.get_config("ring"))
    samples = NumberedSamples(ring, gaussian_mixture.get_config("ring").sampling, batch_size=64)

    def numbered(self, params, numbers):
        x = np.repeat(np.asarray(numbers, np.float32)[:, None], 4096, axis=1)
        return Samples(x, np.full(len(x), 7), None, None)

    monkeypatch.setattr(NumberedSamples, "numbered", numbered)
    tracemalloc.start()
    x = samples.draw(None, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    halves = samples.draw(None, 1000, convert=lambda x: x.astype(np.float16))
    assert halves.dtype == np.float16 and tracemalloc.get_traced_memory()[1] < x.nbytes + 1.5 * halves.nbytes
    tracemalloc.stop()
    np.testing.assert_array_equal(x[:, 0], np.arange(1000))
    assert peak < 1.25 * x.nbytes


def test_parts_are_joined_in_their_order():
    parts = ({"a": np.full((size, 2), size), "b": np.arange(size)} for size in (3, 3, 1))
    whole = joined(parts, 7)
    assert whole["a"][:, 1].tolist() == [3, 3, 3, 3, 3, 3, 1] and whole["b"].tolist() == [0, 1, 2, 0, 1, 2, 0]
