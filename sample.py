"""Drawing samples from a trained network."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import experiment
import figures
import samplers
import validation
from creation import UserError
from training import parallel
from training.checkpoints import Checkpoints
from training.logging import Progress, say
from training.workdir import prepare_workdir

TRAJECTORIES = 8
TRAJECTORY_STATES = 9


class Drawer:
    """Samples by number: sample k depends on the seed and k alone, whatever the batch or the devices.

    Args:
      setup: Experiment.
      config: the subtree `sampling`.
      keep: rows of the sampler's table whose states are returned as well, or None.
      batch_size: over all devices; default `sampling.batch_size`.
    """

    def __init__(self, setup, config, keep=None, batch_size=None):
        sampler = samplers.create(config, setup.sde)
        self._table = sampler.table.astype(np.float32)
        self._key = setup.key("sample")
        calls = sampler.corrector.calls if sampler.corrector else 0
        self.rows = sampler.table.rows
        self.nfe = self.rows * (1 + calls)

        def draw(constants, index):
            params, table, key = constants
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
            drawn = samplers.sample(
                keys, setup.sde, setup.denoiser.bind(params), setup.shape, table, sampler.corrector, keep
            )
            if keep is None:
                return drawn.x
            return jnp.moveaxis(drawn.trajectory, 0, 1)

        self._map = parallel.BatchMap(draw, batch_size or config.batch_size)

    def draw(self, params, count, progress=None):
        """Samples 0..count-1 [count, H, W, C] in the model's range; with `keep`, [count, M, H, W, C]."""
        parts = []
        constants = (params, self._table, self._key)
        for part in self._map.batches(constants, np.arange(count, dtype=np.uint32)):
            parts.append(part)
            if progress is not None:
                progress.update(len(part))
        samples = np.concatenate(parts)
        if not np.isfinite(samples).all():
            raise UserError(
                "The samples are not finite. Train longer, or try sampling.corrector=none or more "
                "sampling.steps."
            )
        return samples


def load(config, workdir):
    """The experiment of a workdir and the averaged parameters of its newest good checkpoint.

    What the data source alone knows (side, channels, levels) comes from the checkpoint,
    so that no data set is needed to sample.

    Raises:
      UserError: no checkpoint, or one of another config.
    """
    checkpoints = Checkpoints(workdir, config, read_only=True)
    checkpoints.resolve_data(config.data)
    validation.require(config)
    setup = experiment.create(config)
    params, record = checkpoints.restore_ema(setup.state_template())
    checkpoints.close()
    return setup, params, record


def run(config, workdir):
    """--mode=sample: writes samples.npz, samples.png and trajectory.png into the workdir."""
    workdir = Path(workdir)
    setup, params, record = load(config, workdir)
    prepare_workdir(workdir)
    drawer = Drawer(setup, config.sampling)
    count = config.sampling.num_samples
    say(f"sampling {count} images from step {record['step']}, NFE {drawer.nfe}")
    progress = Progress(count, "image", "sample")
    pixels = setup.transform.to_pixels(drawer.draw(params, count, progress))
    progress.close()
    np.savez_compressed(workdir / "samples.npz", images=pixels, step=record["step"], nfe=drawer.nfe)
    figures.save_picture(workdir / "samples.png", figures.grid(pixels, config.data.levels))

    devices = jax.local_device_count()
    keep = np.linspace(0, drawer.rows - 1, TRAJECTORY_STATES - 1).round().astype(int)
    keep = tuple(sorted(set(keep.tolist())))
    chains = min(TRAJECTORIES, count)
    tracer = Drawer(setup, config.sampling, keep, batch_size=-(-chains // devices) * devices)
    states = tracer.draw(params, chains)
    # On VE the noise is far outside the range of the data: such states are shown in their own.
    middle = 0.0 if config.data.centered else 0.5
    spread = (states - middle).std(axis=(2, 3, 4), keepdims=True) / (1 - middle)
    visible = middle + (states - middle) / np.maximum(spread, 1)
    chain_pixels = setup.transform.to_pixels(visible).reshape(-1, *setup.shape)
    figures.save_picture(
        workdir / "trajectory.png", figures.grid(chain_pixels, config.data.levels, states.shape[1])
    )
    say(f"wrote samples.png, samples.npz and trajectory.png to {workdir}")
