"""How samples are judged against held-out data."""

from metrics.neighbours import one_nearest_neighbour, precision_recall

# name -> function(real, generated, neighbours) -> dict of figures
TWO_SAMPLE = {
    "one_nearest_neighbour": one_nearest_neighbour,
    "precision_recall": precision_recall,
}


def two_sample(real, generated, neighbours):
    """All two-sample figures of generated against real data, [N, ...] each; cut to the same size.

    >>> import numpy as np
    >>> real, far = np.arange(20.0).reshape(20, 1), 1000 + np.arange(20.0).reshape(20, 1)
    >>> two_sample(real, far, neighbours=3)["accuracy"]
    1.0
    """
    size = min(len(real), len(generated))
    result = {"samples": size}
    for metric in TWO_SAMPLE.values():
        result.update(metric(real[:size], generated[:size], neighbours))
    return {name: float(value) for name, value in result.items()}
