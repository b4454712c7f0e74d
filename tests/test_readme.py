"""The README's code is code: what it says one adds is added here, and checked."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
from samplers import predictors, time_grids
from samplers.table import sample
from sde_lib.gaussian_mixture import GaussianMixture
from sde_lib.vp import VP
from tests.conftest import ROOT

TEXT = (ROOT / "README.md").read_text()


def _snippet(beginning):
    """The Python block of the README that begins with some text, run; returns its names."""
    block = next(b for b in re.findall(r"```python\n(.*?)```", TEXT, re.S) if b.startswith(beginning))
    names = {}
    exec(block, names)
    return names


def test_the_sde_of_the_readme_is_the_ornstein_uhlenbeck_process():
    sde = _snippet("import dataclasses")["OrnsteinUhlenbeck"]()
    with jax.enable_x64(True):
        t = jnp.linspace(sde.t_min, 1.0, 50)
        np.testing.assert_allclose(sde.time_of_log_snr(sde.log_snr(t)), t, rtol=1e-9)
        # dx = -rate/2 x dt + sqrt(rate) dw.
        np.testing.assert_allclose(sde.diffusion(t) ** 2, 10.0, rtol=1e-9)
        np.testing.assert_allclose(sde.drift_rate(t), -5.0, rtol=1e-9)


def test_the_sampler_of_the_readme_follows_the_probability_flow(monkeypatch):
    monkeypatch.setitem(predictors.PREDICTORS, "ddim", _snippet("def ddim")["ddim"])
    sde, variance = VP(), 0.25
    with jax.enable_x64(True):
        gaussian = GaussianMixture.diagonal([1.0], np.zeros((1, 2)), np.full((1, 2), variance), (2, 1, 1))
        times = time_grids.uniform(sde, 4000)
        table = predictors.table("ddim", sde, times, final_denoise=False)
        keys = jax.random.split(jax.random.key(0), 4)

        def denoise(x, t):
            return gaussian.denoise(sde, x, t)

        x = jax.jit(lambda: sample(keys, sde, denoise, (2, 1, 1), table).x)()
        start = jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(k, table.rows + 1), (2, 1, 1)))(keys)
        ends = jnp.asarray([sde.t_max, sde.sampling_t_min])
        spread = jnp.sqrt(sde.alpha(ends) ** 2 * variance + sde.sigma(ends) ** 2)
        # The flow of a Gaussian scales by the ratio of the spreads; the solver is of first order.
        np.testing.assert_allclose(x, start * spread[1] / spread[0], rtol=5e-3)


@pytest.mark.parametrize("line", re.findall(r"^python main.py .*--mode=\w+.*$", TEXT, re.M))
def test_the_commands_of_the_readme_parse(line):
    main.parse(line.split()[1:])


def test_every_mode_stands_in_the_readme():
    for mode in main.MODES:
        assert f"| `{mode}` |" in TEXT
