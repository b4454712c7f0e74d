"""How samples are judged against a reference: numbers from features, never from images.

`METRICS` is the table; a new metric is one file and one line of it. docs/evaluation_metrics.md says what each
is, how many examples it needs and what its interval covers.
"""

from metrics import frechet, inception_score, kernel, neighbours
from metrics.feature_set import FeatureSet, Metric, measured
from metrics.neighbours import one_nearest_neighbour, precision_recall
from metrics.two_samples import too_small_for, two_sample

__all__ = [
    "METRICS",
    "FeatureSet",
    "Metric",
    "measure",
    "one_nearest_neighbour",
    "precision_recall",
    "too_small_for",
    "two_sample",
]

METRICS = {
    "fid": Metric(frechet.figure, "moments", "moments", extractor="inception"),
    "fd_dinov2": Metric(frechet.figure, "moments", "moments", extractor="dinov2"),
    "frechet_distance": Metric(frechet.figure, "moments", "moments"),
    "sfid": Metric(frechet.spatial_figure, "spatial_moments", "spatial_moments", extractor="inception"),
    "fid_infinity": Metric(frechet.extrapolated_figure, "moments", "features", 20, "inception"),
    "kid": Metric(kernel.figure, "features", "features"),
    "inception_score": Metric(inception_score.figure, None, "logits", 10, "inception"),
    "precision_recall": Metric(neighbours.precision_recall_figures, "features", "features", 4),
    "density_coverage": Metric(neighbours.density_coverage_figures, "features", "features", 6),
    "one_nearest_neighbour": Metric(neighbours.one_nearest_neighbour_figure, "features", "features"),
    "memorization": Metric(neighbours.memorization_figure, "features", "features", 51),
}


def measure(names, reference, generated, seed=0):
    """Figures of generated examples beside a reference.

    Args:
      names: of METRICS.
      reference, generated: FeatureSets.
      seed: of subsets and orders that are drawn.

    Returns:
      a dict from the figure's name (a metric's own, or each of several: precision, recall, ...) to its entry,
      {"value", "n", "n_reference", "standard_error", "interval" (95%), ...}, or {"left_out": why}.

    Raises:
      ValueError: a name is none of METRICS, or what a metric reads is not finite; says of which set, and how
        many rows.

    >>> import numpy as np
    >>> a, b = (FeatureSet(x) for x in np.random.default_rng(0).standard_normal((2, 500, 2)))
    >>> found = measure(("frechet_distance", "inception_score"), a, b)
    >>> found["frechet_distance"]["n"], found["inception_score"]["left_out"]
    (500, 'it takes logits of the generated examples, and there are none')
    """
    return measured(METRICS, names, reference, generated, seed)
