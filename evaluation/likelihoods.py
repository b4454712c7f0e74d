"""Likelihoods and bounds of many examples: in batches, with progress, resumed where they stopped."""

import json
import math
import os
import time
import zipfile
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import likelihood
import variance
import variational
from creation import ConfigError, UserError
from evaluation.held_out import HeldOut, example_keys, mean_and_error
from training import parallel
from training.checkpoints import checksum
from training.logging import Progress, say

SECONDS_BETWEEN_SAVES = 5.0
# An exact trace carries one derivative for each dimension of every example in a batch.
LARGEST_EXACT_TRACE = 1024


def dequantized(setup, images, repeat=0):
    """float32 images in the model's range, with uniform noise that depends on the image's number alone."""
    key = jax.random.fold_in(setup.key("dequantize"), repeat)
    return np.asarray(setup.transform.dequantized(example_keys(key, jnp.arange(len(images))), images))


def bits(setup, log_prob):
    return likelihood.bits_per_dim(log_prob, setup.shape, setup.transform.levels, setup.transform.centered)


class Unfinished:
    """Arrays of results that are filled in a fixed order and survive a kill.

    Args:
      path: an .npz file; kept when all is done, as the results one by one.
      identity: JSON-able description of what is computed; results of anything else are dropped.
      arrays: dict of arrays, NaN where nothing is known yet.
    """

    def __init__(self, path, identity, arrays):
        self.path, self.arrays = Path(path), arrays
        self._identity = json.dumps(identity, sort_keys=True, default=str)
        self._saved = time.monotonic()
        if self.path.exists():
            try:
                with np.load(self.path) as found:
                    if str(found["identity"]) == self._identity:
                        self.arrays = {name: found[name] for name in arrays}
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                say(f"warning: {self.path} cannot be read ({error}); starting anew.")

    def save(self, now=True):
        """Writes the file in one piece; with now=False only some seconds after the last time."""
        if not now and time.monotonic() - self._saved < SECONDS_BETWEEN_SAVES:
            return
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez(file, identity=self._identity, **self.arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)
        self._saved = time.monotonic()


def flow_log_prob(setup, params, draws, unfinished, settings):
    """Log-densities by the probability-flow ODE, one solve for each draw of each example.

    Args:
      draws: list of functions () -> x [N, ...] float32, one for each dequantization.
      unfinished: Unfinished with `log_prob` [N, R, P] and `nfe` [N, R]; goes on where it stopped.
      settings: the subtree `eval`.

    Returns:
      the arrays; NaN where the solver ran out of steps.
    """

    def solve(constants, examples):
        params, key = constants
        return likelihood.log_likelihood(
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
    mapped = parallel.BatchMap(solve, settings.batch_size)
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
      params: of the denoiser; examples: [N, ...] what the draws are made from.
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
    settings, repeats = config.eval, config.eval.dequantizations
    unfinished = unfinished_likelihoods(workdir / "bits_per_dim.npz", config, params, images, repeats)
    draws = [lambda repeat=repeat: dequantized(setup, images, repeat) for repeat in range(repeats)]
    found = flow_log_prob(setup, params, draws, unfinished, settings)
    solved = solved_examples(found["log_prob"], settings)
    values = np.asarray(bits(setup, found["log_prob"][solved]))
    parts = likelihood.standard_errors(values)
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


class Chain:
    """The discrete-time chain whose likelihood `eval.bound_...` describes.

    Args:
      setup: Experiment; config: the whole config.
      decoder: PixelDecoder or DensityDecoder.

    Attributes:
      arguments: what variational.discrete_bound takes after the times: decoder, choice, clip.
    """

    def __init__(self, setup, config, decoder):
        settings, data_range = config.eval, setup.transform.range if setup.transform else None
        choice, self._around = variance.estimate(
            settings.bound_variance, config.sampling, data_range, "eval.bound_variance"
        )
        self._denoiser = setup.denoiser
        self.arguments = (decoder, choice, decoder.range if settings.bound_clip else None)

    def bind(self, params):
        """(x, t) -> Prediction with the variance of x_0 that the choice needs."""
        denoise = self._denoiser.bind(params)
        for wrapper in self._around:
            denoise = wrapper(denoise)
        return denoise


def sampled_levels(config, drawer):
    """Increasing times of the calls of a sampler, for eval.bound_grid="sampling"; None for other grids.

    Raises:
      ConfigError: the sampler does not call the network once at each of decreasing times, or does not denoise
        at the last.
    """
    if config.eval.bound_grid != "sampling" or not config.eval.discrete_bound:
        return None
    times = drawer.times
    if times is None or len(times) < 2 or not (np.diff(times) < 0).all() or not config.sampling.final_denoise:
        raise ConfigError(
            'eval.bound_grid="sampling" bounds the ancestral chain on the levels of a sampler of one call a '
            f'step that ends by denoising, and sampling.predictor="{config.sampling.predictor}" is none. Use '
            "ancestral, with sampling.final_denoise, or eval.bound_grid=uniform or log_snr."
        )
    return np.asarray(times[::-1], np.float32)


def bounds_in_nats(setup, params, held_out, decoder, config, levels=None):
    """The variational bounds that the subtree `eval` asks for, by example.

    Args:
      held_out: HeldOut; decoder: PixelDecoder or DensityDecoder of its x_0.
      config: the whole config.
      levels: [K] increasing times of the chain, in place of eval.bound_grid's.

    Returns:
      dict from name to variational.Bound of [N] arrays.
    """
    settings, chain = config.eval, Chain(setup, config, decoder)
    if levels is None:
        levels = variational.LEVELS[settings.bound_grid](setup.sde, settings.bound_levels)
    found = {}

    def evaluate(name, bound):
        def by_example(constants, examples):
            params, key = constants
            keys = example_keys(key, examples["index"])
            pairs = jax.vmap(jax.random.split)(keys)
            x0 = held_out.x0(pairs[:, 0], examples["example"])
            return bound(pairs[:, 1], params, x0)

        examples = held_out.numbered(settings.bound_images)
        progress = Progress(len(examples["index"]), "image", name.replace("_", " "))
        parts = []
        mapped = parallel.BatchMap(by_example, settings.batch_size)
        for part in mapped.batches((params, setup.key(name)), examples):
            parts.append(part)
            progress.update(len(part.prior))
        progress.close()
        found[name] = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)

    if settings.discrete_bound:
        evaluate(
            "discrete_bound",
            lambda keys, params, x0: variational.discrete_bound(
                keys, setup.sde, chain.bind(params), x0, levels, *chain.arguments
            ),
        )
    if settings.continuous_bound:
        evaluate(
            "continuous_bound",
            lambda keys, params, x0: variational.continuous_bound(
                keys, setup.sde, setup.denoiser.bind(params), x0, settings.bound_levels, decoder
            ),
        )
    return found


WHAT_IS_BOUNDED = {
    "discrete_bound": "from above, the negative log-likelihood under ancestral sampling on these levels",
    "continuous_bound": "from above, the negative log-likelihood under the reverse SDE from t_max to t_min",
}


def describe_bounds(bounds, scale, offset=0.0):
    """Value and standard error of each bound and its parts.

    Args:
      scale, offset: a bound is nats * scale + offset; the offset, a Jacobian, is no part's.
    """
    return {
        name: {
            "bounds": WHAT_IS_BOUNDED[name],
            **mean_and_error(scale * bound.total + offset),
            "parts": {
                **{
                    part: mean_and_error(scale * getattr(bound, part))
                    for part in ("prior", "diffusion", "decoder")
                },
                "scaling": {"value": offset, "standard_error": 0.0},
            },
        }
        for name, bound in bounds.items()
    }


def bounded_images(setup, images, settings):
    """What `eval.bound_decoder` bounds the likelihood of.

    "pixels" bounds the bits of the discrete pixels. "density" bounds those of dequantized
    ones, which a network trained on dequantized data models: of the pixels' lattice, which
    shows in x_t at low noise, it knows nothing.

    Returns:
      (HeldOut, decoder, scale, offset); bits/dim are nats * scale + offset.
    """
    transform = setup.transform
    to_bits = 1 / (math.prod(setup.shape) * math.log(2))
    if (settings.bound_decoder or ("density" if transform.dequantize else "pixels")) == "density":
        decoder = variational.DensityDecoder()
        return HeldOut(images, transform.dequantized), decoder, to_bits, float(bits(setup, 0.0))
    decoder = variational.PixelDecoder(transform.levels, transform.centered)
    return HeldOut(images, lambda keys, pixels: transform.to_model(pixels)), decoder, to_bits, 0.0


def network_bounds(setup, params, images, config, levels=None):
    """Variational bounds in bits/dim of held-out images; see `bounded_images`."""
    held_out, decoder, scale, offset = bounded_images(setup, images, config.eval)
    found = describe_bounds(bounds_in_nats(setup, params, held_out, decoder, config, levels), scale, offset)
    about = {"decoder": type(decoder).__name__, "levels": config.eval.bound_levels}
    if levels is not None:
        about["levels"] = len(levels)
    chain = {"variance": config.eval.bound_variance, "grid": config.eval.bound_grid}
    own = {"discrete_bound": {**about, **chain}, "continuous_bound": about}
    return {name: {**own[name], **entry} for name, entry in found.items()}
