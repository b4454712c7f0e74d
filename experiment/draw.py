"""Samples by number."""

import copy
import dataclasses

import jax.numpy as jnp
import numpy as np

import samplers
from components import ConfigError, UserError
from experiment.checks import refused_labels
from parallel import memory
from parallel.batches import BatchMap, joined, one_by_one
from samplers import audit
from sde_lib.noise import example_keys, uniform
from workdir.records import say


def class_labels(experiment, purpose, numbers, wanted=None):
    """[N] int32 classes of the samples of these numbers, or None where the data has no labels.

    Args:
      purpose: of the draw, which depends on it, the seed and the number alone.
      wanted: classes that are repeated; None draws by their frequencies in the training data.
    """
    frequencies, numbers = experiment.class_frequencies, np.asarray(numbers, np.uint32)
    if frequencies is None:
        return None
    if wanted is not None:
        return np.asarray(wanted, np.int32)[numbers % len(wanted)]
    ends = np.cumsum(frequencies)
    u = np.asarray(uniform(example_keys(experiment.key(purpose), numbers)))
    # A class without examples is never drawn, not even by rounding at the end.
    last = np.flatnonzero(frequencies)[-1]
    return np.minimum(np.searchsorted(ends, u * ends[-1], side="right"), last).astype(np.int32)


class NumberedSamples:
    """Samples by number: sample k depends, to rounding, on the seed and k alone, not on batch or devices.

    So does its label, where the data has labels.

    Args:
      experiment: Experiment.
      config: the subtree `sampling`.
      keep: rows of the sampler's table whose states and predictions are returned as well, or None.
      batch_size: over the devices of this process; default `sampling.batch_size`.

    Raises:
      ConfigError: from the sampler, or sampling.labels that the model does not draw.

    Attributes:
      sampler: samplers.Sampler in float32.
      times: [K] of the sampler's calls; None where they are chosen on the way.
      function: ((params, sampler, key), {"index": [b], "label": [b] where there are labels}) -> Samples, of a
        device's share of a batch.
      nfe: network calls a sample; where they are chosen on the way, None until `draw` has their mean.
    """

    def __init__(self, experiment, config, keep=None, batch_size=None):
        sampler, self._ratio = samplers.create_audited(
            config,
            experiment.sde,
            experiment.data_range,
            experiment.files,
            experiment.data_std,
            experiment.shape,
        )
        self.sampler, self._key = sampler.astype(np.float32), experiment.key("sample")
        self.times, self.nfe = sampler.times, sampler.nfe

        self._experiment, self._labels = experiment, config.labels
        refusal = refused_labels(self._labels, len(experiment.class_frequencies or ()))
        if refusal:
            raise ConfigError(refusal)

        def draw(constants, examples):
            params, sampler, key = constants

            def of(keys, label):
                return sampler.draw(
                    keys, experiment.sde, experiment.denoiser.bind(params, label), experiment.shape, keep
                )

            keys, label = example_keys(key, examples["index"]), examples.get("label")
            # A sampler that chooses its steps on the way follows each sample by itself.
            drawn = (one_by_one(of) if label is not None and sampler.table is None else of)(keys, label)
            if keep is None:
                return drawn
            examples_first = (jnp.moveaxis(a, 0, 1) for a in (drawn.trajectory, drawn.predictions))
            return samplers.Samples(drawn.x, drawn.nfe, *examples_first)

        self.function = draw
        self._map = BatchMap(draw, batch_size or config.batch_size)
        self.batch_size = self._map.batch_size

    def say_bias(self):
        """Says it where the sampler by itself makes the samples' variance differ much from the data's."""
        remark = audit.remark(self._ratio)
        if remark:
            say(remark)

    def with_seed(self, seed):
        """The same sampler with the draws of another root seed; nothing is compiled anew."""
        other = copy.copy(self)
        other._experiment = dataclasses.replace(self._experiment, seed=seed)
        other._key = other._experiment.key("sample")
        return other

    def labels(self, numbers):
        """[count] int32 classes of the samples of these numbers, or None where the data has no labels."""
        return class_labels(self._experiment, "label", numbers, self._labels)

    def numbered(self, params, numbers):
        """Samples of these numbers: NumPy arrays in Samples; with `keep`, trajectory [count, M, ...].

        Raises:
          UserError: samples that are not finite.
        """
        constants = (params, self.sampler, self._key)
        examples = {"index": np.asarray(numbers, np.uint32)}
        labels = self.labels(numbers)
        if labels is not None:
            examples["label"] = labels
        with memory.guarded("drawing samples", "sampling.batch_size", "sampling.num_samples"):
            drawn = self._map(constants, examples)
        if not np.isfinite(drawn.x).all():
            raise UserError(
                "The samples are not finite. Train longer, or use more sampling.steps, a lower "
                "sampling.predictor.order, or sampling.threshold=data_range."
            )
        return drawn

    def draw(self, params, count, progress=None, convert=None):
        """Samples 0..count-1 [count, ...].

        Args:
          progress: records.Progress, or None.
          convert: what is kept of a batch, to_pixels for example; None: all of it, in the model's range.
        """

        def parts():
            for start in range(0, count, self.batch_size):
                drawn = self.numbered(params, range(start, min(start + self.batch_size, count)))
                yield {"x": convert(drawn.x) if convert else drawn.x, "nfe": drawn.nfe}
                if progress is not None:
                    progress.update(len(drawn.x))

        whole = joined(parts(), count)
        if self.nfe is None:
            self.nfe = float(whole["nfe"].mean())
        return whole["x"]
