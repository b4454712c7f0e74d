"""Two-sample checks by nearest neighbours in a space of features; for tiny images their pixels are one.

All are biased by the number of examples: figures of different numbers are not compared.
"""

import numpy as np

from metrics import intervals
from metrics.distances import balls_around, balls_leaving_out, nearest

# k of the papers' own figures.
PRECISION_NEIGHBOURS = 3
DENSITY_NEIGHBOURS = 5
# Pairs of an example and the training example that it is nearest to, which a picture has room for.
SHOWN = 16
# Examples of each set from which on figures have a standard error: some in each group that is left out.
LEAST_FOR_ERRORS = 5 * intervals.GROUPS
# Neighbours beyond the k-th that are looked for: those that may take its place where a group is left out.
SPARE = 8


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
      the accuracy, of the real and of the generated points apart, and its standard error, where there are
      examples enough for one.
    """
    size = min(len(real), len(generated))
    points = np.concatenate([_flat(real)[:size], _flat(generated)[:size]]).astype(np.float64)
    labels = np.repeat([0, 1], size)
    distances, indices = _distances(points, points, min(16, len(points)))
    distances = np.where(indices == np.arange(len(points))[:, None], np.inf, distances)
    agree = labels[indices] == labels[:, None]

    def correct(distances):
        nearest = distances == distances.min(axis=1, keepdims=True)
        return (agree & nearest).sum(axis=1) / nearest.sum(axis=1)

    found = correct(distances)
    result = {
        "accuracy": found.mean(),
        "accuracy_real": found[:size].mean(),
        "accuracy_generated": found[size:].mean(),
    }
    if size < LEAST_FOR_ERRORS:
        return result
    group = np.concatenate([intervals.groups(size), intervals.groups(size, seed=1)])
    without = [
        correct(np.where(group[indices] == left_out, np.inf, distances))[group != left_out].mean()
        for left_out in range(intervals.GROUPS)
    ]
    return {**result, "accuracy_standard_error": intervals.jackknife(without)}


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

    Returns:
      both, and their standard errors, where there are examples enough for one.
    """
    size = min(len(real), len(generated))
    real, generated = real[:size], generated[:size]
    precise, recalled = _covered(real, generated, neighbours)
    errors = _errors(real, generated, neighbours, _precision_recall_leaving_out)
    found = {"precision": precise.mean(), "recall": recalled.mean()}
    return found | {f"{name}_standard_error": error for name, error in errors.items()}


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


def _radii_leaving_out(points, neighbours, group):
    """[GROUPS, N] squared distances to the k-th neighbour outside each group; -infinity: a point of it."""
    count = min(neighbours + SPARE, len(points) - 1)
    squares, indices = nearest(points, points, count, leave_out_self=True)
    radii = np.full((intervals.GROUPS, len(points)), -np.inf)
    for left_out in range(intervals.GROUPS):
        # The k-th of those that stay; where fewer are known the furthest one.
        rank = np.cumsum(group[indices] != left_out, axis=1)
        place = np.minimum((rank < neighbours).sum(axis=1), count - 1)
        own = group == left_out
        radii[left_out, ~own] = squares[np.arange(len(points)), place][~own]
    return radii


def _balls_leaving_out(support, queries, neighbours, of_support, of_queries):
    """([GROUPS, Q] balls that each query is in, [GROUPS, Q] and [GROUPS, S] what is kept, [GROUPS, S] whether
    a ball has a query), with each group of both sets left out.
    """
    left_out = np.arange(intervals.GROUPS)[:, None]
    kept, kept_support = of_queries != left_out, of_support != left_out
    radii = _radii_leaving_out(support, neighbours, of_support)
    counts, occupied = balls_leaving_out(support, radii, queries, kept)
    return counts, kept, kept_support, occupied


def _errors(real, generated, neighbours, leaving_out):
    """{figure: standard error} by the grouped jackknife over both sets; {} for small ones.

    An example takes part in the balls of others, so a figure is no mean over independent examples. The
    jackknife's expectation is not below the variance (Efron & Stein 1981), and of balls it is above.

    Args:
      leaving_out: (real, generated, k, groups of the real, of the generated) -> {figure: [GROUPS]}.
    """
    if min(len(real), len(generated)) < LEAST_FOR_ERRORS:
        return {}
    of_groups = intervals.groups(len(real)), intervals.groups(len(generated), seed=1)
    found = leaving_out(_flat(real), _flat(generated), neighbours, *of_groups)
    return {name: intervals.jackknife(figures) for name, figures in found.items()}


def _mean(values, kept):
    return (values * kept).sum(axis=1) / kept.sum(axis=1)


def _precision_recall_leaving_out(real, generated, neighbours, of_real, of_generated):
    inside, kept, *_ = _balls_leaving_out(real, generated, neighbours, of_real, of_generated)
    recalled, kept_real, *_ = _balls_leaving_out(generated, real, neighbours, of_generated, of_real)
    return {"precision": _mean(inside > 0, kept), "recall": _mean(recalled > 0, kept_real)}


def _density_coverage_leaving_out(real, generated, neighbours, of_real, of_generated):
    inside, kept, kept_real, occupied = _balls_leaving_out(real, generated, neighbours, of_real, of_generated)
    return {"density": _mean(inside, kept) / neighbours, "coverage": _mean(occupied, kept_real)}


def _entry(value, error, sizes, count, interval=None):
    """The entry of a figure, a part of `count` examples unless its `interval` is another one.

    Args:
      error: None where there is none; sizes: of the reference, of the generated examples.
      interval: (value, error, count, degrees of freedom) -> [low, high].
    """
    entry = {"value": float(value), "n": sizes[1], "n_reference": sizes[0]}
    if error is None:
        return entry
    degrees = intervals.GROUPS - 1
    found = (interval or intervals.of_part)(float(value), float(error), count, degrees)
    return {**entry, "standard_error": float(error), "degrees_of_freedom": degrees, "interval": found}


def _of_density(value, error, count, degrees):
    low, high = intervals.symmetric(value, error, degrees)
    return [max(low, 0.0), high]


def precision_recall_figures(reference, generated, seed=0):
    """The entries of precision and recall of two FeatureSets, cut to the same size."""
    size = min(len(reference.features), len(generated.features))
    found = precision_recall(reference.features, generated.features)
    return {
        name: _entry(found[name], found.get(f"{name}_standard_error"), (size, size), size)
        for name in ("precision", "recall")
    }


def density_coverage_figures(reference, generated, seed=0):
    """The entries of density and coverage of two FeatureSets."""
    pair = reference.features, generated.features
    sizes = tuple(map(len, pair))
    errors = _errors(*pair, DENSITY_NEIGHBOURS, _density_coverage_leaving_out)
    found = density_coverage(*pair)
    # Where no ball has an example, that density's error is zero says nothing.
    error = errors.get("density") if found["density"] else None
    return {
        "density": _entry(found["density"], error, sizes, None, _of_density),
        "coverage": _entry(found["coverage"], errors.get("coverage"), sizes, sizes[0]),
    }


def one_nearest_neighbour_figure(reference, generated, seed=0):
    """The entry of the 1-NN accuracy of two FeatureSets, cut to the same size."""
    found = one_nearest_neighbour(reference.features, generated.features)
    size = min(len(reference.features), len(generated.features))
    return _entry(found["accuracy"], found.get("accuracy_standard_error"), (size, size), 2 * size)


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
    part, error = float(copied.mean()), float(copied.std() / np.sqrt(len(copied)))
    order = np.argsort(ratio, kind="stable")[:SHOWN]
    return {
        "value": part,
        "standard_error": error,
        "interval": intervals.of_part(part, error, len(copied)),
        "n": len(generated),
        "n_reference": len(training),
        "median_ratio": float(np.median(ratio)),
        "nearest_copies": [[int(i), int(found["nearest"][i]), float(ratio[i])] for i in order],
    }
