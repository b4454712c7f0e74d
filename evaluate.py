"""The evaluation loop: what a trained network is worth on held-out data.

Beside each figure stands the same figure for a Gaussian with full covariance fitted to
the training set, and for training images themselves where that makes sense.
"""

import dataclasses
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import data
import figures
import likelihood
import metrics
import sample
from creation import UserError
from sde_lib.gaussian import Gaussian
from training import parallel
from training.logging import Progress, read_metrics, say
from training.workdir import prepare_workdir, write_json

# A full covariance of more dimensions takes minutes to factor.
LARGEST_GAUSSIAN = 4096
GAUSSIAN_IMAGES = 20_000


def subset(source, count):
    """The first `count` images of a fixed shuffle of a source, uint8."""
    return source.images[np.random.default_rng(0).permutation(len(source))[:count]]


class HeldOutLoss:
    """The mean-squared error of eps at equally spaced times, on one fixed batch of held-out images.

    Args:
      setup: Experiment; source: the held-out split; config: the subtree `eval`.
    """

    def __init__(self, setup, source, config):
        sde, levels = setup.sde, config.loss_levels
        self.times = sde.t_min + (np.arange(levels) + 0.5) / levels * (sde.t_max - sde.t_min)
        self.log_snr = np.asarray(sde.log_snr(jnp.asarray(self.times)))
        self._images = subset(source, min(config.batch_size, config.max_images))
        self._batch_size = config.batch_size
        self._key = setup.key("held-out loss")
        self._setup = setup
        self._of_network = self._batch_map(setup.denoiser)

    def _batch_map(self, predict):
        setup = self._setup
        transform = dataclasses.replace(setup.transform, random_flip=False)
        plain = dataclasses.replace(setup.objective, weighting="simple", reduction="mean")

        def errors(constants, examples):
            params, t, key = constants
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, examples["index"])
            pairs = jax.vmap(jax.random.split)(keys)
            x0 = transform.training(pairs[:, 0], examples["image"])
            times = jnp.full(keys.shape, t)
            return plain.example_losses(pairs[:, 1], lambda x, t: predict(params, x, t), x0, times)

        return parallel.BatchMap(errors, self._batch_size)

    def _by_level(self, mapped, params):
        examples = {"image": self._images, "index": np.arange(len(self._images), dtype=np.uint32)}
        return np.array(
            [
                mapped((params, np.float32(t), jax.random.fold_in(self._key, level)), examples).mean()
                for level, t in enumerate(self.times)
            ]
        )

    def __call__(self, params):
        """[levels] errors of the network with these parameters."""
        return self._by_level(self._of_network, params)

    def of_gaussian(self, gaussian):
        """[levels] errors of the exact denoiser of a Gaussian."""
        sde = self._setup.sde
        return self._by_level(self._batch_map(lambda fitted, x, t: fitted.denoise(sde, x, t)), gaussian)


def _dequantized(setup, images, repeat=0):
    """float32 images in the model's range with uniform noise that depends on the image's number alone."""
    key = jax.random.fold_in(setup.key("dequantize"), repeat)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(images)))
    return np.asarray(setup.transform.dequantized(keys, images))


def _mean_and_error(values):
    return {"value": float(np.mean(values)), "standard_error": float(np.std(values) / np.sqrt(len(values)))}


def _bits(setup, log_prob):
    return likelihood.bits_per_dim(log_prob, setup.shape, setup.transform.levels, setup.transform.centered)


def network_bits_per_dim(setup, params, images, config):
    """Exact bits/dim of held-out images by the probability-flow ODE, with one probe an image.

    Args:
      images: [N, H, W, C] uint8, dequantized here over the right number of levels.
      config: the subtree `eval`.

    Returns:
      dict with value, standard error over images, NFE, and t_min, where the flow starts.
    """

    def solve(constants, examples):
        params, key = constants
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, examples["index"])
        return likelihood.log_likelihood(
            keys,
            setup.sde,
            setup.denoiser.bind(params),
            examples["x"],
            tolerance=config.tolerance,
            probe=config.probe,
        ).replace(latent=None)

    x = _dequantized(setup, images)
    mapped = parallel.BatchMap(solve, config.batch_size)
    examples = {"x": x, "index": np.arange(len(x), dtype=np.uint32)}
    progress, parts = Progress(len(x), "image", "bits/dim"), []
    for part in mapped.batches((params, setup.key("probe")), examples):
        parts.append(part)
        progress.update(len(part.log_prob))
    progress.close()
    found = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
    if found.failed.all():
        raise UserError(
            f"bits/dim: the solver failed on all {len(x)} images; use a larger eval.tolerance than "
            f"{config.tolerance}, or eval.bits_per_dim=False."
        )
    if found.failed.any():
        say(
            f"warning: {found.failed.sum()} of {len(x)} images ran out of solver steps and are left out of "
            f"bits/dim; eval.tolerance={config.tolerance} may be too small for float32."
        )
    return {
        **_mean_and_error(_bits(setup, found.log_prob[~found.failed])),
        "nfe": float(found.nfe.mean()),
        "images": int((~found.failed).sum()),
        "t_min": setup.sde.t_min,
        "tolerance": config.tolerance,
    }


def fit_gaussian(setup, source):
    """The Gaussian of the dequantized training images, in the model's range.

    None where there are too many dimensions, or too few images for a covariance.
    """
    dimension = math.prod(setup.shape)
    if dimension > LARGEST_GAUSSIAN or len(source) < 2 * dimension:
        say(f"no Gaussian is fitted: {len(source)} training images of {dimension} dimensions")
        return None
    images = subset(source, max(GAUSSIAN_IMAGES, 2 * dimension))
    spacing = (2.0 if setup.transform.centered else 1.0) / setup.transform.levels
    return Gaussian.fit(np.asarray(setup.transform.to_model(images)), noise_variance=spacing**2 / 12)


def two_sample(real, generated, config):
    """All two-sample figures of generated against held-out images, both uint8."""
    size = min(len(real), len(generated))
    result = {"images": size}
    for metric in metrics.TWO_SAMPLE.values():
        result.update(metric(real[:size], generated[:size], config.neighbours))
    return {name: float(value) for name, value in result.items()}


def run(config, workdir):
    """--mode=eval: writes metrics.json, evaluation.png and loss.png into the workdir."""
    workdir, settings = Path(workdir), config.eval
    setup, params, record = sample.load(config, workdir)
    prepare_workdir(workdir)
    train_source, test_source = data.create(config.data, "train"), data.create(config.data, "test")
    held_out = subset(test_source, settings.max_images)
    say(f"evaluating step {record['step']} on {len(held_out)} held-out images")
    gaussian = fit_gaussian(setup, train_source)
    model, baseline, copies = {}, {}, {}

    by_level = HeldOutLoss(setup, test_source, settings)
    model["eps_error_by_level"] = by_level(params)
    if gaussian:
        baseline["eps_error_by_level"] = by_level.of_gaussian(gaussian)

    count = min(settings.num_samples, len(held_out))
    drawer = sample.Drawer(setup, config.sampling)
    progress = Progress(count, "image", "sample")
    generated = setup.transform.to_pixels(drawer.draw(params, count, progress))
    progress.close()
    model["two_sample"] = {"nfe": drawer.nfe, **two_sample(held_out, generated, settings)}
    copies["two_sample"] = two_sample(held_out, subset(train_source, count), settings)
    if gaussian:
        drawn = setup.transform.to_pixels(gaussian.sample(setup.key("gaussian"), count))
        baseline["two_sample"] = two_sample(held_out, drawn, settings)

    if settings.bits_per_dim:
        model["bits_per_dim"] = network_bits_per_dim(setup, params, held_out, settings)
        if gaussian:
            log_prob = gaussian.log_prob(jnp.asarray(_dequantized(setup, held_out)))
            baseline["bits_per_dim"] = _mean_and_error(_bits(setup, log_prob))

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
