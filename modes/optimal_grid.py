"""The discrete-time bound as a table over pairs of noise levels: optimal_grid.npz."""

import jax.numpy as jnp
import numpy as np

from components import choose, pasteable
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
from workdir.files import checksum, write_measured
from workdir.partial import Partial
from workdir.records import say
from workdir.results import Results


def refusals(config):
    """Lines about the subtree `optimal_grid`, and about the chain in `eval.bound`."""
    settings = config.optimal_grid
    yield from devices.uneven("optimal_grid.batch_size", settings.batch_size)
    for field in ("levels", "examples"):
        if settings[field] < 2:
            yield f"optimal_grid.{field}={settings[field]} must be at least 2."
    if not settings.steps or not all(isinstance(n, int) and n >= 2 for n in settings.steps):
        yield f"optimal_grid.steps={settings.steps} must be numbers of network calls of at least 2."
    yield from bounds.decoder_refusals(config)
    choose(LEVELS, settings.spacing, "optimal_grid.spacing")


def run(config, workdir, output=None):
    """--mode=optimal_grid: writes optimal_grid.npz and optimal_grid.png; goes on where it was stopped.

    Args:
      output: folder of the results; default the workdir.

    Raises:
      UserError: no checkpoint, or a model that is not finite.
    """
    settings = config.optimal_grid
    loaded = load(workdir, config, MODES["optimal_grid"].reads)
    experiment, params, checkpoint = loaded.experiment, loaded.params, loaded.checkpoint
    warn_of_other_parameters(loaded)
    results = Results(workdir, output)
    examples = training_examples(loaded, settings.examples, "optimal grid data")
    if experiment.mixture is None:
        held_out, decoder, scale, offset = bounded_images(experiment, examples, config.eval.bound)
        unit = "bits/dim"
    else:
        held_out, decoder = HeldOut.from_experiment(experiment, examples), DensityDecoder()
        scale, offset, unit = 1 / experiment.mixture.dimension, 0.0, "nats/dim"
    origin = {
        **identity_of(experiment, checkpoint, params, config, examples),
        "variance": config.eval.bound.variance.name,
        **{name: config.eval.bound.variance[name] for name in ("probes", "average")},
        "variance_file": {name: checksum(file.arrays) for name, file in experiment.files.items()}.get(
            "eval.bound.variance.file"
        ),
        "decoder": type(decoder).__name__,
        "clip": config.eval.bound.clip,
        "spacing": settings.spacing,
    }
    say(
        f"the bound between all pairs of {settings.levels} levels on {len(held_out)} examples, variance "
        f"{config.eval.bound.variance.name}"
    )
    times = LEVELS[settings.spacing](experiment.sde, settings.levels)
    partial = Partial(results.folder / "optimal_grid", origin)
    arrays = _pair_costs(config, partial, experiment, params, held_out, decoder, times)
    prior = float(arrays["prior"].mean())
    table = optimal_grid.PairCosts(times, arrays["first"], arrays["costs"])
    origin = {**origin, "prior": prior}
    results.write("optimal_grid.npz", write_measured, optimal_grid.PAIR_COSTS_FILE, vars(table), origin)
    log_snr = np.asarray(experiment.sde.log_snr(jnp.asarray(times)))
    paths, shown = {}, sorted(n for n in set(settings.steps) if n <= settings.levels)
    if len(shown) < len(set(settings.steps)):
        left_out = ", ".join(map(str, sorted(set(settings.steps) - set(shown))))
        say(f"note: {left_out} of optimal_grid.steps are more than the {settings.levels} levels: left out")
    for steps in shown:
        path, cost = table.optimal(steps)
        uniform = np.round(np.arange(1, steps + 1) * settings.levels / steps).astype(int) - 1
        costs = ((prior + nats) * scale + offset for nats in (cost, table.along(uniform)))
        paths[steps] = (log_snr[path], *costs)
        results.print(
            f"{steps:5d} steps: {paths[steps][1]:.4f} {unit} at best, {paths[steps][2]:.4f} on even steps"
        )
    results.write("optimal_grid.png", figures.optimal_grid_figure, paths, unit)
    partial.finish()
    results.say_written()
    file = pasteable("config.sampling.grid.file", results.folder / "optimal_grid.npz")
    say(f"sample with --config.sampling.grid=optimal {file}")


def _pair_costs(config, partial, experiment, params, held_out, decoder, times):
    """`first` and `costs` [N, N] of PairCosts, and `prior` [N], the same number in each entry."""
    chain = Chain(experiment, config.eval.bound, decoder)

    def by_example(constants, examples):
        params, level, key = constants
        keys, x0, label = held_out.draw(key, examples)
        costs = level_costs(
            keys, experiment.sde, chain.bind(params, label), x0, times, level, *chain.arguments
        )
        return (*costs, prior_nats(experiment.sde, x0))

    mapped, count = BatchMap(by_example, config.optimal_grid.batch_size), len(times)

    def of_level(level):
        sums = mapped((params, np.int32(level), experiment.key("optimal grid")), held_out.numbered())
        costs, decoders, prior = (a.astype(np.float64).mean(axis=0) for a in sums)
        return {"costs": costs, "decoders": decoders, "prior": prior}

    measured = measure(partial, count, of_level, "optimal grid")
    costs = measured["costs"].T
    return {"costs": costs, "first": costs + measured["decoders"], "prior": measured["prior"]}
