"""Fitting solvers of few calls, and a time grid, to a trained model or a mixture."""

import time

import jax.numpy as jnp
import numpy as np

from components import pasteable, positive
from denoisers import chain
from experiment.create import data_range, resolved
from experiment.draw import class_labels
from experiment.load import load
from modes import MODES
from reports import figures, pictures
from samplers import calibration, fitted_grid
from samplers.calibration import PILOT_NOISES, Noises, fine_solver, fit_calls, pilot_density
from samplers.create import default_sampler, wrappers
from samplers.solvers import fitted
from sde_lib.noise import example_keys, normal
from workdir.files import checksum, write_measured
from workdir.provenance import collect
from workdir.records import Progress, say
from workdir.results import Results


def noises(experiment, purpose, count):
    """`count` Noises, other ones for each purpose, with labels by the classes' frequencies."""
    numbers = np.arange(count, dtype=np.uint32)
    keys = example_keys(experiment.key(purpose), jnp.asarray(numbers))
    x = np.asarray(experiment.sde.prior_std * normal(keys, experiment.shape), np.float32)
    return Noises(x, class_labels(experiment, f"{purpose} label", numbers))


def describe(errors, target):
    """The figures of distances [N] from where fine solutions end, `target` [N, ...]."""
    return {
        "median": float(np.median(errors)),
        "rms_98": calibration.rms_98(errors),
        "rms": float(np.sqrt(np.mean(errors**2))),
        "flips": calibration.flips(errors, target),
    }


def refusals(config):
    """Lines about the subtree `calibration`."""
    settings = config.calibration
    yield from positive(settings, "calibration", "noises", "starts", "batch_size", "pictures")
    if not settings.nfe or not all(isinstance(n, int) and 3 <= n <= 30 for n in settings.nfe):
        yield f"calibration.nfe={settings.nfe} must be numbers of network calls from 3 to 30."
    if settings.fine_steps < 50:
        yield f"calibration.fine_steps={settings.fine_steps} must be at least 50."
    wrappers("calibration", config.sampling, data_range(config))


def run(config, workdir, output=None):
    """--mode=calibrate: writes fitted_<calls>.npz, fitted_grid.npz, calibration.json and .png.

    The distance is between the last denoised states of a solver and of the fine solution, root mean
    square over the data's dimensions, on noises that the fit has not seen.

    Args:
      output: folder of the results; default the workdir.
    """
    settings = config.calibration
    loaded = load(workdir, config, MODES["calibrate"].reads)
    experiment, params, checkpoint = loaded.experiment, loaded.params, loaded.checkpoint
    results = Results(workdir, output)
    around = wrappers("calibration", config.sampling, experiment.data_range)

    def denoise(params, x, t, label):
        return chain.wrap(around, experiment.denoiser.bind(params, label))(x, t)

    chunk = min(settings.batch_size, settings.noises)
    problem = calibration.Problem(experiment.sde, denoise, params, experiment.shape, chunk)
    solver, grid = fine_solver()
    say(f"following {3 * settings.noises} noises in {settings.fine_steps} steps")
    fine = solver(experiment.sde, grid(experiment.sde, settings.fine_steps)).astype(np.float32)
    parts = {}
    for purpose in ("calibration", "calibration held out", "calibration test"):
        starts = noises(experiment, purpose, settings.noises)
        parts[purpose] = (starts, problem.solve(fine, starts))
    train, held_out, test = parts.values()

    origin = {
        "step": checkpoint["step"],
        "parameters": checksum(params),
        "seed": config.seed,
        "sde": repr(experiment.sde),
    }
    levels, density = pilot_density(problem, train[0].part(slice(PILOT_NOISES)), settings.fine_steps)
    arrays = {"levels": levels, "density": density}
    results.write("fitted_grid.npz", write_measured, fitted_grid.DENSITY_FILE, arrays, origin)

    by_calls, ends_by_calls = {}, {}
    for calls in settings.nfe:
        started = time.monotonic()
        most = 2 * calibration.LARGEST_FIT * settings.starts
        progress = Progress(most, "iteration", f"{calls} calls")
        fit, form, start = fit_calls(problem, calls, train, held_out, settings.starts, progress)
        progress.close()
        table = calibration.float64_table(fit.theta, form, experiment.sde)
        plain = default_sampler(experiment.sde, calls, experiment.shape).table
        ends = {
            "default": problem.solve(plain.astype(np.float32), test[0]),
            "fitted": problem.solve(table.astype(np.float32), test[0]),
        }
        distances = {
            name: np.sqrt(((end - test[1]).reshape(len(end), -1) ** 2).mean(axis=1))
            for name, end in ends.items()
        }
        by_calls[calls] = {
            **{name: describe(values, test[1]) for name, values in distances.items()},
            "numbers": len(fit.theta),
            "iterations": len(fit.history) - 1,
            "seconds": time.monotonic() - started,
            "start": start,
        }
        arrays, name = fitted.arrays_of(table), f"fitted_{calls}.npz"
        results.write(name, write_measured, fitted.TABLE_FILE, arrays, {**origin, **by_calls[calls]})
        ends_by_calls[calls] = {name: end[: settings.pictures] for name, end in ends.items()}
        results.print(_report(calls, by_calls[calls]))
    results.json(
        "calibration.json",
        {"results": by_calls, "config": resolved(config).to_dict(), "provenance": collect(), **origin},
    )
    shown = {"fine": test[1][: settings.pictures], **ends_by_calls[min(settings.nfe)]}
    results.write(
        "calibration.png", figures.calibration_figure, by_calls, *_panels(experiment, shown, settings)
    )
    results.say_written()
    first = results.folder / f"fitted_{min(settings.nfe)}.npz"
    file = pasteable("config.sampling.predictor.file", first)
    say(f"sample with --config.sampling.predictor=fitted {file}")


def _panels(experiment, shown, settings):
    """What the figure shows beside the errors: pictures, or points in the plane."""
    titles = {name: name if name == "fine" else f"{name}, {min(settings.nfe)} calls" for name in shown}
    if experiment.transform:
        to_picture = experiment.transform.to_pixels
        grids = {
            titles[name]: pictures.grid(to_picture(x), experiment.transform.pixel_values)
            for name, x in shown.items()
        }
        return grids, "pictures"
    return {titles[name]: x.reshape(len(x), -1)[:, :2] for name, x in shown.items()}, "points"


def _report(calls, result):
    def shown(figures):
        return f"{figures['rms_98']:.2e} ({figures['median']:.2e}, {figures['flips']:.1%})"

    return (
        f"{calls:3d} calls: RMS distance to the fine one without the worst 2% (median, flips) "
        f"{shown(result['default'])} by default, {shown(result['fitted'])} fitted; "
        f"{result['numbers']} numbers, {result['iterations']} iterations, {result['seconds']:.0f} s"
    )
