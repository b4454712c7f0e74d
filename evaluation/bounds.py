"""The evaluators `discrete_bound` and `continuous_bound`: variational bounds on the likelihood of images."""

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
from evaluation import mixture
from evaluation.bits_per_dim import bits
from evaluation.evaluator import Evaluator, Figure
from evaluation.held_out import HeldOut, mean_and_error, shown
from experiment.create import data_range, data_shape, data_std
from likelihood.bounds import (
    DECODERS,
    LEVELS,
    Bound,
    DensityDecoder,
    PixelDecoder,
    continuous_bound,
    discrete_bound,
)
from parallel import memory
from parallel.batches import BatchMap


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


def unused_variance(config):
    """A line, if `eval.bound.variance` is chosen and the bound that it is of is not measured."""
    name, chosen = config.eval.bound.variance.name, config.eval.evaluators
    if name != "small" and "discrete_bound" not in chosen:
        yield (
            f'eval.bound.variance.name="{name}" is the variance of the discrete-time bound, and '
            f"eval.evaluators={','.join(chosen)}. Add discrete_bound to eval.evaluators."
        )


def refusals(config):
    """Lines about the subtree `eval.bound`."""
    settings, refused = config.eval.bound, Refusals()
    for field in ("levels", "images"):
        if settings[field] < 2:
            yield f"eval.bound.{field}={settings[field]} must be at least 2."
    yield from unused_variance(config)
    refused.add(decoder_refusals(config))
    with refused:
        choose(dict.fromkeys((*LEVELS, "sampling")), settings.grid, "eval.bound.grid")
        sde = sde_lib.create(config.sde)
        discrete = "discrete_bound" in config.eval.evaluators
        if discrete and settings.grid == "uniform":
            refused.add(_first_level_refusals(settings, sde))
        if discrete and settings.grid == "sampling":
            data = {"data_std": data_std(config), "shape": data_shape(config)}
            sampled_levels(config, samplers.create(config.sampling, sde, data_range(config), **data))
    yield from refused.lines


def _first_level_refusals(settings, sde):
    first = sde.t_max / max(settings.levels, 1)
    if first < sde.t_min * (1 - 1e-6):
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
    if config.eval.bound.grid != "sampling" or "discrete_bound" not in config.eval.evaluators:
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
def bounds_in_nats(experiment, params, held_out, decoder, config, levels=None, names=None, partial=None):
    """Variational bounds as the subtree `eval.bound` describes them, by example.

    Args:
      held_out: HeldOut; decoder: PixelDecoder or DensityDecoder of its x_0.
      config: the whole config.
      levels: [K] increasing times of the chain, in place of eval.bound.grid's.
      names: keys of WHAT_IS_BOUNDED; None: those in `eval.evaluators`.
      partial: name -> Partial in which finished rows are kept; None: nothing is kept.

    Returns:
      dict from name to likelihood.bounds.Bound of [N] arrays.
    """
    settings, sde = config.eval.bound, experiment.sde
    if names is None:
        names = [name for name in WHAT_IS_BOUNDED if name in config.eval.evaluators]
    chain = Chain(experiment, settings, decoder)
    if levels is None:
        levels = LEVELS[settings.grid](sde, settings.levels)

    def discrete(keys, bound_to, x0):
        return discrete_bound(keys, sde, chain.bind(*bound_to), x0, levels, *chain.arguments)

    def continuous(keys, bound_to, x0):
        denoise = experiment.denoiser.bind(*bound_to)
        return continuous_bound(keys, sde, denoise, x0, settings.levels, decoder)

    def evaluate(name):
        bound = {"discrete_bound": discrete, "continuous_bound": continuous}[name]

        def by_example(constants, examples):
            params, key = constants
            keys, x0, label = held_out.draw(key, examples)
            return bound(keys, (params, label), x0)

        examples, constants = held_out.numbered(settings.images), (params, experiment.key(name))
        mapped = BatchMap(by_example, config.eval.batch_size)
        if partial is None:
            return mapped(constants, examples)
        return _resumed(partial(name), mapped, constants, examples, name.replace("_", " "))

    return {name: evaluate(name) for name in names}


def _resumed(partial, mapped, constants, examples, what):
    """mapped(constants, examples), a Bound, from rows that are kept where they are finished."""

    def of_rows(rows):
        found = mapped(constants, jax.tree.map(lambda a: a[rows], examples))
        return {part: getattr(found, part) for part in ("prior", "diffusion", "decoder")}

    count = len(examples["index"])
    partial.fill(count, mapped.batch_size, of_rows, what, "image", "images were done")
    return Bound(**partial.merged(count))


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


def network_bounds(experiment, params, examples, config, levels=None, **resumed):
    """Variational bounds in bits/dim of held-out examples; see `bounded_images`, `bounds_in_nats`.

    Raises:
      TooFew: fewer than two examples.
    """
    held_out, decoder, scale, offset = bounded_images(experiment, examples, config.eval.bound)
    bounds = bounds_in_nats(experiment, params, held_out, decoder, config, levels, **resumed)
    entries = describe_bounds(bounds, scale, offset)
    described = {"decoder": type(decoder).__name__, "levels": config.eval.bound.levels}
    if levels is not None:
        described["levels"] = len(levels)
    chain = {"variance": config.eval.bound.variance.name, "grid": config.eval.bound.grid}
    own = {"discrete_bound": {**described, **chain}, "continuous_bound": described}
    return {name: {**own[name], **entry} for name, entry in entries.items()}


class VariationalBound(Evaluator):
    """One of WHAT_IS_BOUNDED."""

    reads = ("data",)

    def __init__(self, name):
        self.name = name

    def refusals(self, config):
        return refusals(config)

    def settings(self, config):
        sampled = self.name == "discrete_bound" and config.eval.bound.grid == "sampling"
        return {**config.eval.bound.to_dict(), "sampling": config.sampling.to_dict() if sampled else None}

    def measure(self, evaluation):
        experiment, params, config = evaluation.experiment, evaluation.params, evaluation.config
        sampled = self.name == "discrete_bound" and config.eval.bound.grid == "sampling"
        levels = sampled_levels(config, evaluation.samples) if sampled else None
        resumed = {"names": (self.name,), "partial": lambda name: evaluation.partial(self)}
        if experiment.mixture is None:
            return network_bounds(experiment, params, evaluation.held_out, config, levels, **resumed)[
                self.name
            ]
        held_out, scale = evaluation.scaled, 1 / experiment.mixture.dimension
        found = bounds_in_nats(experiment, params, held_out, DensityDecoder(), config, levels, **resumed)
        above = (
            found[self.name].total
            + mixture.exact_log_prob(experiment, held_out)[: len(found[self.name].total)]
        )
        entry = describe_bounds(found, scale)[self.name]
        return {"unit": "nats/dim", **entry, "above_exact": mean_and_error(above * scale)}

    def figures(self, entry):
        title, unit = self.name.replace("_", " "), entry.get("unit", "bits/dim")
        note = f"{entry['levels']} levels" if "levels" in entry else ""
        if "variance" in entry:
            note += f", variance {entry['variance']}, grid {entry['grid']}"
        digits = 6 if "above_exact" in entry else 3
        yield Figure(f"{title}, {unit}, at most", shown(entry, digits), note)
        if "above_exact" in entry:
            yield Figure("  above the exact one", shown(entry["above_exact"], digits))

    def panels(self, entry):
        if "unit" in entry:
            return {}
        return {
            "bits/dim (lower is better)": {
                self.name.replace("_", " "): (entry["value"], entry["standard_error"])
            }
        }
