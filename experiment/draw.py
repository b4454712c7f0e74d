"""Samples by number."""

import jax.numpy as jnp
import numpy as np

import samplers
from components import UserError
from parallel.batches import BatchMap
from sde_lib.noise import example_keys


class Drawer:
    """Samples by number: sample k depends, to rounding, on the seed and k alone, not on batch or devices.

    Args:
      setup: Experiment.
      config: the subtree `sampling`.
      keep: rows of the sampler's table whose states and predictions are returned as well, or None.
      batch_size: over the devices of this process; default `sampling.batch_size`.

    Attributes:
      sampler: samplers.Sampler in float32.
      times: [K] of the sampler's calls; None where they are chosen on the way.
      nfe: network calls a sample; where they are chosen on the way, None until `draw` has their mean.
    """

    def __init__(self, setup, config, keep=None, batch_size=None):
        sampler = samplers.create(config, setup.sde, setup.data_range, setup.files)
        self.sampler, self._key = sampler.astype(np.float32), setup.key("sample")
        self.times, self.nfe = sampler.times, sampler.nfe

        def draw(constants, index):
            params, sampler, key = constants
            keys = example_keys(key, index)
            drawn = sampler.draw(keys, setup.sde, setup.denoiser.bind(params), setup.shape, keep)
            if keep is None:
                return drawn
            examples_first = (jnp.moveaxis(a, 0, 1) for a in (drawn.trajectory, drawn.predictions))
            return samplers.Samples(drawn.x, drawn.nfe, *examples_first)

        self._map = BatchMap(draw, batch_size or config.batch_size)
        self.batch_size = self._map.batch_size

    def numbered(self, params, numbers):
        """Samples of these numbers: NumPy arrays in Samples; with `keep`, trajectory [count, M, ...].

        Raises:
          UserError: samples that are not finite.
        """
        constants = (params, self.sampler, self._key)
        drawn = self._map(constants, np.asarray(numbers, np.uint32))
        if not np.isfinite(drawn.x).all():
            raise UserError(
                "The samples are not finite. Train longer, or use more sampling.steps, a lower "
                "sampling.predictor.order, or sampling.threshold=data_range."
            )
        return drawn

    def draw(self, params, count, progress=None):
        """Samples 0..count-1 [count, ...] in the model's range."""
        parts = []
        for start in range(0, count, self.batch_size):
            parts.append(self.numbered(params, range(start, min(start + self.batch_size, count))))
            if progress is not None:
                progress.update(len(parts[-1].x))
        if self.nfe is None:
            self.nfe = float(np.concatenate([part.nfe for part in parts]).mean())
        return np.concatenate([part.x for part in parts])
