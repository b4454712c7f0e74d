"""Variational bounds of many examples, in batches, with progress."""

import math

import jax
import numpy as np

import components
import samplers
import sde_lib
from components import ConfigError, Refusals, choose
from denoisers import chain
from denoisers.thresholds import Clip
from denoisers.variance import CHOICES
from evaluation.bits_per_dim import bits
from evaluation.held_out import HeldOut, mean_and_error
from experiment.create import data_range, data_shape, data_std
from likelihood.bounds import DECODERS, LEVELS, DensityDecoder, PixelDecoder, continuous_bound, discrete_bound
from parallel import memory
from parallel.batches import BatchMap
from workdir.records import Progress


class Chain:
    """The discrete-time chain whose likelihood `eval.bound` describes.

    Args:
      experiment: Experiment; config: the subtree `eval.bound`.
      decoder: PixelDecoder or DensityDecoder.

    Attributes:
      arguments: what likelihood.bounds.discrete_bound takes after the times: decoder and choice of variance.
    """

    def __init__(self, experiment, config, decoder):
        variance = components.create(CHOICES, config.variance, "eval.bound.variance", experiment.files)
        clip = (Clip(*decoder.range),) if config.clip and decoder.range else ()
        self._wrappers = chain.create("bound", variance=variance.wrappers(experiment.data_range), clip=clip)
        self._denoiser = experiment.denoiser
        self.arguments = (decoder, variance.choice)

    def bind(self, params, label=None):
        """(x, t) -> Prediction with the variance of x_0 that the choice needs, of classes [B] or None."""
        return chain.wrap(self._wrappers, self._denoiser.bind(params, label))


def decoder_refusals(config):
    """Lines about the decoder of `eval.bound`."""
    settings = config.eval.bound
    if config.mixture.name and settings.decoder == "pixels":
        yield "eval.bound.decoder=pixels is for pixels, and a mixture has none. Leave it out."
    choose(dict.fromkeys((None, *DECODERS)), settings.decoder, "eval.bound.decoder")


def refusals(config):
    """Lines about the subtree `eval.bound`."""
    settings, refused = config.eval.bound, Refusals()
    for field in ("levels", "images"):
        if settings[field] < 2:
            yield f"eval.bound.{field}={settings[field]} must be at least 2."
    if settings.variance.name != "small" and not settings.discrete:
        yield (
            f'eval.bound.variance.name="{settings.variance.name}" is the variance of the discrete-time '
            "bound, and eval.bound.discrete=False. Set eval.bound.discrete=True."
        )
    refused.add(decoder_refusals(config))
    with refused:
        choose(dict.fromkeys((*LEVELS, "sampling")), settings.grid, "eval.bound.grid")
        sde = sde_lib.create(config.sde)
        refused.add(_first_level_refusals(settings, sde))
        if settings.discrete and settings.grid == "sampling":
            data = {"data_std": data_std(config), "shape": data_shape(config)}
            sampled_levels(config, samplers.create(config.sampling, sde, data_range(config), **data))
    yield from refused.lines


def _first_level_refusals(settings, sde):
    first = sde.t_max / max(settings.levels, 1)
    if settings.discrete and settings.grid == "uniform" and first < sde.t_min * (1 - 1e-6):
        yield (
            f"eval.bound.levels={settings.levels} puts the first level at t = {first:.3g}, below "
            f"sde.t_min={sde.t_min:.3g}. Use at most {int(sde.t_max / sde.t_min * (1 + 1e-6))}, or "
            "eval.bound.grid=log_snr."
        )


def sampled_levels(config, sampler):
    """Increasing times of the calls of a sampler, for eval.bound.grid="sampling"; None for other grids.

    Args:
      config: the whole config; sampler: anything with the `times` of its calls.

    Raises:
      ConfigError: the sampler does not call the network once at each of decreasing times, or does not denoise
        at the last.
    """
    if config.eval.bound.grid != "sampling" or not config.eval.bound.discrete:
        return None
    times = sampler.times
    if times is None or len(times) < 2 or not (np.diff(times) < 0).all() or not config.sampling.final_denoise:
        raise ConfigError(
            'eval.bound.grid="sampling" bounds the ancestral chain on the levels of a sampler of one call a '
            "step that ends by denoising, and "
            f'sampling.predictor.name="{config.sampling.predictor.name}" is none. Use ancestral, with '
            "sampling.final_denoise, or eval.bound.grid=uniform or log_snr."
        )
    return np.asarray(times[::-1], np.float32)


@memory.guarded("measuring bounds", "eval.batch_size", "eval.bound.variance.probes")
def bounds_in_nats(experiment, params, held_out, decoder, config, levels=None):
    """The variational bounds that the subtree `eval.bound` asks for, by example.

    Args:
      held_out: HeldOut; decoder: PixelDecoder or DensityDecoder of its x_0.
      config: the whole config.
      levels: [K] increasing times of the chain, in place of eval.bound.grid's.

    Returns:
      dict from name to variational.Bound of [N] arrays.
    """
    settings, discrete = config.eval.bound, Chain(experiment, config.eval.bound, decoder)
    if levels is None:
        levels = LEVELS[settings.grid](experiment.sde, settings.levels)
    terms = {}

    def evaluate(name, bound):
        def by_example(constants, examples):
            params, key = constants
            keys, x0, label = held_out.draw(key, examples)
            return bound(keys, (params, label), x0)

        examples = held_out.numbered(settings.images)
        progress = Progress(len(examples["index"]), "image", name.replace("_", " "))
        parts = []
        mapped = BatchMap(by_example, config.eval.batch_size)
        for part in mapped.batches((params, experiment.key(name)), examples):
            parts.append(part)
            progress.update(len(part.prior))
        progress.close()
        terms[name] = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)

    if settings.discrete:
        evaluate(
            "discrete_bound",
            lambda keys, bound_to, x0: discrete_bound(
                keys, experiment.sde, discrete.bind(*bound_to), x0, levels, *discrete.arguments
            ),
        )
    if settings.continuous:
        evaluate(
            "continuous_bound",
            lambda keys, bound_to, x0: continuous_bound(
                keys, experiment.sde, experiment.denoiser.bind(*bound_to), x0, settings.levels, decoder
            ),
        )
    return terms


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


def bounded_images(experiment, examples, settings):
    """What `eval.bound.decoder` bounds the likelihood of.

    "pixels" bounds the bits of the discrete pixels. "density" bounds those of dequantized
    ones, which a network trained on dequantized data models: of the pixels' lattice, which
    shows in x_t at low noise, it knows nothing.

    Returns:
      (HeldOut, decoder, scale, offset); bits/dim are nats * scale + offset.
    """
    transform = experiment.transform
    to_bits = 1 / (math.prod(experiment.shape) * math.log(2))
    if (settings.decoder or ("density" if transform.dequantize else "pixels")) == "density":
        decoder = DensityDecoder()
        return HeldOut(examples, transform.dequantized), decoder, to_bits, float(bits(experiment, 0.0))
    decoder = PixelDecoder(transform.pixel_values, transform.centered)
    return HeldOut(examples, lambda keys, pixels: transform.to_model(pixels)), decoder, to_bits, 0.0


def network_bounds(experiment, params, examples, config, levels=None):
    """Variational bounds in bits/dim of held-out examples; see `bounded_images`.

    Raises:
      TooFew: fewer than two examples.
    """
    held_out, decoder, scale, offset = bounded_images(experiment, examples, config.eval.bound)
    entries = describe_bounds(
        bounds_in_nats(experiment, params, held_out, decoder, config, levels), scale, offset
    )
    described = {"decoder": type(decoder).__name__, "levels": config.eval.bound.levels}
    if levels is not None:
        described["levels"] = len(levels)
    chain = {"variance": config.eval.bound.variance.name, "grid": config.eval.bound.grid}
    own = {"discrete_bound": {**described, **chain}, "continuous_bound": described}
    return {name: {**own[name], **entry} for name, entry in entries.items()}
