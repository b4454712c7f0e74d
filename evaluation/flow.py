"""Log-densities of many examples by the probability-flow ODE, in batches, resumed where they stopped."""

import functools

import jax
import numpy as np

from components import UserError
from likelihood.exact import log_likelihood
from parallel import memory
from parallel.batches import BatchMap, one_by_one
from sde_lib.noise import example_keys
from sde_lib.probability_flow import require_tolerance
from workdir.files import checksum
from workdir.partial import Partial
from workdir.records import say


@memory.guarded("solving the probability-flow ODE", "eval.batch_size", "eval.bits_per_dim.probes")
def flow_log_prob(experiment, params, draws, count, partial, settings, batch_size, label=None):
    """Log-densities by the probability-flow ODE, one solve for each draw of each example.

    Args:
      draws: list of R functions () -> x [N, ...] float32, one for each dequantization; count: N.
      partial: of `partial_likelihoods`; the solves that it holds are not done again.
      settings: the subtree `eval.bits_per_dim`; batch_size: over all devices together.
      label: [N] classes of the examples, or None.

    Returns:
      `log_prob` [N, R, P], NaN where the solver ran out of steps, and `nfe` [N, R].
    """

    def solve(constants, examples):
        params, key = constants

        def of_one(keys, x, label):
            solutions = log_likelihood(
                keys,
                experiment.sde,
                experiment.denoise("likelihood", params, label),
                x,
                tolerance=settings.tolerance,
                probe=settings.probe,
                probes=settings.probes,
                solver=settings.solver,
            )
            return solutions.replace(latent=None)

        keys = jax.vmap(jax.random.fold_in)(example_keys(key, examples["repeat"]), examples["index"])
        return one_by_one(of_one)(keys, examples["x"], examples.get("label"))

    # The solves of one draw follow each other: one draw is in memory at a time.
    draw = functools.lru_cache(maxsize=1)(lambda repeat: draws[repeat]())
    mapped = BatchMap(solve, batch_size)

    def of_rows(rows):
        repeat, index = np.divmod(rows, count)
        x = np.concatenate([draw(r)[index[repeat == r]] for r in np.unique(repeat)])
        examples = {"x": x, "index": index.astype(np.uint32), "repeat": repeat.astype(np.uint32)}
        if label is not None:
            examples["label"] = label[index]
        solutions = mapped((params, experiment.key("probe")), examples)
        log_prob = np.where(solutions.failed[:, None], np.nan, solutions.by_probe.astype(np.float64))
        return {"log_prob": log_prob, "nfe": solutions.nfe}

    rows = count * len(draws)
    partial.fill(rows, mapped.batch_size, of_rows, "log-density", "solve", "solves were done")
    solutions = partial.merged(rows)
    partial.finish(solutions)
    return {name: a.reshape(len(draws), count, *a.shape[1:]).swapaxes(0, 1) for name, a in solutions.items()}


def partial_likelihoods(path, config, params, examples, repeats):
    """The Partial that `flow_log_prob` fills; it holds only for these parameters, data and settings.

    Args:
      path: without a suffix; finished solves stay in `<path>.npz`, draw after draw.
      params: of the denoiser; examples: array or dict of arrays [N, ...], what the draws are made from.
      repeats: dequantizations of each example.
    """
    settings = config.eval.bits_per_dim
    used = ("solver", "tolerance", "probe", "probes")
    identity = {
        "parameters": checksum(jax.device_get(params)),
        "examples": checksum({"examples": examples}),
        "repeats": repeats,
        "seed": config.seed,
        **{name: settings[name] for name in used},
        **{name: config[name].to_dict() for name in ("sde", "denoiser", "model")},
        "scaling": (config.data.pixel_values, config.data.centered),
    }
    return Partial(path, identity, keep=True)


def solved_examples(log_prob, settings):
    """Which examples [N] have all their values; refuses if none has."""
    solved = np.isfinite(log_prob).all(axis=(1, 2))
    if not solved.any():
        raise UserError(
            f"log-density: the solver failed on all {len(solved)} examples; use a larger "
            f"eval.bits_per_dim.tolerance than {settings.tolerance}, or leave bits_per_dim out of "
            "eval.evaluators."
        )
    if not solved.all():
        say(
            f"warning: {(~solved).sum()} of {len(solved)} examples ran out of solver steps and are "
            f"left out; eval.bits_per_dim.tolerance={settings.tolerance} may be too small for float32."
        )
    return solved


def refused_tolerance(tolerance, path):
    """A line, if the tolerance of an ODE solver, the config field at `path`, lets it do what it likes."""
    try:
        require_tolerance(tolerance, path)
    except ValueError as error:
        yield f"{error}."
