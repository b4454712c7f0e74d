"""How samples are judged against held-out data."""

from metrics.neighbours import one_nearest_neighbour, precision_recall

# name -> function(real, generated, neighbours) -> dict of figures
TWO_SAMPLE = {
    "one_nearest_neighbour": one_nearest_neighbour,
    "precision_recall": precision_recall,
}


def two_sample(real, generated, neighbours):
    """All two-sample figures of generated against real data, [N, ...] each; cut to the same size."""
    size = min(len(real), len(generated))
    result = {"samples": size}
    for metric in TWO_SAMPLE.values():
        result.update(metric(real[:size], generated[:size], neighbours))
    return {name: float(value) for name, value in result.items()}
