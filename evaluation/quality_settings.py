"""What `eval.sample_quality` asks for: checkpoints, averages, samplers and seeds, and what cannot be."""

import dataclasses
import itertools
import shlex

import overrides
from components import ConfigError, Refusals, choose
from evaluation import features
from evaluation import reference as references
from experiment.create import problems
from metrics import METRICS
from training import ema

# What a combination reads of the config, beside the model.
READS = ("restore", "sampling")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What one set of samples is drawn with.

    Attributes:
      step, average: as in `restore`, None for its choice; sampler: changes of `sampling`, as text; seed: the
        root of the draws.
    """

    step: int | None
    average: float | None
    sampler: str
    seed: int


def settings_of(config):
    """The Settings of `eval.sample_quality`, each once, by sampler, then by model."""
    quality = config.eval.sample_quality

    def each(values, default):
        return tuple(dict.fromkeys(values)) or (default,)

    samplers, seeds = each(quality.samplers, ""), each(quality.seeds, config.seed)
    models = itertools.product(each(quality.steps, None), each(quality.averages, None))
    return [
        Setting(step, average, sampler, seed)
        for sampler, (step, average), seed in itertools.product(samplers, models, seeds)
    ]


def with_sampler(config, text):
    """The config with a sampler's text, "predictor=edm steps=18", as `--config.sampling.*` would change it.

    Raises:
      ConfigError: names the text, and the field that there is none of.
    """
    changed, field = config.copy_and_resolve_references(), f'eval.sample_quality.samplers: "{text}": '
    try:
        pairs = [part.partition("=") for part in shlex.split(text)]
        return overrides.apply(
            changed, [(f"config.sampling.{n}", value if equals else None) for n, equals, value in pairs]
        )
    except ValueError as error:
        raise ConfigError(f"{field}{error}.") from error
    except ConfigError as error:
        raise ConfigError(f"{field}{error}") from error


def _sampler_refusals(config, text):
    changed = with_sampler(config, text)
    known = problems(config, READS)
    yield from (
        f'eval.sample_quality.samplers: "{text}": {line}'
        for line in problems(changed, READS)
        if line not in known
    )


def metric_refusals(config):
    """Lines about `eval.sample_quality.metrics`, and features that have no such figure."""
    names, given = config.eval.sample_quality.metrics, config.eval.features.name
    if not names:
        yield f"eval.sample_quality.metrics=() measures nothing. Name some of {', '.join(METRICS)}."
    refused = Refusals()
    for name in names:
        with refused:
            wanted = choose(METRICS, name, "eval.sample_quality.metrics").extractor
            if wanted not in (None, given):
                refused.add(
                    [
                        f'eval.sample_quality.metrics names {name}, which takes features of "{wanted}", and '
                        f'eval.features.name="{given}". Name frechet_distance or kid, or other features.'
                    ]
                )
    yield from refused.lines


def refusals(config):
    """Lines about the subtree `eval.sample_quality`."""
    quality, refused = config.eval.sample_quality, Refusals()
    if config.mixture.name:
        yield (
            f'eval.evaluators names sample_quality, and mixture.name="{config.mixture.name}" is no data set. '
            "Use two_sample."
        )
        return
    if quality.num_samples < 2:
        yield f"eval.sample_quality.num_samples={quality.num_samples} must be at least 2."
    if quality.pictures < 0:
        yield f"eval.sample_quality.pictures={quality.pictures} must not be negative; 0 means none."
    for field in ("steps", "seeds"):
        if not all(isinstance(n, int) and 0 <= n < 2**64 for n in quality[field]):
            yield f"eval.sample_quality.{field}={quality[field]} must be whole numbers of 0 or more."
    kept = ema.numbers(config.ema)
    if not set(quality.averages) <= set(kept):
        yield (
            f"eval.sample_quality.averages={quality.averages} must be averages that the run keeps: "
            f"{', '.join(map(str, kept))}."
        )
    if config.restore.file is not None and (quality.steps or quality.averages):
        yield (
            f"restore.file={config.restore.file} is one average of one step: leave eval.sample_quality.steps "
            "and eval.sample_quality.averages out."
        )
    refused.add(metric_refusals(config))
    refused.add(features.refusals(config))
    refused.add(references.refusals(config))
    for text in quality.samplers:
        refused.add(_sampler_refusals(config, text))
    yield from refused.lines
