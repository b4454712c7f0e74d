"""All figures of two sets of pixels of the same size, meaningful for tiny images."""

from metrics.neighbours import one_nearest_neighbour, precision_recall

# name -> (function(real, generated, neighbours) -> dict of figures, least size of each set by neighbours)
TWO_SAMPLE = {
    "one_nearest_neighbour": (one_nearest_neighbour, lambda neighbours: 2),
    # A set has to have a k-th neighbour of each of its points.
    "precision_recall": (precision_recall, lambda neighbours: neighbours + 1),
}


def too_small_for(size, neighbours):
    """The figures that sets of this size are too small for: dict from their name to the least size."""
    least = {name: least(neighbours) for name, (_, least) in TWO_SAMPLE.items()}
    return {name: count for name, count in least.items() if size < count}


def two_sample(real, generated, neighbours):
    """All two-sample figures of generated against real data, [N, ...] each; cut to the same size.

    Those that the sets are too small for, of `too_small_for`, are left out.

    >>> import numpy as np
    >>> real, far = np.arange(20.0).reshape(20, 1), 1000 + np.arange(20.0).reshape(20, 1)
    >>> two_sample(real, far, neighbours=3)["accuracy"]
    1.0
    """
    size = min(len(real), len(generated))
    result = {"samples": size}
    for metric, least in TWO_SAMPLE.values():
        if size < least(neighbours):
            continue
        result.update(metric(real[:size], generated[:size], neighbours))
    return {name: float(value) for name, value in result.items()}
