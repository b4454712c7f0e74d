"""Drawing samples from a trained network."""

from pathlib import Path

import jax
import numpy as np

from experiment.draw import Drawer
from experiment.load import load, warn_of_other_parameters
from parallel.processes import wait_for_all
from reports import figures, pictures
from workdir.checkpoints import checksum
from workdir.files import prepare_workdir
from workdir.partial import Parts
from workdir.records import Progress, say

TRAJECTORIES = 8


PLANAR_TRAJECTORIES = 500


TRAJECTORY_STATES = 9


LARGEST_GRID = 400


def run(config, workdir):
    """--mode=sample: writes samples.npz, samples.png, trajectory.npz and trajectory.png into the workdir.

    samples.npz holds `images` as uint8 where the data has pixels, with their `label` where it has labels, and
    `x` as floats where it is a mixture; trajectory.npz the `states` and `predictions` of E[x_0] at some
    `times` of some samples.
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
        labels = arrays["label"][:LARGEST_GRID] if "label" in arrays else None
        picture = pictures.samples(arrays["images"][:LARGEST_GRID], setup.transform.levels, labels)
        pictures.save_picture(workdir / "samples.png", picture)
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
        labels = drawer.labels(numbers)
        if labels is not None:
            arrays["label"] = labels
        parts.save(numbers, **arrays, nfe=drawn.nfe)
        progress.update(len(numbers))
    progress.close()
    wait_for_all("samples")
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
    picture = pictures.grid(chain_pixels, transform.levels, states.shape[1])
    pictures.save_picture(workdir / "trajectory.png", picture)
