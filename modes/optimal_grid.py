"""The discrete-time bound as a table over pairs of noise levels: optimal_trajectory.npz."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from evaluation.bounds import Chain, bounded_images
from evaluation.held_out import HeldOut
from evaluation.noise_levels import identity_of, training_examples
from experiment.load import load, warn_of_other_parameters
from likelihood.bounds import LEVELS, DensityDecoder, level_costs, prior_nats
from parallel.batches import BatchMap
from reports import figures
from samplers import optimal_grid
from workdir.checkpoints import checksum
from workdir.files import prepare_workdir
from workdir.partial import measure, remove
from workdir.records import say


def run(config, workdir):
    """--mode=trajectory: writes optimal_trajectory.npz and .png; goes on where it was stopped.

    Raises:
      UserError: no checkpoint, or a model that is not finite.
    """
    workdir, settings = Path(workdir), config.trajectory
    setup, params, record = load(config, workdir)
    warn_of_other_parameters(config, params)
    prepare_workdir(workdir)
    examples = training_examples(config, setup, settings.examples, "trajectory data")
    if setup.mixture is None:
        held_out, decoder, scale, offset = bounded_images(setup, examples, config.eval)
        unit = "bits/dim"
    else:
        held_out, decoder = HeldOut.from_experiment(setup, examples), DensityDecoder()
        scale, offset, unit = 1 / setup.mixture.dimension, 0.0, "nats/dim"
    about = {
        **identity_of(setup, record, params, config, examples),
        "variance": config.eval.bound_variance,
        **{name: config.sampling[name] for name in ("variance_probes", "variance_average")},
        "variance_file": _content(config.sampling.variance_file),
        "decoder": type(decoder).__name__,
        "clip": config.eval.bound_clip,
        "grid": settings.grid,
    }
    say(
        f"the bound between all pairs of {settings.levels} levels on {len(held_out)} examples, variance "
        f"{config.eval.bound_variance}"
    )
    times = LEVELS[settings.grid](setup.sde, settings.levels)
    arrays = _pair_costs(config, workdir, setup, params, held_out, decoder, times, about)
    if jax.process_index() != 0:
        return
    prior = float(arrays["prior"].mean())
    table = optimal_grid.PairCosts(times, arrays["first"], arrays["costs"], {**about, "prior": prior})
    optimal_grid.save(workdir / "optimal_trajectory.npz", table)
    log_snr = np.asarray(setup.sde.log_snr(jnp.asarray(times)))
    paths = {}
    for steps in sorted(n for n in set(settings.steps) if n <= settings.levels):
        path, cost = table.optimal(steps)
        uniform = np.round(np.arange(1, steps + 1) * settings.levels / steps).astype(int) - 1
        costs = ((prior + nats) * scale + offset for nats in (cost, table.along(uniform)))
        paths[steps] = (log_snr[path], *costs)
        print(f"{steps:5d} steps: {paths[steps][1]:.4f} {unit} at best, {paths[steps][2]:.4f} on even steps")
    figures.trajectory_figure(workdir / "optimal_trajectory.png", paths, unit)
    remove(workdir / "optimal_trajectory")
    say(f"wrote optimal_trajectory.npz and optimal_trajectory.png to {workdir}")
    say(
        "sample with --config.sampling.grid=optimal "
        f"--config.sampling.grid_file={workdir / 'optimal_trajectory.npz'}"
    )


def _content(path):
    """The checksum of a file that the bound reads, or None."""
    return path and checksum({"file": np.frombuffer(Path(path).read_bytes(), np.uint8)})


def _pair_costs(config, workdir, setup, params, held_out, decoder, times, about):
    """`first` and `costs` [N, N] of trajectory.PairCosts, and `prior` [N], the same number in each entry."""
    chain = Chain(setup, config, decoder)

    def by_example(constants, examples):
        params, level, key = constants
        keys, x0, label = held_out.draw(key, examples)
        costs = level_costs(keys, setup.sde, chain.bind(params, label), x0, times, level, *chain.arguments)
        return (*costs, prior_nats(setup.sde, x0))

    mapped, count = BatchMap(by_example, config.trajectory.batch_size), len(times)

    def of_level(level):
        found = mapped((params, np.int32(level), setup.key("trajectory")), held_out.numbered())
        costs, decoders, prior = (a.astype(np.float64).mean(axis=0) for a in found)
        return {"costs": costs, "decoders": decoders, "prior": prior}

    shapes = {"costs": (count, count), "decoders": (count, count), "prior": (count,)}
    found = measure(workdir / "optimal_trajectory", about, shapes, of_level, "trajectory")
    costs = found["costs"].T
    return {"costs": costs, "first": costs + found["decoders"], "prior": found["prior"]}
