"""Variational bounds of many examples, in batches, with progress."""

import math

import jax
import numpy as np

from components import ConfigError
from denoisers.variance import estimate
from evaluation.bits_per_dim import bits
from evaluation.held_out import HeldOut, mean_and_error
from likelihood.bounds import LEVELS, DensityDecoder, PixelDecoder, continuous_bound, discrete_bound
from parallel.batches import BatchMap
from workdir.records import Progress


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
        choice, self._around = estimate(
            settings.bound_variance, config.sampling, data_range, "eval.bound_variance"
        )
        self._denoiser = setup.denoiser
        self.arguments = (decoder, choice, decoder.range if settings.bound_clip else None)

    def bind(self, params, label=None):
        """(x, t) -> Prediction with the variance of x_0 that the choice needs, of classes [B] or None."""
        denoise = self._denoiser.bind(params, label)
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
        levels = LEVELS[settings.bound_grid](setup.sde, settings.bound_levels)
    found = {}

    def evaluate(name, bound):
        def by_example(constants, examples):
            params, key = constants
            keys, x0, label = held_out.draw(key, examples)
            return bound(keys, (params, label), x0)

        examples = held_out.numbered(settings.bound_images)
        progress = Progress(len(examples["index"]), "image", name.replace("_", " "))
        parts = []
        mapped = BatchMap(by_example, settings.batch_size)
        for part in mapped.batches((params, setup.key(name)), examples):
            parts.append(part)
            progress.update(len(part.prior))
        progress.close()
        found[name] = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)

    if settings.discrete_bound:
        evaluate(
            "discrete_bound",
            lambda keys, bound_to, x0: discrete_bound(
                keys, setup.sde, chain.bind(*bound_to), x0, levels, *chain.arguments
            ),
        )
    if settings.continuous_bound:
        evaluate(
            "continuous_bound",
            lambda keys, bound_to, x0: continuous_bound(
                keys, setup.sde, setup.denoiser.bind(*bound_to), x0, settings.bound_levels, decoder
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


def bounded_images(setup, examples, settings):
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
        decoder = DensityDecoder()
        return HeldOut(examples, transform.dequantized), decoder, to_bits, float(bits(setup, 0.0))
    decoder = PixelDecoder(transform.levels, transform.centered)
    return HeldOut(examples, lambda keys, pixels: transform.to_model(pixels)), decoder, to_bits, 0.0


def network_bounds(setup, params, examples, config, levels=None):
    """Variational bounds in bits/dim of held-out examples; see `bounded_images`."""
    held_out, decoder, scale, offset = bounded_images(setup, examples, config.eval)
    found = describe_bounds(bounds_in_nats(setup, params, held_out, decoder, config, levels), scale, offset)
    about = {"decoder": type(decoder).__name__, "levels": config.eval.bound_levels}
    if levels is not None:
        about["levels"] = len(levels)
    chain = {"variance": config.eval.bound_variance, "grid": config.eval.bound_grid}
    own = {"discrete_bound": {**about, **chain}, "continuous_bound": about}
    return {name: {**own[name], **entry} for name, entry in found.items()}
