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
from training.provenance import collect
from training.workdir import prepare_workdir

TRAJECTORIES = 8
PLANAR_TRAJECTORIES = 500
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
        self.times = sampler.table.times
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
        """Samples 0..count-1 [count, ...] in the model's range; with `keep`, [count, M, ...]."""
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
    so that no data set is needed to sample. A mixture needs no checkpoint: it is the parameters.

    Returns:
      (Experiment, parameters, record of the checkpoint).

    Raises:
      UserError: no checkpoint, or one of another config.
    """
    if config.mixture.name:
        setup = experiment.create(config)
        return setup, setup.denoiser.init(), {"step": 0, "provenance": collect()}
    checkpoints = Checkpoints(workdir, config, read_only=True)
    checkpoints.resolve_data(config.data)
    validation.require(config)
    setup = experiment.create(config)
    params, record = checkpoints.restore_ema(setup.state_template())
    checkpoints.close()
    return setup, params, record


def run(config, workdir):
    """--mode=sample: writes samples.npz, samples.png and trajectory.png into the workdir.

    samples.npz holds `images` as uint8 where the data has pixels, and `x` as floats where it
    is a mixture.
    """
    workdir = Path(workdir)
    setup, params, record = load(config, workdir)
    prepare_workdir(workdir)
    drawer = Drawer(setup, config.sampling)
    count = config.sampling.num_samples
    origin = f"step {record['step']}" if setup.mixture is None else f"the exact {config.mixture.name}"
    say(f"drawing {count} samples from {origin}, NFE {drawer.nfe}")
    progress = Progress(count, "sample", "sample")
    x = drawer.draw(params, count, progress)
    progress.close()

    devices = jax.local_device_count()
    keep = np.linspace(0, drawer.rows - 1, TRAJECTORY_STATES - 1).round().astype(int)
    keep = tuple(sorted(set(keep.tolist())))
    chains = min(TRAJECTORIES if setup.transform else PLANAR_TRAJECTORIES, count)
    tracer = Drawer(setup, config.sampling, keep, batch_size=-(-chains // devices) * devices)
    states = tracer.draw(params, chains)

    arrays = {"x": x} if setup.mixture is not None else {}
    if setup.transform:
        arrays["images"] = setup.transform.to_pixels(x)
        _pictures(workdir, setup, arrays["images"], states)
    elif setup.shape == (2,):
        exact = np.asarray(setup.mixture.sample(setup.key("picture"), count))
        figures.scatter_figure(workdir / "samples.png", {"samples": x, "exact": exact})
        titles = [f"t = {drawer.times[row]:.2g}" for row in keep] + ["final"]
        panels = dict(zip(titles, np.moveaxis(states, 1, 0), strict=True))
        figures.scatter_figure(workdir / "trajectory.png", panels)
    np.savez_compressed(workdir / "samples.npz", **arrays, step=record["step"], nfe=drawer.nfe)
    written = ", ".join(
        name for name in ("samples.npz", "samples.png", "trajectory.png") if (workdir / name).exists()
    )
    say(f"wrote {written} to {workdir}")


def _pictures(workdir, setup, pixels, states):
    """The grid of samples, and the states [chains, M, H, W, C] on the way to some of them."""
    transform = setup.transform
    figures.save_picture(workdir / "samples.png", figures.grid(pixels, transform.levels))
    # On VE the noise is far outside the range of the data: such states are shown in their own.
    middle = 0.0 if transform.centered else 0.5
    spread = (states - middle).std(axis=(2, 3, 4), keepdims=True) / (1 - middle)
    visible = middle + (states - middle) / np.maximum(spread, 1)
    chain_pixels = transform.to_pixels(visible).reshape(-1, *setup.shape)
    picture = figures.grid(chain_pixels, transform.levels, states.shape[1])
    figures.save_picture(workdir / "trajectory.png", picture)
