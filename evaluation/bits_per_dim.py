"""Likelihoods and bounds of many examples: in batches, with progress, resumed where they stopped."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from components import Refusals, UserError, choose, positive
from evaluation.held_out import TooFew
from experiment.create import data_shape
from likelihood.exact import PROBES, bits_per_dim, log_likelihood, standard_errors
from parallel import memory
from parallel.batches import BatchMap, one_by_one
from sde_lib.noise import example_keys
from sde_lib.probability_flow import SOLVERS, require_tolerance
from workdir.files import checksum
from workdir.partial import Partial
from workdir.records import say

# An exact trace carries one derivative for each dimension of every example in a batch.
LARGEST_EXACT_TRACE = 1024


def dequantized(experiment, images, repeat=0):
    """float32 images in the model's range, with uniform noise that depends on the image's number alone."""
    key = jax.random.fold_in(experiment.key("dequantize"), repeat)
    return np.asarray(experiment.transform.dequantized(example_keys(key, jnp.arange(len(images))), images))


def bits(experiment, log_prob):
    return bits_per_dim(
        log_prob, experiment.shape, experiment.transform.pixel_values, experiment.transform.centered
    )


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


def refused_tolerance(tolerance, path):
    """A line, if the tolerance of an ODE solver, the config field at `path`, lets it do what it likes."""
    try:
        require_tolerance(tolerance, path)
    except ValueError as error:
        yield f"{error}."


def refusals(config):
    """Lines about the subtree `eval.bits_per_dim`."""
    settings = config.eval.bits_per_dim
    yield from positive(settings, "eval.bits_per_dim", "dequantizations", "probes")
    yield from refused_tolerance(settings.tolerance, "eval.bits_per_dim.tolerance")
    if config.mixture.name and settings.dequantizations != 1:
        yield (
            f"eval.bits_per_dim.dequantizations={settings.dequantizations} is for pixels, and a mixture has "
            "none. Leave it out."
        )
    shape = data_shape(config) if settings.compute and settings.probe == "exact" else None
    dimension = math.prod(shape) if shape else 0
    if dimension > LARGEST_EXACT_TRACE:
        yield (
            f'eval.bits_per_dim.probe="exact" takes {dimension} derivatives a call here, and up to '
            f'{LARGEST_EXACT_TRACE} are supported. Use eval.bits_per_dim.probe="rademacher".'
        )
    refused = Refusals()
    for field, table in (("probe", PROBES), ("solver", SOLVERS)):
        with refused:
            choose(table, settings[field], f"eval.bits_per_dim.{field}")
    yield from refused.lines


def solved_examples(log_prob, settings):
    """Which examples [N] have all their values; refuses if none has."""
    solved = np.isfinite(log_prob).all(axis=(1, 2))
    if not solved.any():
        raise UserError(
            f"log-density: the solver failed on all {len(solved)} examples; use a larger "
            f"eval.bits_per_dim.tolerance than {settings.tolerance}, or eval.bits_per_dim.compute=False."
        )
    if not solved.all():
        say(
            f"warning: {(~solved).sum()} of {len(solved)} examples ran out of solver steps and are "
            f"left out; eval.bits_per_dim.tolerance={settings.tolerance} may be too small for float32."
        )
    return solved


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


def network_bits_per_dim(experiment, params, examples, config, folder):
    """Exact bits/dim of held-out images by the probability-flow ODE.

    Args:
      examples: {"image": [N, H, W, C] uint8, "label": [N] where there are labels}; the images are dequantized
        here over the right number of levels.
      config: the whole config.
      folder: where the solves are kept, for a killed or a next evaluation.

    Returns:
      dict with value, standard error and its parts, NFE, and t_min, where the flow starts.

    Raises:
      TooFew: fewer than two images were solved.
    """
    settings, repeats = config.eval.bits_per_dim, config.eval.bits_per_dim.dequantizations
    partial = partial_likelihoods(folder / "bits_per_dim", config, params, examples, repeats)
    images = examples["image"]
    if len(images) < 2:
        raise TooFew("its standard error takes 2 examples, and there is 1")
    draws = [lambda repeat=repeat: dequantized(experiment, images, repeat) for repeat in range(repeats)]
    solutions = flow_log_prob(
        experiment,
        params,
        draws,
        len(images),
        partial,
        settings,
        config.eval.batch_size,
        examples.get("label"),
    )
    solved = solved_examples(solutions["log_prob"], settings)
    if solved.sum() < 2:
        raise TooFew("its standard error takes 2 examples, and there is 1")
    values = np.asarray(bits(experiment, solutions["log_prob"][solved]))
    parts = standard_errors(values)
    t_min = experiment.sde.t_min
    return {
        "bounds": "from above, on average over dequantization noise, the bits of the pixels under the flow",
        "value": float(values.mean()),
        "standard_error": parts.pop("total"),
        "standard_error_parts": parts,
        "nfe": float(solutions["nfe"].mean()),
        "images": int(solved.sum()),
        "dequantizations": repeats,
        "t_min": t_min,
        "sigma_at_t_min": float(experiment.sde.sigma(jnp.float32(t_min))),
        "tolerance": settings.tolerance,
    }
