"""Drawing samples from a trained network."""

import json
import os
import shutil
import zipfile
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import experiment
import figures
import samplers
import trajectory
import validation
import variance
from creation import UserError
from samplers import fitted, pilot
from training import head, parallel
from training.checkpoints import Checkpoints, checksum
from training.logging import Progress, say
from training.provenance import collect
from training.workdir import prepare_workdir

TRAJECTORIES = 8
PLANAR_TRAJECTORIES = 500
TRAJECTORY_STATES = 9
LARGEST_GRID = 400


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
        sampler = samplers.create(config, setup.sde, experiment.data_range(setup))
        self.sampler, self._key = sampler.astype(np.float32), setup.key("sample")
        self.times, self.nfe = sampler.method.times, sampler.nfe

        def draw(constants, index):
            params, sampler, key = constants
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
            drawn = sampler.draw(keys, setup.sde, setup.denoiser.bind(params), setup.shape, keep)
            if keep is None:
                return drawn
            examples_first = (jnp.moveaxis(a, 0, 1) for a in (drawn.trajectory, drawn.predictions))
            return samplers.Samples(drawn.x, drawn.nfe, *examples_first)

        self._map = parallel.BatchMap(draw, batch_size or config.batch_size)
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
                "sampling.order, or sampling.threshold=data_range."
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


class Parts:
    """Samples of a run that may be killed: one file a batch, in a folder that all processes share.

    Args:
      folder: made if it is not there.
      identity: JSON-able description of what is drawn; parts of anything else are dropped.
    """

    def __init__(self, folder, identity):
        self._folder = Path(folder)
        marker, text = self._folder / "identity.json", json.dumps(identity, sort_keys=True, default=str)
        if jax.process_index() == 0:
            if not marker.exists() or marker.read_text() != text:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder.mkdir(parents=True)
                marker.write_text(text)
            for unfinished in self._folder.glob("*.tmp"):
                unfinished.unlink()
        parallel.wait_for_all("samples folder")

    def _path(self, numbers):
        return self._folder / f"{numbers.start:09d}-{numbers.stop:09d}.npz"

    def has(self, numbers):
        """Whether the samples of that range of numbers were drawn."""
        return self._path(numbers).exists()

    def save(self, numbers, **arrays):
        """Writes the samples of that range, in one piece or not at all."""
        temporary = self._path(numbers).with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, self._path(numbers))

    def merged(self, ranges):
        """All arrays, in the order of their numbers.

        Raises:
          UserError: a part cannot be read; it is removed, so that the same command draws it again.
        """
        loaded = []
        for numbers in ranges:
            try:
                with np.load(self._path(numbers)) as part:
                    loaded.append(dict(part))
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                self._path(numbers).unlink(missing_ok=True)
                raise UserError(
                    f"{self._path(numbers)} cannot be read ({error}) and was removed. Run the same command "
                    "again: it draws these samples anew."
                ) from error
        return {name: np.concatenate([part[name] for part in loaded]) for name in loaded[0]}

    def remove(self):
        """Deletes the folder."""
        shutil.rmtree(self._folder)


def load(config, workdir, field=None):
    """The experiment of a workdir and the averaged parameters of its newest good checkpoint.

    What the data source alone knows (side, channels, levels) comes from the checkpoint,
    so that no data set is needed to sample. A mixture needs no checkpoint: it is the parameters.

    Args:
      field: the config field that names the workdir, where it is not --workdir; for messages.

    Returns:
      (Experiment, parameters, record of the checkpoint).

    Raises:
      UserError: no checkpoint, or one of another config.
    """
    if config.mixture.name:
        setup = experiment.create(config)
        return setup, setup.denoiser.init(), {"step": 0, "provenance": collect()}
    checkpoints = Checkpoints(workdir, config, read_only=True, field=field)
    checkpoints.resolve_data(config.data)
    validation.require(config)
    setup = experiment.create(config)
    params, record = checkpoints.restore_ema(setup.state_template())
    checkpoints.close()
    return setup, params, record


def run(config, workdir):
    """--mode=sample: writes samples.npz, samples.png, trajectory.npz and trajectory.png into the workdir.

    samples.npz holds `images` as uint8 where the data has pixels, and `x` as floats where it
    is a mixture; trajectory.npz the `states` and `predictions` of E[x_0] at some `times` of some samples.
    Batches that a killed run finished are not drawn again.
    """
    workdir = Path(workdir)
    setup, params, record = load(config, workdir)
    prepare_workdir(workdir)
    drawer = Drawer(setup, config.sampling)
    warn_of_other_parameters(config, params)
    parts = Parts(workdir / "samples.parts", _identity(setup, params, record, config, drawer))
    arrays = _draw_in_parts(parts, setup, drawer, params, record, config)
    if jax.process_index() != 0:
        return
    written = ["samples.npz"]
    if setup.transform:
        picture = figures.grid(arrays["images"][:LARGEST_GRID], setup.transform.levels)
        figures.save_picture(workdir / "samples.png", picture)
        written.append("samples.png")
    elif setup.shape == (2,):
        exact = np.asarray(setup.mixture.sample(setup.key("picture"), len(arrays["x"])))
        figures.scatter_figure(workdir / "samples.png", {"samples": arrays["x"], "exact": exact})
        written.append("samples.png")
    for stale in workdir.glob("trajectory.*"):
        stale.unlink()
    if drawer.times is not None:
        written += _trajectories(setup, params, config, workdir, len(drawer.times))
    np.savez_compressed(workdir / "samples.npz", **arrays, step=record["step"])
    parts.remove()
    say(f"wrote {', '.join(written)} to {workdir}")


def _identity(setup, params, record, config, drawer):
    """What must agree for the samples of a killed run to be part of this one."""
    described = {name: config[name].to_dict() for name in ("sampling", "sde", "mixture", "denoiser")}
    described["sampling"].pop("num_samples")
    numbers = {"parameters": checksum(params), "sampler": checksum(drawer.sampler)}
    return {**described, "seed": config.seed, "step": record["step"], **numbers}


def warn_of_other_parameters(config, params):
    """Says where a fitted solver or grid belongs to another model than the one that is sampled."""
    readers = {
        "file": ("calibrate", lambda path: fitted.load(path)[-1]),
        "grid_file": (
            ("trajectory", lambda path: trajectory.load(path).about)
            if config.sampling.grid == "optimal"
            else ("calibrate", lambda path: pilot.load(path)[-1])
        ),
        "variance_file": ("variance", lambda path: variance.load(path).about),
    }
    files = {field: config.sampling[field] for field in readers if config.sampling[field] is not None}
    # A head that is trained alone leaves the network below it as it was.
    known = {None, checksum(params), checksum(head.below(params))} if files else {None}
    for field, path in files.items():
        mode, about_of = readers[field]
        about = about_of(path)
        if about.get("parameters") not in known:
            say(
                f"warning: sampling.{field}={path} was fitted to other parameters, of step "
                f"{about.get('step')}; --mode={mode} fits to these"
            )
        if mode == "trajectory" and about["variance"] != config.sampling.variance:
            say(
                f"note: the levels of {path} are the best for the variance {about['variance']}, and "
                f"sampling.variance={config.sampling.variance}"
            )


def _draw_in_parts(parts, setup, drawer, params, record, config):
    """The merged arrays of all samples; each process draws every n-th batch, on its own devices."""
    count, size = config.sampling.num_samples, drawer.batch_size
    ranges = [range(start, min(start + size, count)) for start in range(0, count, size)]
    mine = ranges[jax.process_index() :: jax.process_count()]
    todo = [numbers for numbers in mine if not parts.has(numbers)]
    done = sum(map(len, mine)) - sum(map(len, todo))
    origin = f"step {record['step']}" if setup.mixture is None else f"the exact {config.mixture.name}"
    cost = "steps chosen on the way" if drawer.nfe is None else f"NFE {drawer.nfe}"
    say(f"drawing {count} samples from {origin}, {cost}" + (f"; {done} were drawn before" if done else ""))
    progress = Progress(sum(map(len, mine)), "sample", "sample", initial=done)
    for numbers in todo:
        drawn = drawer.numbered(params, numbers)
        arrays = {"x": drawn.x} if setup.mixture is not None else {}
        if setup.transform:
            arrays["images"] = setup.transform.to_pixels(drawn.x)
        parts.save(numbers, **arrays, nfe=drawn.nfe)
        progress.update(len(numbers))
    progress.close()
    parallel.wait_for_all("samples")
    return parts.merged(ranges) if jax.process_index() == 0 else None


def _trajectories(setup, params, config, workdir, rows):
    """Writes trajectory.npz and trajectory.png; returns what was written."""
    keep = np.linspace(0, rows - 1, TRAJECTORY_STATES - 1).round().astype(int)
    keep = tuple(sorted(set(keep.tolist())))
    chains = TRAJECTORIES if setup.transform else PLANAR_TRAJECTORIES
    chains = min(chains, config.sampling.num_samples)
    devices = jax.local_device_count()
    tracer = Drawer(setup, config.sampling, keep, batch_size=-(-chains // devices) * devices)
    drawn = tracer.numbered(params, range(chains))
    times = tracer.times[list(keep)]
    np.savez_compressed(
        workdir / "trajectory.npz", times=times, states=drawn.trajectory, predictions=drawn.predictions
    )
    if setup.transform:
        _trajectory_picture(workdir, setup, drawn.trajectory)
    elif setup.shape == (2,):
        titles = [f"t = {t:.2g}" for t in times] + ["final"]
        panels = zip(titles, np.moveaxis(drawn.trajectory, 1, 0), strict=True)
        figures.scatter_figure(workdir / "trajectory.png", list(panels))
    else:
        return ["trajectory.npz"]
    return ["trajectory.npz", "trajectory.png"]


def _trajectory_picture(workdir, setup, states):
    """The states [chains, M, H, W, C] on the way to some samples."""
    transform = setup.transform
    # On VE the noise is far outside the range of the data: such states are shown in their own.
    middle = 0.0 if transform.centered else 0.5
    spread = (states - middle).std(axis=(2, 3, 4), keepdims=True) / (1 - middle)
    visible = middle + (states - middle) / np.maximum(spread, 1)
    chain_pixels = transform.to_pixels(visible).reshape(-1, *setup.shape)
    picture = figures.grid(chain_pixels, transform.levels, states.shape[1])
    figures.save_picture(workdir / "trajectory.png", picture)
