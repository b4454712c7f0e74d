"""The released samplers' variance bias on N(0.3, 0.25), as an independent recursion found it."""

import numpy as np
import pytest

import samplers
from components import ConfigError
from samplers.moments import moments
from sde_lib.subvp import SubVP
from sde_lib.ve import VE
from sde_lib.vp import VP
from tests.conftest import sampling

STEPS = (125, 250, 500, 1000, 2000, 4000)
# Percent of the variance, by (SDE, predictor, probability flow).
BIAS = {
    ("vp", "euler_maruyama", False): (0.94, 0.45, 0.21, 0.09, 0.04, 0.01),
    ("vp", "euler_maruyama", True): (0.02, -0.05, -0.08, -0.09, -0.10, -0.10),
    ("vp", "reverse_diffusion", False): (2.07, 1.30, 0.94, 0.76, 0.67, 0.62),
    ("vp", "reverse_diffusion", True): (34.5, 15.9, 7.9, 4.3, 2.5, 1.7),
    ("vp", "ancestral", False): (0.05, 0.30, 0.43, 0.50, 0.54, 0.56),
    ("subvp", "euler_maruyama", False): (1.60, 0.77, 0.36, 0.16, 0.06, 0.01),
    ("ve", "euler_maruyama", False): (0.95, 0.46, 0.24, 0.14, 0.09, 0.06),
    ("ve", "reverse_diffusion", False): (7.16, 3.47, 1.70, 0.83, 0.40, 0.18),
    ("ve", "reverse_diffusion", True): (32.6, 15.1, 7.3, 3.6, 1.8, 0.90),
    ("ve", "ancestral", False): (-6.6, -3.4, -1.7, -0.88, -0.46, -0.24),
}
# With rows found by truncation, from 2,000 steps on.
TRUNCATED = {
    ("vp", "reverse_diffusion", False): (0.34, 0.14),
    ("vp", "reverse_diffusion", True): (1.99, 0.91),
    ("vp", "ancestral", False): (0.21, 0.07),
}
PROCESSES = {"vp": VP(), "subvp": SubVP(), "ve": VE(sampling_t_min=1e-5)}


def _bias(name, predictor, flow, steps, rows):
    config = sampling({"predictor": f"legacy_{predictor}", "grid": "uniform", "steps": steps, "rows": rows})
    if flow:
        config.predictor.probability_flow = True
    table = samplers.create(config, PROCESSES[name]).table
    assert table.rows == steps
    return 100 * (moments(PROCESSES[name], table, 0.3, 0.25)[1] / 0.25 - 1)


@pytest.mark.parametrize("case", BIAS, ids=str)
def test_the_released_samplers_have_their_published_bias(case):
    for steps, expected in zip(STEPS, BIAS[case], strict=True):
        # Figures given to one digit behind the point are good to half of it.
        tolerance = 0.02 if abs(expected) < 1.5 or abs(100 * expected % 10) > 1e-6 else 0.05
        found = _bias(*case, steps, "intended")
        assert abs(found - expected) < max(tolerance, 0.02)
        if steps <= 1000:
            np.testing.assert_allclose(_bias(*case, steps, "truncated"), found, atol=1e-9)


@pytest.mark.parametrize("case", TRUNCATED, ids=str)
def test_truncated_rows_differ_from_2000_steps_on(case):
    for steps, expected in zip(STEPS[-2:], TRUNCATED[case], strict=True):
        assert abs(_bias(*case, steps, "truncated") - expected) < 0.02


def test_too_few_steps_for_the_table_of_beta_are_refused():
    config = sampling({"predictor": "legacy_ancestral", "grid": "uniform", "steps": 15})
    with pytest.raises(ConfigError, match="sampling.steps"):
        samplers.create(config, VP())
