"""Time grids: their formulas, their ends, and the error they spread evenly."""

import jax.numpy as jnp
import numpy as np
import pytest

import samplers
from components import ConfigError
from samplers import fitted_grid
from samplers.tape import evaluate, points_at
from samplers.time_grids import TIME_GRIDS, Rho, VPTime
from sde_lib import SDES
from tests.conftest import sampling
from workdir.files import read_measured, write_measured

DISCRETE = ("even", "leading", "leading_quadratic")


def _grid(name):
    options = {"explicit": {"times": (1.0, 0.5, 0.1)}}
    return TIME_GRIDS[name](**options.get(name, {}))


# Explicit times, and those of a file, have their own ends and tests.
OWN_ENDS = ("explicit", "fitted", "optimal")


@pytest.mark.parametrize("name", [n for n in TIME_GRIDS if n not in (*DISCRETE, *OWN_ENDS)])
@pytest.mark.parametrize("process", SDES)
def test_grids_fall_from_t_max_to_the_sampler_s_last_time(name, process):
    sde = SDES[process]()
    times = _grid(name)(sde, 20)
    assert times.dtype == np.float64 and len(times) == 21
    assert times[0] == sde.t_max and times[-1] == sde.sampling_t_min
    assert (np.diff(times) < 0).all()


def test_uniform_quadratic_and_cubic_are_powers():
    for name, power in (("uniform", 1), ("quadratic", 2), ("cubic", 3)):
        steps = np.diff(_grid(name)(SDES["vp"](), 10) ** (1 / power))
        np.testing.assert_allclose(steps, steps[0], rtol=1e-9)


def test_log_snr_and_rho_are_even_in_their_variables():
    sde = SDES["vp"]()
    levels = np.array([p.half_log_snr for p in points_at(sde, _grid("log_snr")(sde, 10))])
    np.testing.assert_allclose(np.diff(levels), np.diff(levels)[0], rtol=1e-7)
    # EDM, eq. 5 with its own numbers.
    edm = SDES["edm"]()
    expected = (80 ** (1 / 7) + np.arange(18) / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(Rho()(edm, 17), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("name", "fields", "spacing"),
    [("log_snr", {}, np.log), ("rho", {"rho": 5.0}, lambda r: r ** (1 / 5))],
)
@pytest.mark.parametrize("process", ["vp", "edm", "cosine"])
def test_log_snr_and_rho_end_at_the_noise_that_they_are_given(process, name, fields, spacing):
    sde = SDES[process]()
    times = TIME_GRIDS[name](**fields, end=0.3)(sde, 12)
    ratios = np.array([p.r for p in points_at(sde, times)])
    assert times[0] == sde.t_max and abs(ratios[-1] - 0.3) < 1e-6
    steps = np.diff(spacing(ratios))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-4)
    # What lies beyond the process's own end is not reached.
    np.testing.assert_array_equal(
        TIME_GRIDS[name](**fields, end=1e-9)(sde, 12), TIME_GRIDS[name](**fields)(sde, 12)
    )


@pytest.mark.parametrize("end", [-1.0, np.inf, np.nan, 1e4])
@pytest.mark.parametrize("name", ["log_snr", "rho"])
def test_an_end_that_cannot_be_is_refused(name, end):
    with pytest.raises(ConfigError, match=r"sampling.grid.*end"):
        samplers.create(sampling(predictor="ddim", grid=name, end=end, steps=5), SDES["vp"]())


def test_vp_time_is_a_power_of_t_on_the_vp_process_and_the_same_noise_elsewhere():
    vp, cosine = SDES["vp"](), SDES["cosine"]()
    steps = np.diff(VPTime(2.5)(vp, 12) ** (1 / 2.5))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)
    levels = jnp.asarray([p.half_log_snr for p in points_at(cosine, VPTime()(cosine, 12))])
    roots = np.asarray(vp.time_of_log_snr(2 * levels)) ** (1 / 3)
    np.testing.assert_allclose(np.diff(roots), np.diff(roots)[0], rtol=1e-4)


def test_sub_sequences_are_those_of_the_papers():
    sde = SDES["ddpm"]()
    ten = {name: _grid(name)(sde, 9)[::-1] * 1000 for name in DISCRETE}
    np.testing.assert_allclose(ten["even"], [1, 112, 223, 334, 445, 556, 667, 778, 889, 1000])
    np.testing.assert_allclose(ten["leading"], 1 + 100 * np.arange(10))
    np.testing.assert_allclose(
        ten["leading_quadratic"], 1 + np.floor(np.linspace(0, np.sqrt(800), 10) ** 2), rtol=1e-12
    )


def test_a_pilot_run_spreads_the_error_evenly():
    levels = np.linspace(-4.0, 4.0, 2001)
    density = np.exp(-(levels**2)) + 0.1
    grid = fitted_grid.equal_error(levels, density, 10)
    parts = np.array(
        [np.trapezoid(np.interp(u, levels, density), u) for u in np.linspace(grid[:-1], grid[1:], 99).T]
    )
    np.testing.assert_allclose(parts, parts[0], rtol=1e-3)


def test_the_density_is_the_cube_root_of_the_second_derivative():
    # F dm/dlambda = r (r x0 - eps) / (1 + r^2)^1.5 with eps = 0 and x0 chosen to make it a cubic.
    levels = np.linspace(-1.0, 1.0, 401)
    r = np.exp(-levels)
    cubic = (levels + 2) ** 3
    x0 = (cubic * (1 + r**2) ** 1.5 / r**2)[:, None, None] * np.ones((1, 4, 3))
    found = fitted_grid.density(levels, x0, np.zeros_like(x0))
    expected = (6 * (levels + 2)) ** (1 / 3)
    inner = slice(5, -5)
    np.testing.assert_allclose(found[inner], expected[inner], rtol=2e-3)


def test_a_fitted_grid_is_read_and_refuses_other_processes(tmp_path):
    vp, path = SDES["vp"](), tmp_path / "grid.npz"
    ends = [p.half_log_snr for p in points_at(vp, [vp.t_max, vp.sampling_t_min])]
    levels = np.linspace(*ends, 50)
    arrays = {"levels": levels, "density": np.ones(50)}
    write_measured(path, fitted_grid.DENSITY_FILE, arrays, {"sde": repr(vp)})
    config = sampling({"predictor": "ddim", "grid": "fitted", "grid.file": str(path), "steps": 10})
    files = {"sampling.grid.file": read_measured(path, fitted_grid.DENSITY_FILE, "sampling.grid.file")}
    log_snr = sampling({"predictor": "ddim", "grid": "log_snr", "steps": 10})
    np.testing.assert_allclose(
        samplers.create(config, vp, files=files).table.times,
        samplers.create(log_snr, vp).table.times,
        rtol=1e-9,
    )
    with pytest.raises(ConfigError, match="made for VP"):
        samplers.create(config, SDES["ve"](), files=files)
    with pytest.raises(ConfigError, match="calibrate"):
        read_measured(tmp_path / "other.npz", fitted_grid.DENSITY_FILE, "sampling.grid.file")


@pytest.mark.parametrize(("name", "calls"), [("vp", 5), ("edm", 5), ("edm", 20)])
def test_few_calls_stand_where_a_grid_down_to_zero_has_them(name, calls):
    sde = SDES[name]()
    times = VPTime(3.0, toward_zero=True)(sde, calls - 1)
    levels = np.array([p.half_log_snr for p in points_at(sde, times)])
    u = evaluate(SDES["vp"]().time_of_log_snr, 2 * levels) ** (1 / 3)
    np.testing.assert_allclose(np.append(u, 0.0), u[0] * np.linspace(1, 0, calls + 1), atol=1e-9)
    assert times[0] == sde.t_max and times[-1] > sde.sampling_t_min


def test_many_calls_end_at_the_sampler_s_last_time_also_toward_zero():
    sde = SDES["vp"]()
    np.testing.assert_array_equal(VPTime(3.0, toward_zero=True)(sde, 30), VPTime(3.0)(sde, 30))
