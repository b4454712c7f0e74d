"""The discrete-time bound as a table over pairs of noise levels: optimal_grid.npz."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from components import choose
from evaluation import bounds
from evaluation.bounds import Chain, bounded_images
from evaluation.held_out import HeldOut
from evaluation.noise_levels import identity_of, measure, training_examples
from experiment.load import load, warn_of_other_parameters
from likelihood.bounds import LEVELS, DensityDecoder, level_costs, prior_nats
from modes import MODES
from parallel import devices
from parallel.batches import BatchMap
from reports import figures
from samplers import optimal_grid
from sde_lib.noise import example_keys
from workdir.checkpoints import checksum
from workdir.partial import Partial
from workdir.records import say
from workdir.results import Results


def run(config, workdir, output=None):
    """--mode=trajectory: writes optimal_trajectory.npz and .png; goes on where it was stopped.

    Args:
      output: folder of the results; default the workdir.

    Raises:
      UserError: no checkpoint, or a model that is not finite.
    """
    settings = config.trajectory
    setup, params, record = load(config, workdir)
    warn_of_other_parameters(config, params)
    results = Results(workdir, output)
    examples = training_examples(config, setup, settings.examples, "trajectory data")
    if setup.mixture is None:
        held_out, decoder, scale, offset = bounded_images(setup, examples, config.eval.bound)
        unit = "bits/dim"
    else:
        held_out, decoder = HeldOut.of(setup, examples), DensityDecoder()
        scale, offset, unit = 1 / setup.mixture.dimension, 0.0, "nats/dim"
    about = {
        **identity_of(setup, record, params, config, examples),
        "variance": config.eval.bound.variance.name,
        **{name: config.eval.bound.variance[name] for name in ("probes", "average")},
        "variance_file": {name: checksum(file.arrays) for name, file in setup.files.items()}.get(
            "eval.bound.variance.file"
        ),
        "decoder": type(decoder).__name__,
        "clip": config.eval.bound.clip,
        "spacing": settings.spacing,
    }
    say(
        f"the bound between all pairs of {settings.levels} levels on {len(examples)} examples, variance "
        f"{config.eval.bound.variance.name}"
    )
    times = LEVELS[settings.grid](setup.sde, settings.levels)
    partial = Partial(results.folder / "optimal_trajectory", about)
    arrays = _pair_costs(config, partial, setup, params, held_out, decoder, times)
    prior = float(arrays["prior"].mean())
    table = optimal_grid.PairCosts(times, arrays["first"], arrays["costs"], {**about, "prior": prior})
    results.write("optimal_trajectory.npz", optimal_grid.save, table)
    log_snr = np.asarray(setup.sde.log_snr(jnp.asarray(times)))
    paths = {}
    for steps in sorted(n for n in set(settings.steps) if n <= settings.levels):
        path, cost = table.optimal(steps)
        uniform = np.round(np.arange(1, steps + 1) * settings.levels / steps).astype(int) - 1
        costs = ((prior + nats) * scale + offset for nats in (cost, table.along(uniform)))
        paths[steps] = (log_snr[path], *costs)
        results.print(
            f"{steps:5d} steps: {paths[steps][1]:.4f} {unit} at best, {paths[steps][2]:.4f} on even steps"
        )
    results.write("optimal_trajectory.png", figures.trajectory_figure, paths, unit)
    partial.finish()
    results.say_written()
    say(
        "sample with --config.sampling.grid=optimal "
        f"--config.sampling.grid_file={results.folder / 'optimal_trajectory.npz'}"
    )


def _content(path):
    """The checksum of a file that the bound reads, or None."""
    return path and checksum({"file": np.frombuffer(Path(path).read_bytes(), np.uint8)})


def _pair_costs(config, partial, setup, params, held_out, decoder, times):
    """`first` and `costs` [N, N] of trajectory.PairCosts, and `prior` [N], the same number in each entry."""
    chain = Chain(setup, config.eval.bound, decoder)

    def by_example(constants, examples):
        params, level, key = constants
        pairs = jax.vmap(jax.random.split)(example_keys(key, examples["index"]))
        x0 = held_out.x0(pairs[:, 0], examples["example"])
        costs = level_costs(pairs[:, 1], setup.sde, chain.bind(params), x0, times, level, *chain.arguments)
        return (*costs, prior_nats(setup.sde, x0))

    mapped, count = BatchMap(by_example, config.optimal_grid.batch_size), len(times)

    def of_level(level):
        found = mapped((params, np.int32(level), setup.key("optimal grid")), held_out.numbered())
        costs, decoders, prior = (a.astype(np.float64).mean(axis=0) for a in found)
        return {"costs": costs, "decoders": decoders, "prior": prior}

    found = measure(partial, count, of_level, "trajectory")
    costs = found["costs"].T
    return {"costs": costs, "first": costs + found["decoders"], "prior": found["prior"]}
