"""Fitting solvers of few calls, and a time grid, to a trained model or a mixture."""

import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from experiment.load import load
from reports import figures, pictures
from samplers import calibration, fitted_grid
from samplers.calibration import PILOT_NOISES, fine_solver, fit_calls, pilot_density
from samplers.create import default_sampler
from samplers.solvers import fitted
from sde_lib.noise import example_keys, normal
from workdir.checkpoints import checksum
from workdir.files import prepare_workdir, write_json
from workdir.provenance import collect
from workdir.records import Progress, say


def noises(setup, purpose, count):
    """[count, *shape] states at t_max, other ones for each purpose."""
    keys = example_keys(setup.key(purpose), jnp.arange(count))
    return np.asarray(setup.sde.prior_std * normal(keys, setup.shape), np.float32)


def describe(errors):
    """Median and root mean square of distances."""
    return {"median": float(np.median(errors)), "rms": float(np.sqrt(np.mean(errors**2)))}


def run(config, workdir):
    """--mode=calibrate: writes fitted_<calls>.npz, fitted_grid.npz, calibration.json and .png.

    The distance is between the last denoised states of a solver and of the fine solution, root mean
    square over the data's dimensions, on noises that the fit has not seen.
    """
    workdir, settings = Path(workdir), config.calibration
    setup, params, record = load(config, workdir)
    prepare_workdir(workdir)
    problem = calibration.Problem(
        setup.sde, setup.denoiser, params, setup.shape, min(settings.batch_size, settings.noises)
    )
    solver, grid = fine_solver()
    say(f"following {3 * settings.noises} noises in {settings.fine_steps} steps")
    fine = solver(setup.sde, grid(setup.sde, settings.fine_steps)).astype(np.float32)
    parts = {}
    for purpose in ("calibration", "calibration held out", "calibration test"):
        x = noises(setup, purpose, settings.noises)
        parts[purpose] = (x, problem.solve(fine, x))
    train, held_out, test = parts.values()

    about = {"step": record["step"], "parameters": checksum(params), "seed": config.seed}
    levels, density = pilot_density(setup, params, train[0][:PILOT_NOISES], settings.fine_steps)
    fitted_grid.save(workdir / "fitted_grid.npz", levels, density, setup.sde, about)

    results, pictures = {}, {}
    for calls in settings.nfe:
        started = time.monotonic()
        progress = Progress(calibration.LARGEST_FIT * settings.starts, "iteration", f"{calls} calls")
        found, form, origin = fit_calls(setup, problem, calls, train, held_out, settings.starts, progress)
        progress.close()
        table = calibration.float64_table(found.theta, form, setup.sde)
        plain = default_sampler(setup.sde, calls).table
        ends = {
            "default": problem.solve(plain.astype(np.float32), test[0]),
            "fitted": problem.solve(table.astype(np.float32), test[0]),
        }
        distances = {
            name: np.sqrt(((end - test[1]).reshape(len(end), -1) ** 2).mean(axis=1))
            for name, end in ends.items()
        }
        results[calls] = {
            **{name: describe(values) for name, values in distances.items()},
            "numbers": len(found.theta),
            "iterations": len(found.history) - 1,
            "seconds": time.monotonic() - started,
            "start": origin,
        }
        fitted.save(workdir / f"fitted_{calls}.npz", table, setup.sde, {**about, **results[calls]})
        pictures[calls] = {name: end[: settings.pictures] for name, end in ends.items()}
        _report(calls, results[calls])
    write_json(
        workdir / "calibration.json",
        {"results": results, "config": config.to_dict(), "provenance": collect(), **about},
    )
    shown = {"fine": test[1][: settings.pictures], **pictures[min(settings.nfe)]}
    figures.calibration_figure(workdir / "calibration.png", results, *_panels(setup, shown, settings))
    files = ", ".join(f"fitted_{calls}.npz" for calls in settings.nfe)
    say(f"wrote {files}, fitted_grid.npz, calibration.json and calibration.png to {workdir}")
    first = workdir / f"fitted_{min(settings.nfe)}.npz"
    say(f"sample with --config.sampling.predictor=fitted --config.sampling.file={first}")


def _panels(setup, shown, settings):
    """What the figure shows beside the errors: pictures, or points in the plane."""
    titles = {name: name if name == "fine" else f"{name}, {min(settings.nfe)} calls" for name in shown}
    if setup.transform:
        to_picture = setup.transform.to_pixels
        grids = {
            titles[name]: pictures.grid(to_picture(x), setup.transform.levels) for name, x in shown.items()
        }
        return grids, "pictures"
    return {titles[name]: x.reshape(len(x), -1)[:, :2] for name, x in shown.items()}, "points"


def _report(calls, result):
    plain, best = result["default"], result["fitted"]
    print(
        f"{calls:3d} calls: median (RMS) distance to the fine one {plain['median']:.2e} ({plain['rms']:.2e}) "
        f"by default, {best['median']:.2e} ({best['rms']:.2e}) fitted; {result['numbers']} numbers, "
        f"{result['iterations']} iterations, {result['seconds']:.0f} s"
    )
