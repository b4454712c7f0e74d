"""How samples are judged against held-out data."""

from metrics.neighbours import one_nearest_neighbour, precision_recall

# name -> function(real, generated, neighbours) -> dict of figures
TWO_SAMPLE = {
    "one_nearest_neighbour": one_nearest_neighbour,
    "precision_recall": precision_recall,
}
