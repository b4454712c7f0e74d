"""The default sampler by number of calls, against the exact flow of mixtures it was not chosen on."""

import itertools

import jax
import numpy as np
import pytest

from bench.cases import Case, calls_of
from bench.mixtures import CHECK
from samplers import default_sampler
from sde_lib import SDES

FEW = (("two_moons", "vp"), ("spiral", "edm"))
ALL = tuple(itertools.product(CHECK, ("vp", "ve", "edm", "cosine")))
# What one call more may add to a figure, and figures that are no more than rounding.
RISE, ROUNDING = 1.3, 1e-6


def _figures(pair, budgets, noises):
    """[len(budgets), 2] RMS_98 and median of the default sampler."""
    mixture, sde = pair
    with jax.enable_x64(True):
        case = Case(mixture, CHECK[mixture](), sde, noises)
        found = []
        for calls in budgets:
            (x,) = case.run([calls_of(default_sampler(case.sde, calls).table, case.sde)])
            found.append(case.figures(x))
    return np.array([(figures.rms_98, figures.median) for figures in found])


def _rises(figures):
    return figures[1:] / np.maximum(figures[:-1], ROUNDING)


@pytest.mark.parametrize("pair", FEW, ids=", ".join)
def test_a_call_more_makes_it_no_worse(pair):
    budgets = np.arange(4, 61)
    rises = _rises(_figures(pair, budgets, 64))
    worst = np.unravel_index(rises.argmax(), rises.shape)
    assert rises[worst] <= RISE, f"{budgets[worst[0]]} to {budgets[worst[0] + 1]} calls"


@pytest.mark.slow
@pytest.mark.parametrize("pair", ALL, ids=", ".join)
def test_a_call_more_makes_it_no_worse_up_to_200(pair):
    budgets = np.arange(4, 201)
    rises = _rises(_figures(pair, budgets, 64 if pair[0].startswith("images") else 256))
    worst = np.unravel_index(rises.argmax(), rises.shape)
    assert rises[worst] <= RISE, f"{budgets[worst[0]]} to {budgets[worst[0] + 1]} calls"


@pytest.mark.parametrize("calls", [2, 4, 5, 17, 26, 50, 200])
@pytest.mark.parametrize("name", SDES)
def test_it_makes_as_many_calls_as_it_is_given(name, calls):
    assert default_sampler(SDES[name](), calls).nfe == calls
