"""The README's code is code: what it says one adds is added here, and checked."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
import samplers
from samplers.moments import moments
from sde_lib.vp import VP
from tests.conftest import ROOT, sampling

TEXT = (ROOT / "README.md").read_text()


def snippet(beginning):
    """The Python block of the README that begins with some text, run; returns its names."""
    block = next(b for b in re.findall(r"```python\n(.*?)```", TEXT, re.S) if b.startswith(beginning))
    names = {}
    exec(block, names)
    return names


def test_the_sde_of_the_readme_is_the_ornstein_uhlenbeck_process():
    sde = snippet("import dataclasses")["OrnsteinUhlenbeck"]()
    with jax.enable_x64(True):
        t = jnp.linspace(sde.t_min, 1.0, 50)
        np.testing.assert_allclose(sde.time_of_log_snr(sde.log_snr(t)), t, rtol=1e-9)
        # dx = -rate/2 x dt + sqrt(rate) dw.
        np.testing.assert_allclose(sde.diffusion(t) ** 2, 10.0, rtol=1e-9)
        np.testing.assert_allclose(sde.drift_rate(t), -5.0, rtol=1e-9)


def test_the_sampler_of_the_readme_follows_the_probability_flow(monkeypatch):
    euler = snippet("import dataclasses\n\nfrom samplers")["Euler"]
    monkeypatch.setitem(samplers.SOLVERS, "euler", euler)
    sde, mean, variance = VP(), 0.3, 0.25
    config = sampling(predictor="euler")

    def bias(steps):
        config.steps = steps
        found = moments(sde, samplers.create(config, sde).table, mean, variance)[1]
        # The flow of a Gaussian scales by the ratio of the spreads.
        start, end = (sde.alpha(t) ** 2 * variance + sde.sigma(t) ** 2 for t in (1.0, sde.sampling_t_min))
        denoised = (sde.alpha(sde.sampling_t_min) * variance / end) ** 2 * end
        return found / (denoised / start) - 1

    with jax.enable_x64(True):
        assert abs(bias(4000)) < 1e-2
        assert np.log2(bias(500) / bias(1000)) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("line", re.findall(r"^python main.py .*--mode=\w+.*$", TEXT, re.M))
def test_the_commands_of_the_readme_parse(line):
    main.parse(line.split()[1:])


def test_every_mode_stands_in_the_readme():
    for mode in main.MODES:
        assert f"| `{mode}` |" in TEXT
