"""Sample quality at a small scale: an Evaluator whose features are pixels, for images of few of them."""

import numpy as np

import metrics
from evaluation.evaluator import Evaluator
from evaluation.held_out import subset
from metrics import FeatureSet
from metrics.sliced_wasserstein import sliced_wasserstein

PROJECTIONS = 512
# Figures by their names in metrics, and how they are printed.
FIGURES = {
    "frechet_distance": "Frechet distance of pixels",
    "sliced_wasserstein": "sliced Wasserstein distance",
    "one_nearest_neighbour": "1-NN accuracy",
}


def _flat(evaluation, images):
    """[N, D] float64 pixels in [0, 1], whatever the model's range: processes are compared."""
    transform = evaluation.experiment.transform
    scaled = np.asarray(transform.to_model(images), np.float64)
    scaled = (scaled + 1) / 2 if transform.centered else scaled
    return scaled.reshape(len(scaled), -1)


def _distances(evaluation, reference, real, others):
    """The figures of other images beside as many real ones, and beside the reference's moments."""
    real, others = _flat(evaluation, real), _flat(evaluation, others)
    found = metrics.measure(("frechet_distance",), reference, FeatureSet(others))
    pair = metrics.measure(("one_nearest_neighbour",), FeatureSet(real), FeatureSet(others))
    distance = {"value": sliced_wasserstein(real, others, PROJECTIONS), "n": len(others)}
    return {**found, **pair, "sliced_wasserstein": distance}


class PixelQuality(Evaluator):
    """Frechet distance of pixels to the training images; sliced Wasserstein and 1-NN beside some of them.

    `real` has the same of other training images: that of perfect samples.
    """

    name = "pixel_quality"
    reads = ("data", "samples")

    def settings(self, config):
        return {
            "num_samples": config.eval.sample_quality.num_samples,
            "projections": PROJECTIONS,
            "range": (0, 1),
        }

    def measure(self, evaluation):
        source = evaluation.data.train
        count = min(evaluation.config.eval.sample_quality.num_samples, len(source) // 2)
        images = subset(source, 2 * count)["image"]
        real, other = images[::2], images[1::2]
        reference = FeatureSet(_flat(evaluation, subset(source, len(source))["image"]))
        # As large as the half that the others are measured against.
        half = FeatureSet(_flat(evaluation, real))
        drawn = self._drawn(evaluation, count)
        generated = _distances(evaluation, reference, real, drawn["images"])
        return {
            **generated,
            "nfe": float(drawn["nfe"].mean()),
            "n": count,
            "real": _distances(evaluation, half, real, other),
        }

    def _drawn(self, evaluation, count):
        partial, samples = evaluation.partial(self), evaluation.samples

        def draw(numbers):
            drawn = samples.numbered(evaluation.params, numbers)
            return {"images": evaluation.experiment.transform.to_pixels(drawn.x), "nfe": drawn.nfe}

        partial.fill(count, samples.batch_size, draw, "sample", "sample", "were drawn")
        drawn = partial.merged(count)
        partial.finish()
        return drawn
