"""Latent codes of held-out data: written, decoded again, interpolated and scaled."""

import numpy as np

from components import choose, positive
from evaluation.flow import refused_tolerance
from evaluation.held_out import subset
from experiment.load import load
from experiment.run_data import data_of
from likelihood import encoding
from modes import MODES
from parallel import devices
from parallel.batches import BatchMap, one_by_one
from reports import figures, pictures
from sde_lib.probability_flow import SOLVERS
from workdir.records import Progress, say
from workdir.results import Results


def _examples(run):
    """What is encoded: pixels at the centres of their bins, or samples of a mixture.

    Returns:
      (x [N, ...] float32, label [N] or None).
    """
    experiment, count = run.experiment, run.config.encoding.num_images
    if experiment.mixture is not None:
        return np.asarray(experiment.mixture.sample(experiment.key("held-out"), count)), None
    examples = subset(data_of(run, held=False).test, count)
    return np.asarray(experiment.transform.to_model(examples["image"])), examples.get("label")


def _solver(experiment, params, config, direction, name):
    """The function (x [N, ...], label [N] or None) -> (result [N, ...], NFE [N]), over all devices."""
    tolerance, solver = config.encoding.tolerance, config.encoding.solver

    def follow(params, examples):
        def of_one(x, label):
            followed = direction(
                experiment.sde, experiment.denoise("encoder", params, label), x, tolerance, solver
            )
            return followed.x, followed.nfe, followed.failed

        return one_by_one(of_one)(examples["x"], examples.get("label"))

    mapped = BatchMap(follow, config.encoding.batch_size)

    def run(x, label):
        examples = {"x": np.asarray(x)} if label is None else {"x": np.asarray(x), "label": label}
        progress, parts = Progress(len(x), "solve", name), []
        for part in mapped.batches(params, examples):
            parts.append(part)
            progress.update(len(part[0]))
        progress.close()
        result, nfe, failed = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        if failed.any():
            say(
                f"warning: {name}: {failed.sum()} of {len(x)} solves ran out of steps; "
                f"encoding.tolerance={tolerance} may be too small for float32."
            )
        return result, nfe

    return run


def refusals(config):
    """Lines about the subtree `encoding`."""
    settings, temperatures = config.encoding, config.encoding.temperatures
    yield from positive(settings, "encoding", "num_images", "interpolations")
    yield from refused_tolerance(settings.tolerance, "encoding.tolerance")
    yield from devices.uneven("encoding.batch_size", settings.batch_size)
    if not temperatures or not all(isinstance(t, int | float) and t > 0 for t in temperatures):
        yield f"encoding.temperatures={temperatures} must be positive numbers."
    choose(SOLVERS, settings.solver, "encoding.solver")


def run(config, workdir, output=None):
    """--mode=encode: writes encoding.npz, encoding.json and encoding.png.

    The rows of the picture: data, its reconstruction from the codes, interpolations between the
    first and each next code, and the first code at several temperatures (Song et al. 2021, appendix D.5).

    Args:
      output: folder of the results; default the workdir.
    """
    settings = config.encoding
    loaded = load(workdir, config, MODES["encode"].reads)
    experiment, params, checkpoint = loaded.experiment, loaded.params, loaded.checkpoint
    results = Results(workdir, output)
    x, label = _examples(loaded)
    say(f"encoding {len(x)} examples")
    codes, nfe = _solver(experiment, params, config, encoding.encode, "encode")(x, label)

    weights = np.linspace(0, 1, settings.interpolations + 2)
    between = (
        np.stack([encoding.interpolate(codes[0], code, weights) for code in codes[1:]])
        if len(x) > 1
        else codes[:0]
    )
    scaled = np.stack([encoding.scale_temperature(codes[0], t) for t in settings.temperatures])
    decode = _solver(experiment, params, config, encoding.decode, "decode")
    wanted = np.concatenate([codes, between.reshape(-1, *experiment.shape), scaled])
    decoded, _ = decode(wanted, _labels_of(label, weights, len(scaled)))
    first, second = len(codes), len(wanted) - len(scaled)
    reconstructed, temperatures = decoded[:first], decoded[second:]
    interpolated = decoded[first:second].reshape(-1, len(weights), *experiment.shape)

    error = np.abs(reconstructed - x).reshape(len(x), -1)
    dimension = x[0].size
    report = {
        "step": checkpoint["step"],
        "largest_reconstruction_error": float(error.max()),
        "mean_reconstruction_error": float(error.mean()),
        # 1 for codes that look like the prior.
        "code_norm_over_prior": (
            np.linalg.norm(codes.reshape(len(x), -1), axis=1)
            / (experiment.sde.prior_std * np.sqrt(dimension))
        ),
        "nfe": float(nfe.mean()),
        "tolerance": settings.tolerance,
        "temperatures": settings.temperatures,
    }
    results.json("encoding.json", report)
    labels = {} if label is None else {"label": label}
    results.arrays(
        "encoding.npz",
        **labels,
        x=x,
        codes=codes,
        reconstructed=reconstructed,
        interpolated=interpolated,
        temperatures=temperatures,
    )
    if experiment.transform:
        rows = [
            experiment.transform.to_pixels(row) for row in (x, reconstructed, *interpolated, temperatures)
        ]
        picture = pictures.rows(rows, experiment.transform.pixel_values)
        results.write("encoding.png", pictures.save_picture, picture)
    elif experiment.shape == (2,):
        panels = {"data": x, "codes": codes, "decoded": reconstructed}
        if len(x) > 1:
            panels["between"] = interpolated.reshape(-1, 2)
        results.write("encoding.png", figures.scatter_figure, panels)
    results.print(
        f"reconstruction error: largest {report['largest_reconstruction_error']:.2e}, "
        f"mean {report['mean_reconstruction_error']:.2e}; NFE {report['nfe']:.0f}"
    )
    results.say_written()


def _labels_of(label, weights, temperatures):
    """Labels of what is decoded: between two examples that of the nearer, at a temperature the first's."""
    if label is None:
        return None
    nearer = np.where(weights < 0.5, label[0], label[1:, None])
    return np.concatenate([label, nearer.reshape(-1), np.full(temperatures, label[0])])
