"""Figures that a public library's tests expect, where they describe the same algorithm.

From the scheduler tests of huggingface/diffusers (Apache-2.0): a dummy model eps = x t / (t + 1) at
the integer timesteps t of the linear schedule of DDPM, ten calls, and a ramp as start. DDIM and
DPM-Solver++(2M) are the same there; the rest is not. Its UniPC, DEIS and single-step solvers lower
the order of the last steps; its PNDM takes the last step with four predictions where ours denoises;
its Euler, Heun, LMS and KDPM2 interpolate sigma between levels linearly and ours in log-SNR; its
stochastic ones draw torch's noise.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from denoisers.prediction import Prediction
from samplers.solvers.ddim import DDIM
from samplers.solvers.dpm_solver_plus_plus import Multistep
from samplers.table import sample
from sde_lib import SDES
from sde_lib.base import expand

# (solver, timesteps, final denoise, what the model predicts): mean of |sample|, its tolerance there
LINSPACE = tuple(np.linspace(0, 999, 11).round()[::-1])
LEADING = tuple(np.arange(0, 1000, 100)[::-1])
FIGURES = {
    "DDIM": (DDIM(), LEADING, True, "eps", 172.0067 / 768, 1e-6),
    "DDIM, v": (DDIM(), LEADING, True, "v", 52.5302 / 768, 1e-6),
    "DPM-Solver++(2M)": (Multistep(2, published=True), LINSPACE, False, "eps", 0.3301, 6e-5),
    "DPM-Solver++(2M), v": (Multistep(2, published=True), LINSPACE, False, "v", 0.2251, 6e-5),
}


@pytest.mark.parametrize("name", FIGURES)
def test_recorded_figures_are_met(name):
    solver, timesteps, final_denoise, predicts, expected, tolerance = FIGURES[name]
    sde = SDES["ddpm"]()

    def denoise(x, t):
        n, alpha, sigma = (expand(c, x) for c in (1000 * t - 1, sde.alpha(t), sde.sigma(t)))
        output = x * n / (n + 1)
        if predicts == "v":
            return Prediction(alpha * x - sigma * output, sigma * x + alpha * output, alpha, sigma)
        return Prediction((x - sigma * output) / alpha, output, alpha, sigma)

    with jax.enable_x64(True):
        ramp = jnp.asarray((np.arange(768).reshape(3, 8, 8, 4) / 768).transpose(3, 0, 1, 2))
        table = solver(sde, (np.array(timesteps) + 1) / 1000, final_denoise)
        assert table.rows == 10
        keys = jax.random.split(jax.random.key(0), 4)
        x = sample(keys, sde, denoise, (3, 8, 8), table, start=ramp).x
        assert abs(float(jnp.abs(x).mean()) - expected) < tolerance
