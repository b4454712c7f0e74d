"""Two-sample checks by nearest neighbours, meaningful for tiny images in pixel space."""

import numpy as np


def _flat(x):
    return np.asarray(x, np.float64).reshape(len(x), -1)


def _distances(reference, queries, count):
    """[Q, count] distances to, and [Q, count] indices of, the nearest reference points."""
    # Its import takes a second, for which no command that is refused should wait.
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=count, algorithm="brute").fit(reference).kneighbors(queries)


def one_nearest_neighbour(real, generated, neighbours=None):
    """Leave-one-out accuracy of telling the two sets apart by the nearest neighbour.

    0.5 means indistinguishable, 1 entirely different, below 0.5 copies of each other
    (Lopez-Paz & Oquab 2017). The larger set is cut to the size of the smaller. Points
    at the same distance count half on each side.

    Args:
      real, generated: [N, ...] pixels.

    Returns:
      the accuracy, of the real and of the generated points apart, and its standard error.
    """
    size = min(len(real), len(generated))
    points = np.concatenate([_flat(real)[:size], _flat(generated)[:size]])
    labels = np.repeat([0, 1], size)
    distances, indices = _distances(points, points, min(16, len(points)))
    own = indices == np.arange(len(points))[:, None]
    distances = np.where(own, np.inf, distances)
    nearest = distances == distances.min(axis=1, keepdims=True)
    agree = (labels[indices] == labels[:, None]) & nearest
    correct = agree.sum(axis=1) / nearest.sum(axis=1)
    return {
        "accuracy": correct.mean(),
        "accuracy_real": correct[:size].mean(),
        "accuracy_generated": correct[size:].mean(),
        "accuracy_standard_error": correct.std() / np.sqrt(len(correct)),
    }


def precision_recall(real, generated, neighbours=3):
    """Improved precision and recall (Kynkäänniemi et al. 2019) in pixel space.

    Precision is the part of generated points inside the union of balls around real
    points, each reaching to its k-th neighbour; recall the same with the roles exchanged.

    Args:
      real, generated: [N, ...] pixels; the larger set is cut to the size of the smaller.
      neighbours: k.
    """
    size = min(len(real), len(generated))
    real, generated = _flat(real)[:size], _flat(generated)[:size]

    def covered(support, queries):
        # The nearest support point of a support point is itself.
        radii = _distances(support, support, min(neighbours + 1, size))[0][:, -1]
        squares = (queries**2).sum(1)[:, None] + (support**2).sum(1) - 2 * queries @ support.T
        return (squares <= radii**2 + 1e-9).any(axis=1).mean()

    return {"precision": covered(real, generated), "recall": covered(generated, real)}
