"""Drawing samples from a trained network."""

import jax
import numpy as np

from experiment.create import data_range
from experiment.draw import NumberedSamples
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


def refusals(config):
    """Lines about `sampling.png`."""
    if config.sampling.png and data_range(config) is None:
        yield f"sampling.png=True is for images, and mixture.name={config.mixture.name} has none."


def run(config, workdir, output=None):
    """--mode=sample: writes samples.npz, samples.png, trajectory.npz and trajectory.png.

    samples.npz holds `images` as uint8 where the data has pixels, with the number of their `pixel_values`,
    their `label` where the data has labels, and `arr_0`, the same images as RGB in 0..255, which programs
    that compute an FID read; `x` as floats where the data is a mixture. With `sampling.png` the folder
    samples/ holds a PNG of each, in 0..255. trajectory.npz holds the `states` and `predictions` of E[x_0] at
    some `times` of some samples.
    Batches that a killed run finished are not drawn again.

    Args:
      output: folder of the results; default the workdir.
    """
    loaded = load(workdir, config, MODES["sample"].reads)
    experiment, params, checkpoint = loaded.experiment, loaded.params, loaded.checkpoint
    results = Results(workdir, output)
    samples = NumberedSamples(experiment, config.sampling)
    warn_of_other_parameters(loaded)
    # Samples are large: each batch is a part, written once.
    identity = _identity(experiment, params, checkpoint, config, samples)
    partial = Partial(results.folder / "samples", identity, seconds=0.0)
    _draw(partial, experiment, samples, params, checkpoint, config)
    # One process alone has all samples in its memory.
    if results.writes:
        _write(partial, experiment, params, checkpoint, config, samples, results)
    partial.finish()
    results.say_written()


def _identity(experiment, params, checkpoint, config, samples):
    """What must agree for the samples of a killed run to be part of this one."""
    described = {name: config[name].to_dict() for name in ("sampling", "sde", "mixture", "denoiser")}
    for field in ("num_samples", "png"):
        described["sampling"].pop(field)
    numbers = {"parameters": checksum(params), "sampler": checksum(samples.sampler)}
    return {**described, "seed": config.seed, "step": checkpoint["step"], **numbers}


def _draw(partial, experiment, samples, params, checkpoint, config):
    """Draws this process's share of the samples that are missing; waits for the other processes."""

    def draw(numbers):
        drawn = samples.numbered(params, numbers)
        arrays = {"x": drawn.x} if experiment.mixture is not None else {}
        if experiment.transform:
            arrays["images"] = experiment.transform.to_pixels(drawn.x)
        labels = samples.labels(numbers)
        if labels is not None:
            arrays["label"] = labels
        return {**arrays, "nfe": drawn.nfe}

    count = config.sampling.num_samples
    origin = (
        f"step {checkpoint['step']}" if experiment.mixture is None else f"the exact {config.mixture.name}"
    )
    cost = "steps chosen on the way" if samples.nfe is None else f"NFE {samples.nfe}"
    say(f"drawing {count} samples from {origin}, {cost}")
    samples.say_bias()
    partial.fill(count, samples.batch_size, draw, "sample", "sample", "were drawn")


def _write(partial, experiment, params, checkpoint, config, samples, results):
    arrays = partial.merged(config.sampling.num_samples)
    if experiment.transform:
        pixel_values = experiment.transform.pixel_values
        arrays |= {"pixel_values": pixel_values, "arr_0": pictures.rgb(arrays["images"], pixel_values)}
    results.arrays("samples.npz", **arrays, step=checkpoint["step"])
    if experiment.transform:
        if config.sampling.png:
            results.write_folder("samples", ".png", pictures.save_samples, arrays["images"], pixel_values)
        elif (results.folder / "samples").exists():
            say(f"note: the pictures in {results.folder / 'samples'} are of earlier samples, not of these")
        labels = arrays["label"][:LARGEST_GRID] if "label" in arrays else None
        picture = pictures.samples(arrays["images"][:LARGEST_GRID], experiment.transform.pixel_values, labels)
        results.write("samples.png", pictures.save_picture, picture)
    elif experiment.shape == (2,):
        exact = np.asarray(experiment.mixture.sample(experiment.key("picture"), len(arrays["x"])))
        results.write("samples.png", figures.scatter_figure, {"samples": arrays["x"], "exact": exact})
    if samples.times is not None:
        _write_trajectories(experiment, params, config, len(samples.times), results)
    # Once all is written: a full disk costs nobody the pictures of an earlier run.
    results.remove_others("samples.png", "trajectory.npz", "trajectory.png")


def _write_trajectories(experiment, params, config, rows, results):
    keep = np.linspace(0, rows - 1, TRAJECTORY_STATES - 1).round().astype(int)
    keep = tuple(sorted(set(keep.tolist())))
    chains = TRAJECTORIES if experiment.transform else PLANAR_TRAJECTORIES
    chains = min(chains, config.sampling.num_samples)
    devices = jax.local_device_count()
    tracer = NumberedSamples(experiment, config.sampling, keep, batch_size=-(-chains // devices) * devices)
    drawn = tracer.numbered(params, range(chains))
    times = tracer.times[list(keep)]
    results.arrays("trajectory.npz", times=times, states=drawn.trajectory, predictions=drawn.predictions)
    if experiment.transform:
        picture = _trajectory_picture(experiment, drawn.trajectory)
        results.write("trajectory.png", pictures.save_picture, picture)
    elif experiment.shape == (2,):
        titles = [f"t = {t:.2g}" for t in times] + ["final"]
        panels = zip(titles, np.moveaxis(drawn.trajectory, 1, 0), strict=True)
        results.write("trajectory.png", figures.scatter_figure, list(panels))


def _trajectory_picture(experiment, states):
    """The states [chains, M, H, W, C] on the way to some samples."""
    transform = experiment.transform
    # On VE the noise is far outside the range of the data: such states are shown in their own.
    middle = 0.0 if transform.centered else 0.5
    spread = (states - middle).std(axis=(2, 3, 4), keepdims=True) / (1 - middle)
    visible = middle + (states - middle) / np.maximum(spread, 1)
    chain_pixels = transform.to_pixels(visible).reshape(-1, *experiment.shape)
    return pictures.grid(chain_pixels, transform.pixel_values, states.shape[1])
