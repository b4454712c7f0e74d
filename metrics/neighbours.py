"""Two-sample checks by nearest neighbours in a space of features; for tiny images their pixels are one.

All are biased by the number of examples: figures of different numbers are not compared.
"""

import numpy as np

from metrics.distances import balls_around, nearest

# k of the papers' own figures.
PRECISION_NEIGHBOURS = 3
DENSITY_NEIGHBOURS = 5
# Pairs of an example and the training example that it is nearest to, which a picture has room for.
SHOWN = 16
# Disjoint parts of which a standard error is made, and examples in each, in units of k + 1.
PARTS = 10
LEAST_OF_A_PART = 4


def _flat(x):
    x = np.asarray(x)
    return x.reshape(len(x), -1)


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
    points = np.concatenate([_flat(real)[:size], _flat(generated)[:size]]).astype(np.float64)
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


def _radii(points, neighbours):
    """[N] squared distances to the k-th neighbour."""
    return nearest(points, points, neighbours, leave_out_self=True)[0][:, -1]


def _covered(real, generated, neighbours):
    """Which generated points are in a ball of the real ones, and the reverse; sets of the same size."""
    size = min(len(real), len(generated))
    real, generated = _flat(real)[:size], _flat(generated)[:size]
    return [
        balls_around(support, _radii(support, neighbours), queries) > 0
        for support, queries in ((real, generated), (generated, real))
    ]


def precision_recall(real, generated, neighbours=PRECISION_NEIGHBOURS):
    """Improved precision and recall (Kynkäänniemi et al. 2019, eqs. 1 and 2).

    Precision is the part of generated points inside the union of balls around real
    points, each reaching to its k-th neighbour; recall the same with the roles exchanged.

    Args:
      real, generated: [N, ...] features; the larger set is cut to the size of the smaller.
      neighbours: k; at most N - 1.
    """
    precise, recalled = _covered(real, generated, neighbours)
    return {"precision": precise.mean(), "recall": recalled.mean()}


def _density_coverage(real, generated, neighbours):
    """([M] balls that each generated point is in, over k; [N] whether each ball has one inside)."""
    real, generated = _flat(real), _flat(generated)
    radii = _radii(real, neighbours)
    closest = nearest(generated, real, 1)[0][:, 0]
    return balls_around(real, radii, generated) / neighbours, closest <= radii


def density_coverage(real, generated, neighbours=DENSITY_NEIGHBOURS):
    """Density and coverage (Naeem et al. 2020, eqs. 3 and 4).

    Density is the mean number of balls around real points that a generated point is in, over k: not
    bounded by 1. Coverage is the part of the balls with a generated point inside.

    Args:
      real: [N, ...], generated: [M, ...] features; sizes may differ.
      neighbours: k of the balls, at most N - 1.
    """
    inside, occupied = _density_coverage(real, generated, neighbours)
    return {"density": inside.mean(), "coverage": occupied.mean()}


def memorization(training, generated, neighbours=50, alpha=0.5):
    """How near generated examples are to single training examples (Carlini et al. 2023, section 5.1).

    The calibrated distance is that to the nearest training example over alpha times the mean of those to the
    nearest `neighbours`: 1 / alpha where no training example is nearer than the others, 0 for a copy. What
    is below 1 is the paper's copy.

    Args:
      training: [N, ...] features, N of `neighbours` or more; generated: [M, ...].

    Returns:
      {"ratio": [M] calibrated distances, "distance": [M] to the nearest, "nearest": [M] its index}.
    """
    squares, indices = nearest(_flat(training), _flat(generated), neighbours)
    distances = np.sqrt(squares)
    mean = distances.mean(axis=1)
    # Where all of the neighbours are equal to it, a generated example is a copy.
    ratio = np.divide(distances[:, 0], alpha * mean, out=np.zeros(len(mean)), where=mean > 0)
    return {"ratio": ratio, "distance": distances[:, 0], "nearest": indices[:, 0]}


def _errors(function, real, generated, neighbours):
    """The standard errors of figures of two sets of one size, both of them drawn; {} for small sets.

    An example takes part in the balls of others, so a figure is no mean over independent examples, and has
    about 1.4 times the standard deviation that one would have. Disjoint parts are independent: the figures'
    deviation over PARTS of them, over sqrt(PARTS) (Politis & Romano 1994, for a rate of sqrt(N)).

    Args:
      function: (real, generated) -> dict of figures.

    Returns:
      {figure: {"standard_error", "degrees_of_freedom"}}.
    """
    size = min(len(real), len(generated))
    if size < PARTS * LEAST_OF_A_PART * (neighbours + 1):
        return {}
    parts = [function(real[first:size:PARTS], generated[first:size:PARTS]) for first in range(PARTS)]
    return {
        name: {
            "standard_error": float(np.std([part[name] for part in parts], ddof=1) / np.sqrt(PARTS)),
            "degrees_of_freedom": PARTS - 1,
        }
        for name in parts[0]
    }


def _entries(function, real, generated, neighbours, sizes):
    """The entries of a function's figures."""
    errors = _errors(function, real, generated, neighbours)
    counts = {"n": sizes[1], "n_reference": sizes[0]}
    return {
        name: {"value": float(value), **errors.get(name, {}), **counts}
        for name, value in function(real, generated).items()
    }


def precision_recall_figures(reference, generated, seed=0):
    """The entries of precision and recall of two FeatureSets, cut to the same size."""
    real, generated = reference.features, generated.features
    sizes = (min(len(real), len(generated)),) * 2
    return _entries(precision_recall, real, generated, PRECISION_NEIGHBOURS, sizes)


def density_coverage_figures(reference, generated, seed=0):
    """The entries of density and coverage of two FeatureSets."""
    real, generated = reference.features, generated.features
    return _entries(density_coverage, real, generated, DENSITY_NEIGHBOURS, (len(real), len(generated)))


def one_nearest_neighbour_figure(reference, generated, seed=0):
    """The entry of the 1-NN accuracy of two FeatureSets, cut to the same size."""
    real, generated = reference.features, generated.features
    sizes = (min(len(real), len(generated)),) * 2
    return _entries(one_nearest_neighbour, real, generated, 1, sizes)["accuracy"]


def memorization_figure(reference, generated, seed=0):
    """The entry of the part of generated examples that are copies of a reference example.

    `nearest_copies` has those with the smallest calibrated distances, for a picture: [index of the generated
    example, index of the reference's, calibrated distance]. The standard error is of the generated examples:
    the training set is no sample here, but what it is about.
    """
    training, generated = reference.features, generated.features
    found = memorization(training, generated)
    ratio = found["ratio"]
    copied = ratio < 1
    order = np.argsort(ratio, kind="stable")[:SHOWN]
    return {
        "value": float(copied.mean()),
        "standard_error": float(copied.std() / np.sqrt(len(copied))),
        "n": len(generated),
        "n_reference": len(training),
        "median_ratio": float(np.median(ratio)),
        "nearest_copies": [[int(i), int(found["nearest"][i]), float(ratio[i])] for i in order],
    }
