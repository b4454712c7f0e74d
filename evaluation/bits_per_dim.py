"""Likelihoods and bounds of many examples: in batches, with progress, resumed where they stopped."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from components import ConfigError, UserError
from likelihood.exact import bits_per_dim, log_likelihood, standard_errors
from parallel.batches import BatchMap, one_by_one
from sde_lib.noise import example_keys
from workdir.checkpoints import checksum
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


def flow_log_prob(setup, params, draws, unfinished, settings, label=None):
    """Log-densities by the probability-flow ODE, one solve for each draw of each example.

    Args:
      draws: list of functions () -> x [N, ...] float32, one for each dequantization.
      unfinished: Unfinished with `log_prob` [N, R, P] and `nfe` [N, R]; goes on where it stopped.
      settings: the subtree `eval`.
      label: [N] classes of the examples, or None.

    Returns:
      the arrays; NaN where the solver ran out of steps.
    """

    def solve(constants, examples):
        params, key = constants

        def of_one(keys, x, label):
            found = log_likelihood(
                keys,
                setup.sde,
                setup.denoiser.bind(params, label),
                x,
                tolerance=settings.tolerance,
                probe=settings.probe,
                probes=settings.probes,
                solver=settings.solver,
            )
            return found.replace(latent=None)

        keys = example_keys(key, examples["index"])
        return one_by_one(of_one)(keys, examples["x"], examples.get("label"))

    found = unfinished.arrays
    count, repeats = found["nfe"].shape
    mapped = BatchMap(solve, settings.batch_size)
    done = int(np.isfinite(found["nfe"]).sum())
    if 0 < done < count * repeats:
        say(f"log-density: {done} of {count * repeats} solves were done before")
    progress = Progress(count * repeats, "solve", "log-density", initial=done)
    for repeat, draw in enumerate(draws):
        start = int(np.isfinite(found["nfe"][:, repeat]).sum())
        if start == count:
            continue
        examples = {"x": draw()[start:], "index": np.arange(start, count, dtype=np.uint32)}
        if label is not None:
            examples["label"] = label[start:]
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


def require_feasible(setup, settings):
    """Refuses an exact trace in more dimensions than memory allows.

    Raises:
      ConfigError: names eval.probe.
    """
    dimension = math.prod(setup.shape)
    if settings.bits_per_dim and settings.probe == "exact" and dimension > LARGEST_EXACT_TRACE:
        raise ConfigError(
            f'eval.probe="exact" takes {dimension} derivatives a call here, and up to {LARGEST_EXACT_TRACE} '
            'are supported. Use eval.probe="rademacher".'
        )


def solved_examples(log_prob, settings):
    """Which examples [N] have all their values; refuses if none has."""
    solved = np.isfinite(log_prob).all(axis=(1, 2))
    if not solved.any():
        raise UserError(
            f"log-density: the solver failed on all {len(solved)} examples; use a larger eval.tolerance than "
            f"{settings.tolerance}, or eval.bits_per_dim=False."
        )
    if not solved.all():
        say(
            f"warning: {(~solved).sum()} of {len(solved)} examples ran out of solver steps and are "
            f"left out; eval.tolerance={settings.tolerance} may be too small for float32."
        )
    return solved


def unfinished_likelihoods(path, config, params, examples, repeats):
    """The Unfinished that `flow_log_prob` fills; it holds only for these parameters, data and settings.

    Args:
      params: of the denoiser; examples: array or dict of arrays [N, ...], what the draws are made from.
      repeats: dequantizations of each example.
    """
    settings = config.eval
    probes = 1 if settings.probe == "exact" else settings.probes
    used = ("solver", "tolerance", "probe", "probes")
    identity = {
        "parameters": checksum(jax.device_get(params)),
        "examples": checksum({"examples": examples}),
        "repeats": repeats,
        "seed": config.seed,
        **{name: settings[name] for name in used},
        **{name: config[name].to_dict() for name in ("sde", "denoiser", "model")},
        "scaling": (config.data.levels, config.data.centered),
    }
    count = len(jax.tree.leaves(examples)[0])
    arrays = {
        "log_prob": np.full((count, repeats, probes), np.nan),
        "nfe": np.full((count, repeats), np.nan),
    }
    return Unfinished(path, identity, arrays)


def network_bits_per_dim(setup, params, examples, config, workdir):
    """Exact bits/dim of held-out images by the probability-flow ODE.

    Args:
      examples: {"image": [N, H, W, C] uint8, "label": [N] where there are labels}; the images are dequantized
        here over the right number of levels.
      config: the whole config.

    Returns:
      dict with value, standard error and its parts, NFE, and t_min, where the flow starts.
    """
    settings, repeats = config.eval, config.eval.dequantizations
    unfinished = unfinished_likelihoods(workdir / "bits_per_dim.npz", config, params, examples, repeats)
    images = examples["image"]
    draws = [lambda repeat=repeat: dequantized(setup, images, repeat) for repeat in range(repeats)]
    found = flow_log_prob(setup, params, draws, unfinished, settings, examples.get("label"))
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
