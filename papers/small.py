"""A published experiment at a small scale: the same process, network, loss and sampler, of tiny images.

What stays: the process, the parametrization, the loss and its noise levels, the class of the network and how
its blocks are made, the sampler with its number of steps. What changes: the data; the network's size (its
first levels, a quarter of its blocks); the duration, batch, learning rate and average of training; the
largest noise of a VE process, which is that of the data (Song & Ermon 2020, technique 1); and, where the
table says so, the numbers of levels and of steps.
"""

import math

import numpy as np

import data
from components import ConfigError, UserError, local_path
from configs import base
from evaluation.held_out import subset
from experiment.run_data import open_splits
from modes.inspect import largest_distance
from papers import settings

# Images between which the largest distance is taken.
_IMAGES = 500
_VE = ("ve", "smld")
# Halved until at most so many pixels are left at the coarsest level, with attention there.
_COARSEST = 4


def source_of(scale):
    """The data.source of --scale: digits, or npz:<path>.

    Raises:
      ConfigError: another one, or a file that is no such data.
    """
    kind, colon, path = scale.partition(":")
    if scale != "digits" and not (kind == "npz" and path):
        raise ConfigError(f"--scale={scale} is unknown. Known: digits, npz:<path>.")
    config = base.get_config()
    config.data.source = f"{kind}{colon}{local_path(path, '--scale')}"
    try:
        data.create(config.data, "train", decoded=False)
    except UserError as error:
        raise ConfigError(f"--scale={scale}: {error}") from None
    return config.data.source


class Small:
    """How experiments are made small.

    Args:
      source: data.source; table: the subtree `table` of the config: steps and width.
    """

    def __init__(self, source, table):
        self._source, self._table = source, table
        self._largest = {}

    def config(self, cell, shared=True):
        """The ConfigDict of a cell's training, with {network} as it is.

        Args:
          shared: with the table's overrides for a training that several rows share.
        """
        config = settings.published_config(cell)
        config = config.copy_and_resolve_references()
        self._of_data(config)
        if shared and cell.table.small:
            config = settings.overridden(config, cell.table.small)
        self._of_network(config.model, config.data.image_size)
        self._of_training(config)
        if cell.table.fewer > 1 and config.sde.noise_levels:
            config.sde.noise_levels //= cell.table.fewer
            config.loss.noise_levels = config.sde.noise_levels
        if config.sde.name in _VE:
            config.sde.sigma_max = self._distance(config)
        return config

    def _of_data(self, config):
        augmentation, centered = config.data.augmentation, config.data.centered
        config.data = base.get_config().data
        config.data.update({"source": self._source, "holdout": 0.2, "augmentation": augmentation})
        # Likelihoods of few pixel values are those of dequantized ones, as a network is trained for them.
        config.data.update({"centered": centered, "dequantize": True})
        data.resolve(config.data, data.create(config.data, "train", decoded=False))

    def _of_network(self, model, side):
        levels = max(2, 1 + math.ceil(math.log2(side / _COARSEST)))
        model.width = self._table.width
        model.multipliers = model.multipliers[:levels]
        model.attention = (-(-side // 2 ** (len(model.multipliers) - 1)),)
        if model.blocks is not None:
            model.blocks = max(1, model.blocks // 4)
        if model.dropout is not None:
            model.dropout = min(model.dropout, 0.1)
        model.dtype = "float32"

    def _of_training(self, config):
        steps = self._table.steps
        config.optim.update({"learning_rate": 1e-3, "warmup": min(100, steps // 10), "schedule": "cosine"})
        config.optim.update({"decay_steps": None, "grad_clip": 1.0})
        config.ema.update({"decays": (0.999,), "ramp": True, "half_life_images": None, "power_stds": ()})
        config.ema.snapshot_every = 0
        config.training.update({"steps": steps, "batch_size": 64, "accumulation": 1, "jitted_steps": 1})
        config.training.update({"log_every": 100, "eval_every": 0, "sample_every": 0})
        # It neither draws nor evaluates: each cell has its own sampler, which may not fit this process.
        config.sampling, config.eval = base.get_config().sampling, base.get_config().eval
        config.sampling.largest_bias = None
        config.checkpoint.update({"every": 500, "keep": 1, "keep_every": 0})

    def _distance(self, config):
        """The largest distance between images, in the model's range."""
        centered = config.data.centered
        if centered not in self._largest:
            images = subset(open_splits(config)["train"], _IMAGES)["image"]
            to_model = data.transform(config.data).to_model
            self._largest[centered] = largest_distance(np.asarray(images), to_model)
        return float(self._largest[centered])
