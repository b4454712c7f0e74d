"""The evaluation loop: what a trained network is worth on held-out data.

Beside each figure stands the same figure for a Gaussian with full covariance fitted to
the training set, and for training images themselves where that makes sense.
"""

import functools
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import data
from components import positive
from denoisers.gaussian_mixture import GaussianMixture
from evaluation import bits_per_dim, bounds, mixture
from evaluation.bits_per_dim import bits, dequantized, network_bits_per_dim
from evaluation.bounds import network_bounds, sampled_levels
from evaluation.diagnostics import diagnose
from evaluation.held_out import HeldOut, HeldOutLoss, LeftOut, mean_and_error, subset
from experiment.create import resolved
from experiment.draw import NumberedSamples
from experiment.load import load, warn_of_other_parameters
from experiment.run_data import data_of
from modes import MODES
from parallel import devices
from reports import figures
from workdir.records import Progress, read_metrics, say
from workdir.results import Results

# A full covariance of more dimensions takes minutes to factor.
LARGEST_GAUSSIAN = 4096
GAUSSIAN_IMAGES = 20_000


def fit_gaussian(experiment, source):
    """The Gaussian of the dequantized training images, in the model's range.

    None where there are too many dimensions, or too few images for a covariance.
    """
    dimension = math.prod(experiment.shape)
    if dimension > LARGEST_GAUSSIAN or len(source) < 2 * dimension:
        say(f"no Gaussian is fitted: {len(source)} training images of {dimension} dimensions")
        return None
    images = subset(source, max(GAUSSIAN_IMAGES, 2 * dimension))["image"]
    spacing = (2.0 if experiment.transform.centered else 1.0) / experiment.transform.pixel_values
    return GaussianMixture.fit(
        np.asarray(experiment.transform.to_model(images)), noise_variance=spacing**2 / 12
    )


def refusals(config):
    """Lines about the subtree `eval`."""
    settings = config.eval
    yield from devices.uneven("eval.batch_size", settings.batch_size)
    yield from positive(settings, "eval", "loss_levels")
    yield from positive(settings.two_sample, "eval.two_sample", "neighbours")
    for path, count in (
        ("eval.max_images", settings.max_images),
        ("eval.two_sample.num_samples", settings.two_sample.num_samples),
        ("eval.diagnostics.images", settings.diagnostics.images),
    ):
        if count < 2:
            yield f"{path}={count} must be at least 2."
    yield from bits_per_dim.refusals(config)
    yield from bounds.refusals(config)


def run(config, workdir, output=None):
    """--mode=eval: writes metrics.json, evaluation.png and, of a network, loss.png.

    With `eval.diagnostics` also diagnostics.json and diagnostics.png. A mixture, whose
    denoiser is exact, is measured by evaluation/mixture.py.

    Args:
      output: folder of the results; default the workdir.
    """
    loaded = load(workdir, config, MODES["eval"].reads)
    experiment = loaded.experiment
    samples = NumberedSamples(experiment, config.sampling)
    levels = sampled_levels(config, samples)
    warn_of_other_parameters(loaded)
    samples.say_bias()
    results = Results(workdir, output)
    if experiment.mixture is not None:
        _evaluate_mixture(config, experiment, samples, results)
    else:
        _evaluate_network(loaded, Path(workdir), samples, levels, results)
    results.say_written()


def _diagnose(config, experiment, params, held_out, results):
    if not config.eval.diagnostics.compute:
        return
    measured = diagnose(experiment, params, held_out, config)
    results.json("diagnostics.json", measured)
    results.write("diagnostics.png", figures.diagnostics_figure, measured)


def _evaluate_mixture(config, experiment, samples, results):
    held_out = mixture.held_out_samples(experiment, config.eval.max_images)
    measured = mixture.evaluate(experiment, held_out, samples, config, results.folder)
    _diagnose(config, experiment, experiment.mixture, held_out, results)
    results.json("metrics.json", measured)
    results.write("evaluation.png", figures.testbed_figure, measured)
    _report_mixture(measured, results)


def _evaluate_network(loaded, workdir, samples, levels, results):
    experiment, params, checkpoint = loaded.experiment, loaded.params, loaded.checkpoint
    config, settings = loaded.config, loaded.config.eval
    found = data_of(loaded)
    train_source, examples = found.train, subset(found.test, settings.max_images)
    unused = data.unused_values(config.data, train_source)
    if unused:
        say(f"warning: {unused}")
    held_out = examples["image"]
    say(f"evaluating step {checkpoint['step']} on {len(held_out)} held-out images")
    gaussian = fit_gaussian(experiment, train_source)
    model, baseline, copies, left_out = {}, {}, {}, LeftOut()

    scaled = HeldOut.from_experiment(experiment, examples)
    by_level = HeldOutLoss(experiment, scaled, settings)
    model["eps_error_by_level"] = by_level(params)
    if gaussian:
        baseline["eps_error_by_level"] = by_level.of_gaussian(gaussian)

    count = min(settings.two_sample.num_samples, len(held_out))
    progress = Progress(count, "image", "sample")
    generated = samples.draw(params, count, progress, experiment.transform.to_pixels)
    progress.close()
    two_sample = functools.partial(left_out.two_sample, neighbours=settings.two_sample.neighbours)
    model["two_sample"] = {
        "nfe": samples.nfe,
        **two_sample("model.two_sample", held_out, generated),
    }
    copied = subset(train_source, count)["image"]
    copies["two_sample"] = two_sample("training_images.two_sample", held_out, copied)
    if gaussian:
        drawn = experiment.transform.to_pixels(gaussian.sample(experiment.key("gaussian"), count))
        baseline["two_sample"] = two_sample("fitted_gaussian.two_sample", held_out, drawn)

    if settings.bits_per_dim.compute:
        with left_out("model.bits_per_dim"):
            model["bits_per_dim"] = network_bits_per_dim(experiment, params, examples, config, results.folder)
        if gaussian:
            with left_out("fitted_gaussian.bits_per_dim"):
                log_prob = gaussian.log_prob(jnp.asarray(dequantized(experiment, held_out)))
                baseline["bits_per_dim"] = mean_and_error(bits(experiment, log_prob))
    with left_out("model.bounds"):
        model.update(network_bounds(experiment, params, examples, config, levels))
    with left_out("diagnostics"):
        _diagnose(config, experiment, params, scaled, results)

    measured = {
        "step": checkpoint["step"],
        "times": by_level.times,
        "log_snr": by_level.log_snr,
        "model": model,
        "fitted_gaussian": baseline or None,
        "training_images": copies,
        "left_out": left_out.reasons,
        "data": found.record(),
        "config": resolved(config).to_dict(),
        "provenance": checkpoint["provenance"],
    }
    results.json("metrics.json", measured)
    baselines = {"fitted Gaussian": baseline["eps_error_by_level"]} if gaussian else None
    results.write(
        "loss.png",
        figures.loss_figure,
        read_metrics(workdir),
        by_level.log_snr,
        model["eps_error_by_level"],
        baselines,
    )
    panels = _panels(measured)
    if panels:
        results.write("evaluation.png", figures.bars_figure, panels)
    results.remove_others("evaluation.png")
    _report_network(measured, results)


def _panels(measured):
    """The panels of evaluation.png: dict from title to a dict from label to (value, standard error)."""
    model, baseline = measured["model"], measured["fitted_gaussian"] or {}
    columns = {"model": model, "fitted Gaussian": baseline, "training images": measured["training_images"]}

    def bars(figure, name, error=None):
        groups = {label: column.get(figure, {}) for label, column in columns.items()}
        return {
            label: (group[name], group[error] if error else 0.0)
            for label, group in groups.items()
            if name in group
        }

    panels = {
        "bits/dim (lower is better)": bars("bits_per_dim", "value", error="standard_error"),
        "1-NN accuracy (0.5 is perfect)": bars("two_sample", "accuracy", error="accuracy_standard_error"),
        "precision": bars("two_sample", "precision"),
        "recall": bars("two_sample", "recall"),
    }
    return {title: panel for title, panel in panels.items() if panel}


def _report_network(measured, results):
    for name in ("discrete_bound", "continuous_bound"):
        if name in measured["model"]:
            bound = measured["model"][name]
            chain = f", variance {bound['variance']}, grid {bound['grid']}" if "variance" in bound else ""
            results.print(
                f"{name.replace('_', ' ')}, {bound['levels']} levels{chain}: at most {bound['value']:.3f} ± "
                f"{bound['standard_error']:.3f} bits/dim"
            )
    results.print(
        f"{'':18}{'bits/dim':>16}{'1-NN accuracy (real, generated)':>34}{'precision':>12}{'recall':>10}"
    )
    for name in ("model", "fitted_gaussian", "training_images"):
        column = measured[name]
        if not column:
            continue
        bits = column.get("bits_per_dim")
        bits = f"{bits['value']:.3f} ± {bits['standard_error']:.3f}" if bits else "-"
        pair, halves = column["two_sample"], "-"
        if "accuracy" in pair:
            halves = f"{pair['accuracy']:.3f} ({pair['accuracy_real']:.2f}, {pair['accuracy_generated']:.2f})"
        precision, recall = (_shown(pair, name) for name in ("precision", "recall"))
        results.print(f"{name.replace('_', ' '):18}{bits:>16}{halves:>34}{precision:>12}{recall:>10}")


def _shown(figures, name):
    """A figure as text, or - where it was left out."""
    return f"{figures[name]:.3f}" if name in figures else "-"


def _report_mixture(measured, results):
    def line(name, entry, note=""):
        results.print(f"{name:44}{entry['value']:>12.6f} ± {entry['standard_error']:.6f}  {note}")

    line("exact negative log-likelihood, nats/dim", measured["negative_log_likelihood"])
    if "flow" in measured:
        flow = measured["flow"]
        line("the same at t_min", flow["exact"], f"t_min = {flow['t_min']:g}")
        line("by the probability-flow ODE", flow["value"], f"NFE {flow['nfe']:.0f}")
        line("  ODE minus exact log-density", flow["difference"])
        line("  of which the prior", flow["prior_gap"], "E log p(x_T) - log prior(x_T)")
    for name in ("continuous_bound", "discrete_bound"):
        if name in measured:
            line(name.replace("_", " "), measured[name])
            line("  above the exact one", measured[name]["above_exact"])
    loss = measured["loss"]
    results.print(
        f"loss against its closed form: at most {loss['largest_deviation_in_standard_errors']:.1f} standard "
        f"errors off at {len(loss['error'])} noise levels"
    )
    for name in ("samples", "floor"):
        pair = measured["two_sample"][name]
        accuracy, error = _shown(pair, "accuracy"), _shown(pair, "accuracy_standard_error")
        precision, recall = _shown(pair, "precision"), _shown(pair, "recall")
        results.print(
            f"1-NN accuracy of {name:8} {accuracy} ± {error}   precision {precision}   recall {recall}"
        )
