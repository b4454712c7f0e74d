"""Fitted solvers contain the plain ones, fit, are read back, and refuse what they are not for."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
import samplers
from components import ConfigError
from denoisers.mixtures import Ring
from samplers import calibration
from samplers.solvers import fitted
from samplers.solvers.adams import Adams
from samplers.tape import float64_on_host, points_at
from samplers.time_grids import VPTime
from sde_lib import SDES
from tests.conftest import as_flags, sampling
from workdir.files import read_measured


@pytest.mark.parametrize("name", ["vp", "ve", "edm", "cosine"])
@pytest.mark.parametrize(
    "solver", [Adams(2, 0), Adams(3, 4), Adams(3, 0, "x0"), Adams(3, 3, "x0", "vp_time")], ids=str
)
def test_adams_methods_are_special_cases(solver, name):
    sde, grid = SDES[name](), VPTime(2.5, toward_zero=True)
    form, theta = calibration.start_from(solver, grid, 7, sde)
    assert len(theta) == calibration.size(form)
    with float64_on_host():
        found = jax.tree.map(np.asarray, calibration.table_of(jnp.asarray(theta), form, sde))
    plain = solver(sde, grid(sde, 6))
    np.testing.assert_allclose(found.times, plain.times, rtol=1e-6)
    np.testing.assert_allclose(found.record[:-1], plain.record[:-1], atol=1e-6)
    move = np.pad(plain.move, ((0, 0), (0, calibration.HISTORY - plain.history)))
    np.testing.assert_allclose(found.move, move, rtol=1e-5, atol=1e-6)
    # The closing move is E[x_0 | x], whatever is remembered of the last call: x = alpha x0 + sigma eps.
    (last,) = points_at(sde, found.times[-1:])
    from_x, from_newest, *older = found.closing_move
    end = from_x * np.array([last.alpha, last.sigma]) + from_newest * found.record[-1]
    np.testing.assert_allclose(end, [1.0, 0.0], atol=1e-6)
    np.testing.assert_array_equal(older, 0.0)


def _problem(count):
    sde, mixture = SDES["vp"](), Ring().build()
    problem = calibration.Problem(sde, lambda m, x, t, label: m.denoise(sde, x, t), mixture, (2,), chunk=64)
    fine = Adams(4, 4)(sde, VPTime(4.0)(sde, 150)).astype(np.float32)
    x = np.random.default_rng(0).standard_normal((2, count, 2)).astype(np.float32)
    noises = [calibration.Noises(part) for part in x]
    return sde, problem, [(part, problem.solve(fine, part)) for part in noises]


def test_a_fit_is_far_better_than_its_start_on_noises_it_has_not_seen():
    sde, problem, (train, held_out) = _problem(128)
    form, theta = calibration.start_from(Adams(3, 0), VPTime(), 5, sde)
    theta = theta.astype(np.float32)
    fit = calibration.fit(problem, form, theta, train, held_out)
    assert np.median(fit.errors) < 0.2 * np.median(fit.start_errors)
    assert calibration.rms_98(fit.errors) < 0.2 * calibration.rms_98(fit.start_errors)
    assert min(fit.history) == calibration.quality(fit.errors)


def test_the_normal_equations_are_those_of_finite_differences():
    sde, problem, (train, _) = _problem(96)
    form, theta = calibration.start_from(Adams(2, 0, "x0"), VPTime(), 4, sde)
    theta = theta.astype(np.float32)
    weights = np.ones(96, np.float32)
    curvature, slope = problem.equations(form, theta, *train, weights)
    assert np.allclose(curvature, curvature.T) and np.linalg.eigvalsh(curvature).min() > -1e-6

    def loss(theta):
        # Sum over chunks of half the mean square.
        errors = problem.errors(form, theta.astype(np.float32), *train) ** 2
        return 0.5 * sum(errors[i : i + 64].mean() for i in range(0, 96, 64))

    step = 1e-2
    for i in range(len(theta)):
        shift = step * np.eye(len(theta))[i]
        numeric = (loss(theta + shift) - loss(theta - shift)) / (2 * step)
        np.testing.assert_allclose(slope[i], numeric, rtol=0.05, atol=2e-4)


def test_a_start_that_cannot_be_bettered_is_kept():
    sde, problem, (train, held_out) = _problem(64)
    form, theta = calibration.start_from(Adams(3, 0), VPTime(), 4, sde)
    theta = theta.astype(np.float32)
    best = calibration.fit(problem, form, theta, train, held_out)
    again = calibration.fit(problem, form, best.theta.astype(np.float32), train, held_out)
    assert calibration.quality(again.errors) <= calibration.quality(again.start_errors)


def test_calibrate_writes_a_solver_that_sample_takes(tmp_path, capsys):
    def run(mode, **fields):
        flags = as_flags({name.replace("__", "."): value for name, value in fields.items()})
        return main.main(
            [
                "main.py",
                "--config=configs/gaussian_mixture.py:ring",
                f"--workdir={tmp_path}",
                f"--mode={mode}",
                *flags,
            ]
        )

    settings = {"calibration__nfe": "(5,)", "calibration__noises": 64, "calibration__starts": 1}
    assert run("calibrate", calibration__fine_steps=60, **settings) == 0
    report = json.loads((tmp_path / "calibration.json").read_text())["results"]["5"]
    assert report["fitted"]["median"] < 0.5 * report["default"]["median"]
    assert (tmp_path / "calibration.png").stat().st_size > 1000
    drawing = {"sampling__num_samples": 64, "sampling__batch_size": 64}
    path = tmp_path / "fitted_5.npz"
    assert run("sample", sampling__predictor="fitted", sampling__predictor__file=path, **drawing) == 0
    with np.load(tmp_path / "samples.npz") as found:
        assert (found["nfe"] == 5).all()
        assert np.mean(np.abs(np.linalg.norm(found["x"], axis=1) - 1) < 0.4) > 0.95
    grid = {"sampling__predictor": "ddim", "sampling__grid": "fitted", "sampling__steps": 20}
    assert run("sample", sampling__grid__file=tmp_path / "fitted_grid.npz", **grid, **drawing) == 0

    capsys.readouterr()
    assert (
        run("sample", sde__name="ve", sampling__predictor="fitted", sampling__predictor__file=path, **drawing)
        == 2
    )
    assert "was fitted to VP" in capsys.readouterr().err
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(bytes(damaged))
    assert run("sample", sampling__predictor="fitted", sampling__predictor__file=path, **drawing) == 2
    assert "calibrate" in capsys.readouterr().err


def test_too_few_calls_and_a_missing_file_are_refused():
    with pytest.raises(ValueError, match="at least 3"):
        calibration.start_from(Adams(3, 0), VPTime(), 2, SDES["vp"]())
    with pytest.raises(ConfigError, match="--mode=calibrate"):
        samplers.create(sampling(predictor="fitted"), SDES["vp"]())
    with pytest.raises(ConfigError, match="--mode=calibrate"):
        read_measured("nowhere.npz", fitted.TABLE_FILE, "sampling.predictor.file")


def test_the_worst_noises_count_neither_for_the_rank_nor_get_lost():
    errors = np.concatenate([np.full(98, 3.0), [50.0, 70.0]])
    target = 4.0 * np.array([-1.0, 1.0] * 50)[:, None]  # of standard deviation 4
    assert calibration.rms_98(errors) == pytest.approx(3.0) and calibration.quality(errors) == pytest.approx(
        3.0
    )
    assert calibration.flips(errors, target) == 1.0
    assert calibration.flips(errors, 2 * target) == pytest.approx(0.02)
    # A fit that is good for most noises and lost for some ranks behind one that is good for all.
    lost, even = np.concatenate([np.full(90, 1e-3), np.full(10, 2.0)]), np.full(100, 4e-3)
    assert np.median(lost) < np.median(even) and calibration.quality(lost) > calibration.quality(even)
    assert calibration.quality(np.array([1.0, np.nan])) == np.inf


def test_derivatives_are_taken_of_as_many_noises_as_the_numbers_need():
    wide, plane = (calibration.Noises(np.zeros((512, d))) for d in (64, 2))
    assert calibration._needed(np.zeros(30), wide) == calibration.LEAST_NOISES
    assert calibration._needed(np.zeros(30), plane) == 512
