"""The evaluator `two_sample`: samples against held-out data by nearest neighbours in pixel space.

Meaningful for tiny images and for points. Beside the model's samples stand those of a Gaussian that was
fitted to the training images, and training images in the place of samples.
"""

import jax
import numpy as np

from evaluation.evaluator import Evaluator, Figure
from evaluation.held_out import LeftOut, subset

COLUMNS = ("model", "fitted_gaussian", "training_images", "exact_samples")


class TwoSample(Evaluator):
    name = "two_sample"
    reads = ("data", "samples")

    def refusals(self, config):
        settings = config.eval.two_sample
        if not settings.neighbours > 0:
            yield f"eval.two_sample.neighbours={settings.neighbours} must be positive."
        if settings.num_samples < 2:
            yield f"eval.two_sample.num_samples={settings.num_samples} must be at least 2."

    def settings(self, config):
        return config.eval.two_sample.to_dict()

    def measure(self, evaluation):
        experiment, left_out = evaluation.experiment, LeftOut()
        real, others = _of_mixture(evaluation) if experiment.mixture is not None else _of_data(evaluation)
        drawn = self._drawn(evaluation, min(evaluation.config.eval.two_sample.num_samples, len(real)))
        neighbours = evaluation.config.eval.two_sample.neighbours
        entry = {
            column: left_out.two_sample(column, real, images, neighbours)
            for column, images in {"model": drawn["x"], **others}.items()
        }
        return {**entry, "nfe": float(drawn["nfe"].mean()), "left_out": left_out.reasons}

    def _drawn(self, evaluation, count):
        """Arrays of the samples 0..count-1: `x`, in pixels where the data has them, and their `nfe`."""
        experiment, samples = evaluation.experiment, evaluation.samples
        partial = evaluation.partial(self)

        def draw(numbers):
            drawn = samples.numbered(evaluation.params, numbers)
            x = drawn.x if experiment.mixture is not None else experiment.transform.to_pixels(drawn.x)
            return {"x": x, "nfe": drawn.nfe}

        partial.fill(count, samples.batch_size, draw, "sample", "sample", "were drawn")
        return partial.merged(count)

    def figures(self, entry):
        for column in COLUMNS:
            pair = entry.get(column)
            if not pair:
                continue
            label, nfe = column.replace("_", " "), f", NFE {entry['nfe']:g}" if column == "model" else ""
            against = "exact samples" if "exact_samples" in entry else "held-out images, by their pixels"
            note = how = f"n={pair['samples']:g}, against as many {against}{nfe}"
            if "accuracy" in pair:
                note = f"real {pair['accuracy_real']:.2f}, generated {pair['accuracy_generated']:.2f}; {how}"
            yield Figure(f"1-NN accuracy, {label}", _shown(pair, "accuracy"), note)
            both = ", ".join(_shown(pair, name) for name in ("precision", "recall"))
            yield Figure(f"  precision, recall, {label}", both, how)

    def panels(self, entry):
        def bars(figure, error=None):
            pairs = {column.replace("_", " "): entry[column] for column in COLUMNS if column in entry}
            return {
                label.replace("gaussian", "Gaussian"): (pair[figure], pair.get(error, 0.0))
                for label, pair in pairs.items()
                if figure in pair
            }

        return {
            "1-NN accuracy (0.5 is perfect)": bars("accuracy", "accuracy_standard_error"),
            "precision": bars("precision", "precision_standard_error"),
            "recall": bars("recall", "recall_standard_error"),
        }


def _shown(pair, name):
    """A figure with the standard error that it has."""
    if name not in pair:
        return "-"
    error = pair.get(f"{name}_standard_error")
    return f"{pair[name]:.3f}" + ("" if error is None else f" ± {error:.3f}")


def _of_data(evaluation):
    """(held-out images, {column: images to compare with them})."""
    experiment, real = evaluation.experiment, evaluation.held_out["image"]
    count = min(evaluation.config.eval.two_sample.num_samples, len(real))
    others = {"training_images": subset(evaluation.data.train, count)["image"]}
    if evaluation.gaussian:
        drawn = evaluation.gaussian.sample(experiment.key("gaussian"), count)
        others["fitted_gaussian"] = experiment.transform.to_pixels(drawn)
    return real, others


def _of_mixture(evaluation):
    """The same of a mixture, whose exact samples are compared with others of them."""
    experiment, count = evaluation.experiment, evaluation.config.eval.two_sample.num_samples
    draw = jax.jit(experiment.mixture.sample, static_argnums=1)
    real, floor = (
        np.asarray(draw(experiment.key(name), count)) for name in ("real samples", "floor samples")
    )
    return real, {"exact_samples": floor}
