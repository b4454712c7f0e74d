"""Likelihoods and bounds of many examples: in batches, with progress, resumed where they stopped."""

import math

import jax
import jax.numpy as jnp
import numpy as np

import experiment
from components import Refusals, UserError, choose, positive
from likelihood.exact import PROBES, bits_per_dim, log_likelihood, standard_errors
from parallel.batches import BatchMap
from sde_lib.noise import example_keys
from sde_lib.probability_flow import SOLVERS
from workdir.files import checksum
from workdir.partial import Unfinished
from workdir.records import Progress, say

# An exact trace carries one derivative for each dimension of every example in a batch.
LARGEST_EXACT_TRACE = 1024


def dequantized(setup, images, repeat=0):
    """float32 images in the model's range, with uniform noise that depends on the image's number alone."""
    key = jax.random.fold_in(setup.key("dequantize"), repeat)
    return np.asarray(setup.transform.dequantized(example_keys(key, jnp.arange(len(images))), images))


def bits(setup, log_prob):
    return bits_per_dim(log_prob, setup.shape, setup.transform.levels, setup.transform.centered)


def flow_log_prob(setup, params, draws, unfinished, settings, batch_size):
    """Log-densities by the probability-flow ODE, one solve for each draw of each example.

    Args:
      draws: list of functions () -> x [N, ...] float32, one for each dequantization.
      unfinished: Unfinished with `log_prob` [N, R, P] and `nfe` [N, R]; goes on where it stopped.
      settings: the subtree `eval.bits_per_dim`; batch_size: over all devices together.

    Returns:
      the arrays; NaN where the solver ran out of steps.
    """

    def solve(constants, examples):
        params, key = constants
        return log_likelihood(
            example_keys(key, examples["index"]),
            setup.sde,
            setup.denoiser.bind(params),
            examples["x"],
            tolerance=settings.tolerance,
            probe=settings.probe,
            probes=settings.probes,
            solver=settings.solver,
        ).replace(latent=None)

    found = unfinished.arrays
    count, repeats = found["nfe"].shape
    mapped = BatchMap(solve, batch_size)
    done = int(np.isfinite(found["nfe"]).sum())
    if 0 < done < count * repeats:
        say(f"log-density: {done} of {count * repeats} solves were done before")
    progress = Progress(count * repeats, "solve", "log-density", initial=done)
    for repeat, draw in enumerate(draws):
        start = int(np.isfinite(found["nfe"][:, repeat]).sum())
        if start == count:
            continue
        examples = {"x": draw()[start:], "index": np.arange(start, count, dtype=np.uint32)}
        key = jax.random.fold_in(setup.key("probe"), repeat)
        for part in mapped.batches((params, key), examples):
            rows = slice(start, start + len(part.nfe))
            found["log_prob"][rows, repeat] = np.where(part.failed[:, None], np.nan, part.by_probe)
            found["nfe"][rows, repeat] = part.nfe
            start = rows.stop
            progress.update(len(part.nfe))
            unfinished.save(now=False)
    progress.close()
    unfinished.save()
    return found


def refusals(config):
    """Lines about the subtree `eval.bits_per_dim`."""
    settings = config.eval.bits_per_dim
    yield from positive(settings, "eval.bits_per_dim", "tolerance", "dequantizations", "probes")
    if config.mixture.name and settings.dequantizations != 1:
        yield (
            f"eval.bits_per_dim.dequantizations={settings.dequantizations} is for pixels, and a mixture has "
            "none. Leave it out."
        )
    shape = experiment.data_shape(config)
    dimension = math.prod(shape) if shape else 0
    if settings.compute and settings.probe == "exact" and dimension > LARGEST_EXACT_TRACE:
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


def unfinished_likelihoods(path, config, params, examples, repeats):
    """The Unfinished that `flow_log_prob` fills; it holds only for these parameters, data and settings.

    Args:
      params: of the denoiser; examples: [N, ...] what the draws are made from.
      repeats: dequantizations of each example.
    """
    settings = config.eval.bits_per_dim
    probes = 1 if settings.probe == "exact" else settings.probes
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
    arrays = {
        "log_prob": np.full((len(examples), repeats, probes), np.nan),
        "nfe": np.full((len(examples), repeats), np.nan),
    }
    return Unfinished(path, identity, arrays)


def network_bits_per_dim(setup, params, images, config, workdir):
    """Exact bits/dim of held-out images by the probability-flow ODE.

    Args:
      images: [N, H, W, C] uint8, dequantized here over the right number of levels.
      config: the whole config.

    Returns:
      dict with value, standard error and its parts, NFE, and t_min, where the flow starts.
    """
    settings = config.eval.bits_per_dim
    repeats = settings.dequantizations
    unfinished = unfinished_likelihoods(workdir / "bits_per_dim.npz", config, params, images, repeats)
    draws = [lambda repeat=repeat: dequantized(setup, images, repeat) for repeat in range(repeats)]
    found = flow_log_prob(setup, params, draws, unfinished, settings, config.eval.batch_size)
    solved = solved_examples(found["log_prob"], settings)
    values = np.asarray(bits(setup, found["log_prob"][solved]))
    parts = standard_errors(values)
    t_min = setup.sde.t_min
    return {
        "bounds": "from above, on average over dequantization noise, the bits of the pixels under the flow",
        "value": float(values.mean()),
        "standard_error": parts.pop("total"),
        "standard_error_parts": parts,
        "nfe": float(found["nfe"].mean()),
        "images": int(solved.sum()),
        "dequantizations": repeats,
        "t_min": t_min,
        "sigma_at_t_min": float(setup.sde.sigma(jnp.float32(t_min))),
        "tolerance": settings.tolerance,
    }
