"""Held-out data, and the loss on it by noise level."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import metrics
from losses import Objective
from parallel import memory
from parallel.batches import BatchMap
from sde_lib import noise
from workdir.records import say


def subset(source, count):
    """The first `count` examples of a fixed shuffle of a source; see `Source.batch`."""
    return source.batch(np.random.default_rng(0).permutation(len(source))[:count])


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Held-out examples, and how they become x_0.

    Attributes:
      examples: {"image": [N, ...] uint8, or data of a mixture, "label": [N] where there are labels}.
      x0: (keys [B], examples [B, ...]) -> [B, ...] float32 in the model's range.
    """

    examples: np.ndarray
    x0: Callable

    @classmethod
    def images(cls, experiment, source, count):
        """The first images of a fixed shuffle, scaled as in training but never mirrored."""
        return cls.from_experiment(experiment, subset(source, count))

    @classmethod
    def from_experiment(cls, experiment, examples):
        """These examples, scaled as in training but never mirrored; or data of a mixture as it is."""
        if experiment.mixture is not None:
            return cls(examples, lambda keys, x0: x0)
        return cls(examples, dataclasses.replace(experiment.transform, random_flip=False).training)

    @classmethod
    def of_mixture(cls, experiment, count):
        """Exact samples [count, ...] of the Experiment's mixture."""
        x0 = jax.jit(experiment.mixture.sample, static_argnums=1)(experiment.key("held-out"), count)
        return cls.from_experiment(experiment, {"image": np.asarray(x0)})

    def __len__(self):
        return len(self.examples["image"])

    def numbered(self, count=None):
        """The first examples with their numbers, as a BatchMap takes them."""
        examples = {name: values[:count] for name, values in self.examples.items()}
        return {**examples, "index": np.arange(len(examples["image"]), dtype=np.uint32)}

    def draw(self, key, examples):
        """Some of `numbered`, ready to be measured.

        Returns:
          (keys [B] for the measurement's own draws, x_0 [B, ...], label [B] or None); keys and x_0 depend
          on the key and the examples' numbers alone.
        """
        data_keys, keys = noise.split(noise.example_keys(key, examples["index"]))
        return keys, self.x0(data_keys, examples["image"]), examples.get("label")


class HeldOutLoss:
    """The mean-squared error of eps at equally spaced times, on one fixed set of held-out data.

    Args:
      experiment: Experiment; held_out: HeldOut; config: the subtree `eval`.
      count: examples that are used; None: those of `examples(config)`.
    """

    def __init__(self, experiment, held_out, config, count=None):
        sde, levels = experiment.sde, config.loss_levels
        self.times = sde.t_min + (np.arange(levels) + 0.5) / levels * (sde.t_max - sde.t_min)
        self.log_snr = np.asarray(sde.log_snr(jnp.asarray(self.times)))
        self._examples = held_out.numbered(count or self.examples(config))
        self._held_out = held_out
        self._batch_size = config.batch_size
        self._key = experiment.key("held-out loss")
        self._experiment = experiment
        self._of_network = self._batch_map(lambda *of: experiment.denoise("held_out", *of))

    @staticmethod
    def examples(config):
        """How many examples a training run uses, of at least so many: one batch."""
        return min(config.batch_size, config.max_images)

    def _batch_map(self, bind):
        plain = Objective(self._experiment.sde)

        def errors(constants, examples):
            params, t, key = constants
            keys, x0, label = self._held_out.draw(key, examples)
            times = jnp.full(keys.shape, t)
            return plain.example_losses(keys, bind(params, label), x0, times)

        return BatchMap(errors, self._batch_size)

    @memory.guarded("measuring the held-out loss", "eval.batch_size", "eval.max_images")
    def _errors(self, mapped, params, level):
        key = jax.random.fold_in(self._key, level)
        return mapped((params, np.float32(self.times[level]), key), self._examples)

    def errors(self, params, level):
        """[N] errors of the network with these parameters at the time of this number."""
        return self._errors(self._of_network, params, level)

    def __call__(self, params):
        """[levels] mean errors of the network with these parameters."""
        return np.array([self.errors(params, level).mean() for level in range(len(self.times))])

    @functools.cached_property
    def _of_gaussian(self):
        sde = self._experiment.sde
        return self._batch_map(lambda fitted, label: lambda x, t: fitted.denoise(sde, x, t))

    def errors_of_gaussian(self, gaussian, level):
        """[N] errors of the exact denoiser of a Gaussian at the time of this number."""
        return self._errors(self._of_gaussian, gaussian, level)


class TooFew(Exception):
    """A set is too small for a figure; says how many examples there are, and how many it takes."""


class LeftOut:
    """The figures of an evaluation that its sets are too small for.

        with left_out("bits_per_dim"):
            model["bits_per_dim"] = ...

    goes on after the block where it raises TooFew.

    Attributes:
      reasons: by the figure's name.
    """

    def __init__(self):
        self.reasons = {}

    @contextlib.contextmanager
    def __call__(self, name):
        """Names the figure of a block, should a set be too small for it."""
        try:
            yield
        except TooFew as error:
            self.add(name, str(error))

    def add(self, name, reason):
        """Says and keeps why a figure is left out."""
        self.reasons[name] = reason
        say(f"{name} is left out: {reason}")

    def two_sample(self, name, real, generated, neighbours):
        """metrics.two_sample, of which the figures that the sets are too small for are named."""
        size = min(len(real), len(generated))
        for figure, least in metrics.too_small_for(size, neighbours).items():
            self.add(f"{name}.{figure}", f"it takes {least} examples of each set, and there are {size}")
        return metrics.two_sample(real, generated, neighbours)


def mean_and_error(values):
    """Mean of two values or more and its standard error, for a JSON file.

    Raises:
      TooFew: there are fewer than two.
    """
    if len(values) < 2:
        raise TooFew(f"its standard error takes 2 examples, and there is {len(values)}")
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return {"value": float(np.mean(values)), "standard_error": float(error)}


def shown(entry, digits=3):
    """What `mean_and_error` gave, as text."""
    return f"{entry['value']:.{digits}f} ± {entry['standard_error']:.{digits}f}"
