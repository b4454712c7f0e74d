"""Drawing samples from a trained network."""

import jax
import numpy as np

from experiment.draw import Drawer
from experiment.load import load, warn_of_other_parameters
from modes import MODES
from reports import figures, pictures
from workdir.files import checksum
from workdir.partial import Partial
from workdir.records import say
from workdir.results import Results

TRAJECTORIES = 8
PLANAR_TRAJECTORIES = 500
TRAJECTORY_STATES = 9
LARGEST_GRID = 400


def run(config, workdir, output=None):
    """--mode=sample: writes samples.npz, samples.png, trajectory.npz and trajectory.png.

    samples.npz holds `images` as uint8 where the data has pixels, with their `label` where it has labels, and
    `x` as floats where it is a mixture; trajectory.npz the `states` and `predictions` of E[x_0] at some
    `times` of some samples.
    Batches that a killed run finished are not drawn again.

    Args:
      output: folder of the results; default the workdir.
    """
    setup, params, record = load(config, workdir, MODES["sample"].reads)
    results = Results(workdir, output)
    drawer = Drawer(setup, config.sampling)
    warn_of_other_parameters(config, setup, params)
    # Samples are large: each batch is a part, written once.
    identity = _identity(setup, params, record, config, drawer)
    partial = Partial(results.folder / "samples", identity, seconds=0.0)
    _draw(partial, setup, drawer, params, record, config)
    # One process alone has all samples in its memory.
    if results.writes:
        _write(partial, setup, params, record, config, drawer, results)
    partial.finish()
    results.say_written()


def _identity(setup, params, record, config, drawer):
    """What must agree for the samples of a killed run to be part of this one."""
    described = {name: config[name].to_dict() for name in ("sampling", "sde", "mixture", "denoiser")}
    described["sampling"].pop("num_samples")
    numbers = {"parameters": checksum(params), "sampler": checksum(drawer.sampler)}
    return {**described, "seed": config.seed, "step": record["step"], **numbers}


def _draw(partial, setup, drawer, params, record, config):
    """Draws this process's share of the samples that are missing; waits for the other processes."""

    def draw(numbers):
        drawn = drawer.numbered(params, numbers)
        arrays = {"x": drawn.x} if setup.mixture is not None else {}
        if setup.transform:
            arrays["images"] = setup.transform.to_pixels(drawn.x)
        labels = drawer.labels(numbers)
        if labels is not None:
            arrays["label"] = labels
        return {**arrays, "nfe": drawn.nfe}

    count = config.sampling.num_samples
    origin = f"step {record['step']}" if setup.mixture is None else f"the exact {config.mixture.name}"
    cost = "steps chosen on the way" if drawer.nfe is None else f"NFE {drawer.nfe}"
    say(f"drawing {count} samples from {origin}, {cost}")
    partial.fill(count, drawer.batch_size, draw, "sample", "sample", "were drawn")


def _write(partial, setup, params, record, config, drawer, results):
    arrays = partial.merged(config.sampling.num_samples)
    if setup.transform:
        labels = arrays["label"][:LARGEST_GRID] if "label" in arrays else None
        picture = pictures.samples(arrays["images"][:LARGEST_GRID], setup.transform.levels, labels)
        results.write("samples.png", pictures.save_picture, picture)
    elif setup.shape == (2,):
        exact = np.asarray(setup.mixture.sample(setup.key("picture"), len(arrays["x"])))
        results.write("samples.png", figures.scatter_figure, {"samples": arrays["x"], "exact": exact})
    results.remove("trajectory.npz", "trajectory.png")
    if drawer.times is not None:
        _write_trajectories(setup, params, config, len(drawer.times), results)
    results.arrays("samples.npz", **arrays, step=record["step"])


def _write_trajectories(setup, params, config, rows, results):
    keep = np.linspace(0, rows - 1, TRAJECTORY_STATES - 1).round().astype(int)
    keep = tuple(sorted(set(keep.tolist())))
    chains = TRAJECTORIES if setup.transform else PLANAR_TRAJECTORIES
    chains = min(chains, config.sampling.num_samples)
    devices = jax.local_device_count()
    tracer = Drawer(setup, config.sampling, keep, batch_size=-(-chains // devices) * devices)
    drawn = tracer.numbered(params, range(chains))
    times = tracer.times[list(keep)]
    results.arrays("trajectory.npz", times=times, states=drawn.trajectory, predictions=drawn.predictions)
    if setup.transform:
        picture = _trajectory_picture(setup, drawn.trajectory)
        results.write("trajectory.png", pictures.save_picture, picture)
    elif setup.shape == (2,):
        titles = [f"t = {t:.2g}" for t in times] + ["final"]
        panels = zip(titles, np.moveaxis(drawn.trajectory, 1, 0), strict=True)
        results.write("trajectory.png", figures.scatter_figure, list(panels))


def _trajectory_picture(setup, states):
    """The states [chains, M, H, W, C] on the way to some samples."""
    transform = setup.transform
    # On VE the noise is far outside the range of the data: such states are shown in their own.
    middle = 0.0 if transform.centered else 0.5
    spread = (states - middle).std(axis=(2, 3, 4), keepdims=True) / (1 - middle)
    visible = middle + (states - middle) / np.maximum(spread, 1)
    chain_pixels = transform.to_pixels(visible).reshape(-1, *setup.shape)
    return pictures.grid(chain_pixels, transform.levels, states.shape[1])
