"""The default sampler by number of calls, against the exact flow of mixtures it was not chosen on."""

import functools
import itertools

import jax
import numpy as np
import pytest

import samplers
from bench.cases import Case, calls_of
from bench.diffusers_peers import Recorder
from bench.mixtures import CHECK
from samplers import default_sampler
from samplers.create import chosen
from samplers.table import sample
from sde_lib import SDES
from sde_lib.noise import root_key
from tests.conftest import sampling

FEW = (("two_moons", "vp"), ("spiral", "edm"))
ALL = tuple(itertools.product(CHECK, ("vp", "ve", "edm", "cosine")))
# What one call more may add to a figure, and figures that are no more than rounding.
RISE, ROUNDING = 1.3, 1e-6


@functools.cache
def _case(mixture, sde, noises):
    return Case(mixture, CHECK[mixture](), sde, noises)


def _figures(pair, budgets, noises):
    """[len(budgets), 2] RMS_98 and median of the default sampler."""
    mixture, sde = pair
    with jax.enable_x64(True):
        case = _case(mixture, sde, noises)
        found = []
        for calls in budgets:
            (x,) = case.run([calls_of(default_sampler(case.sde, calls, case.mixture.shape).table, case.sde)])
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
    # Fewer noises of images where there are many calls: all of them would take hours.
    many = 64 if pair[0].startswith("images") else 256
    for budgets, noises in ((np.arange(4, 61), 256), (np.arange(60, 201), many)):
        rises = _rises(_figures(pair, budgets, noises))
        worst = np.unravel_index(rises.argmax(), rises.shape)
        assert rises[worst] <= RISE, f"{budgets[worst[0]]} to {budgets[worst[0] + 1]} calls"


@pytest.mark.parametrize("calls", [2, 4, 5, 17, 26, 50, 200])
@pytest.mark.parametrize("name", SDES)
def test_it_makes_as_many_calls_as_it_is_given(name, calls):
    assert default_sampler(SDES[name](), calls).nfe == calls


@pytest.mark.parametrize("calls", [5, 10, 15, 20, 50])
def test_it_is_chosen_by_the_numbers_of_a_sample(calls):
    sde = SDES["vp"]()
    tables = {}
    for shape in (None, (2,), (8, 8, 1), (7, 73), (16, 32, 1), (32, 32, 3)):
        config = sampling(predictor="default", nfe=calls, largest_bias=None)
        created = samplers.create(config, sde, shape=shape)
        np.testing.assert_array_equal(created.times, default_sampler(sde, calls, shape).times)
        tables[shape] = created.table
    for shape, table in tables.items():
        large = shape is not None and np.prod(shape) >= 512
        like, other = tables[(32, 32, 3) if large else (2,)], tables[(2,) if large else (32, 32, 3)]
        np.testing.assert_array_equal(table.move, like.move)
        assert not np.array_equal(table.times, other.times)


def test_calls_of_images_count_by_the_size_of_their_steps():
    # From where a process begins to r = 2/255, in log r: cosine's way is 1.34 times that of EDM.
    ways = {name: np.log(r * 255 / 2) for name, r in (("edm", 80.0), ("cosine", np.exp(7.5)), ("ve", 50.0))}
    for name, way in ways.items():
        sde, image = SDES[name](), (16, 16, 3)
        for calls in range(3, 60):
            counted = calls * min(1, ways["edm"] / way)
            assert chosen(calls, image, sde) == chosen(counted, image)
            assert chosen(calls, (8, 8, 1), sde) == chosen(calls, (8, 8, 1))


@pytest.mark.parametrize("predictor", ["dpm_solver", "edm", "adams", "pndm"])
def test_the_numbers_of_a_sampler_draw_what_it_draws(predictor):
    with jax.enable_x64(True):
        case = _case("two_moons", "vp", 64)
        sampler = samplers.create(sampling(predictor=predictor, steps=9, largest_bias=None), case.sde)
        keys = jax.random.split(root_key(0), len(case.start))
        drawn = sample(keys, case.sde, case.denoise, (2,), sampler.table, start=case.start).x
        (found,) = case.run([calls_of(sampler.table, case.sde)])
        np.testing.assert_allclose(found, drawn, atol=1e-9)


def test_a_loop_of_another_program_is_recorded_by_symbols():
    with jax.enable_x64(True):
        case = _case("spiral", "cosine", 8)
        levels = np.array([1800.0, 30.0, 4.0, 0.5, 0.02])

        def euler(y, denoise):
            for r, s in itertools.pairwise(levels):
                y = y + (s - r) * (y - denoise(y, r)) / r
            return denoise(y, levels[-1])

        def exact(y, r):
            t = case.sde.time_of_log_snr(-2 * np.log(np.full(len(y), r)))
            return np.asarray(case.denoise(y * np.asarray(case.sde.alpha(t))[:, None], t).x0)

        recorder = Recorder(10)
        euler(
            recorder.start, recorder
        )  # given up and begun again, as a scheduler is that makes too many calls
        calls = recorder.calls(euler(recorder.start, recorder), case.sde)
        first = float(case.sde.alpha(np.float64(case.sde.t_max)))
        (found,) = case.run([calls])
        np.testing.assert_allclose(found, euler(case.start / first, exact), rtol=1e-6, atol=1e-8)
