"""The evaluation loop: what a trained network is worth on held-out data.

Beside each figure stands the same figure for a Gaussian with full covariance fitted to
the training set, and for training images themselves where that makes sense.
"""

import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import data
import metrics
from components import ConfigError
from denoisers.gaussian_mixture import GaussianMixture
from evaluation import mixture
from evaluation.bits_per_dim import bits, dequantized, network_bits_per_dim, require_feasible
from evaluation.bounds import network_bounds, sampled_levels
from evaluation.diagnostics import diagnose
from evaluation.held_out import HeldOut, HeldOutLoss, mean_and_error, subset
from experiment.draw import Drawer
from experiment.load import load, warn_of_other_parameters
from reports import figures
from workdir.files import prepare_workdir, write_json
from workdir.records import Progress, read_metrics, say

# A full covariance of more dimensions takes minutes to factor.
LARGEST_GAUSSIAN = 4096


GAUSSIAN_IMAGES = 20_000


def fit_gaussian(setup, source):
    """The Gaussian of the dequantized training images, in the model's range.

    None where there are too many dimensions, or too few images for a covariance.
    """
    dimension = math.prod(setup.shape)
    if dimension > LARGEST_GAUSSIAN or len(source) < 2 * dimension:
        say(f"no Gaussian is fitted: {len(source)} training images of {dimension} dimensions")
        return None
    images = subset(source, max(GAUSSIAN_IMAGES, 2 * dimension))["image"]
    spacing = (2.0 if setup.transform.centered else 1.0) / setup.transform.levels
    return GaussianMixture.fit(np.asarray(setup.transform.to_model(images)), noise_variance=spacing**2 / 12)


def run(config, workdir):
    """--mode=eval: writes metrics.json, evaluation.png and loss.png into the workdir.

    With `eval.diagnostics` also diagnostics.json and diagnostics.png. A mixture, whose
    denoiser is exact, is evaluated by evaluation/mixture.py.

    Raises:
      ConfigError: a variance of a bound that is not asked for.
    """
    workdir, settings = Path(workdir), config.eval
    if settings.bound_variance != "small" and not settings.discrete_bound:
        raise ConfigError(
            f'eval.bound_variance="{settings.bound_variance}" is the variance of the discrete-time bound, '
            "and eval.discrete_bound=False. Set eval.discrete_bound=True."
        )
    setup, params, record = load(config, workdir)
    require_feasible(setup, settings)
    drawer = Drawer(setup, config.sampling)
    levels = sampled_levels(config, drawer)
    warn_of_other_parameters(config, params)
    prepare_workdir(workdir)
    if setup.mixture is not None:
        mixture.run(config, workdir, setup, drawer)
        return
    train_source, test_source = data.create(config.data, "train"), data.create(config.data, "test")
    examples = subset(test_source, settings.max_images)
    held_out = examples["image"]
    say(f"evaluating step {record['step']} on {len(held_out)} held-out images")
    gaussian = fit_gaussian(setup, train_source)
    model, baseline, copies = {}, {}, {}

    scaled = HeldOut.from_experiment(setup, examples)
    by_level = HeldOutLoss(setup, scaled, settings)
    model["eps_error_by_level"] = by_level(params)
    if gaussian:
        baseline["eps_error_by_level"] = by_level.of_gaussian(gaussian)

    count = min(settings.num_samples, len(held_out))
    progress = Progress(count, "image", "sample")
    generated = setup.transform.to_pixels(drawer.draw(params, count, progress))
    progress.close()
    model["two_sample"] = {"nfe": drawer.nfe, **metrics.two_sample(held_out, generated, settings.neighbours)}
    copies["two_sample"] = metrics.two_sample(
        held_out, subset(train_source, count)["image"], settings.neighbours
    )
    if gaussian:
        drawn = setup.transform.to_pixels(gaussian.sample(setup.key("gaussian"), count))
        baseline["two_sample"] = metrics.two_sample(held_out, drawn, settings.neighbours)

    if settings.bits_per_dim:
        model["bits_per_dim"] = network_bits_per_dim(setup, params, examples, config, workdir)
        if gaussian:
            log_prob = gaussian.log_prob(jnp.asarray(dequantized(setup, held_out)))
            baseline["bits_per_dim"] = mean_and_error(bits(setup, log_prob))
    model.update(network_bounds(setup, params, examples, config, levels))
    if settings.diagnostics:
        diagnose(setup, params, scaled, config, workdir)

    result = {
        "step": record["step"],
        "times": by_level.times,
        "log_snr": by_level.log_snr,
        "model": model,
        "fitted_gaussian": baseline or None,
        "training_images": copies,
        "config": config.to_dict(),
        "provenance": record["provenance"],
    }
    write_json(workdir / "metrics.json", result)
    _figures(workdir, result, by_level)
    _report(result)
    say(f"wrote metrics.json, evaluation.png and loss.png to {workdir}")


def _figures(workdir, result, by_level):
    model, baseline = result["model"], result["fitted_gaussian"] or {}
    figures.loss_figure(
        workdir / "loss.png",
        read_metrics(workdir),
        by_level.log_snr,
        model["eps_error_by_level"],
        {"fitted Gaussian": baseline["eps_error_by_level"]} if baseline else None,
    )
    columns = {"model": model, "fitted Gaussian": baseline, "training images": result["training_images"]}

    def bars(*path, error=None):
        found = {}
        for label, column in columns.items():
            if path[0] in column:
                group = column[path[0]]
                found[label] = (group[path[1]], group[error] if error else 0.0)
        return found

    panels = {
        "1-NN accuracy (0.5 is perfect)": bars("two_sample", "accuracy", error="accuracy_standard_error"),
        "precision": bars("two_sample", "precision"),
        "recall": bars("two_sample", "recall"),
    }
    if "bits_per_dim" in model:
        panels = {
            "bits/dim (lower is better)": bars("bits_per_dim", "value", error="standard_error"),
            **panels,
        }
    figures.bars_figure(workdir / "evaluation.png", panels)


def _report(result):
    for name in ("discrete_bound", "continuous_bound"):
        if name in result["model"]:
            bound = result["model"][name]
            chain = f", variance {bound['variance']}, grid {bound['grid']}" if "variance" in bound else ""
            print(
                f"{name.replace('_', ' ')}, {bound['levels']} levels{chain}: at most {bound['value']:.3f} ± "
                f"{bound['standard_error']:.3f} bits/dim"
            )
    print(f"{'':18}{'bits/dim':>16}{'1-NN accuracy (real, generated)':>34}{'precision':>12}{'recall':>10}")
    for name in ("model", "fitted_gaussian", "training_images"):
        column = result[name]
        if not column:
            continue
        bits = column.get("bits_per_dim")
        bits = f"{bits['value']:.3f} ± {bits['standard_error']:.3f}" if bits else "-"
        pair = column["two_sample"]
        halves = f"{pair['accuracy']:.3f} ({pair['accuracy_real']:.2f}, {pair['accuracy_generated']:.2f})"
        others = f"{pair['precision']:>12.3f}{pair['recall']:>10.3f}"
        print(f"{name.replace('_', ' '):18}{bits:>16}{halves:>34}{others}")
