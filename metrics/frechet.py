"""The Frechet distance between Gaussians with the moments of two sets of features, in float64.

    |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a^1/2 S_b S_a^1/2)^1/2)        (Dowson & Landau 1982)

On Inception's features it is FID (Heusel et al. 2017), on DINOv2's FD-DINOv2 (Stein et al. 2023), on
spatial ones sFID (Nash et al. 2021). Its bias is of order 1/N and grows with the dimension: figures of
different N are not compared, and `extrapolated` estimates its limit (Chong & Forsyth 2020).
"""

import dataclasses
import functools

import numpy as np

# Rows whose float64 copy is in memory at a time.
BLOCK = 4096
EXTRAPOLATION_POINTS = 15


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Mean and covariance of features.

    Attributes:
      mean: [D] float64; covariance: [D, D] float64, divided by count - 1.
      count: number of examples; None: not known, as in files of mean and covariance alone.
      root: [D, D] the covariance's square root, where it was computed before (`covariance_root`).
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int | None
    root: np.ndarray | None = None

    @functools.cached_property
    def covariance_root(self):
        """The square root of the covariance; computed once."""
        return covariance_root(self.covariance) if self.root is None else self.root


def _rows(features):
    for first in range(0, len(features), BLOCK):
        yield np.asarray(features[first : first + BLOCK], np.float64)


def _sums(rows):
    """(count, mean, sum of outer products of deviations) of some rows."""
    mean = rows.mean(axis=0)
    deviations = rows - mean
    return len(rows), mean, deviations.T @ deviations


def _joined(a, b):
    """The sums of two parts together (Chan, Golub & LeVeque 1979, eq. 2.1)."""
    (count_a, mean_a, outer_a), (count_b, mean_b, outer_b) = a, b
    count, apart = count_a + count_b, mean_b - mean_a
    mean = mean_a + apart * (count_b / count)
    return count, mean, outer_a + outer_b + np.outer(apart, apart) * (count_a * count_b / count)


def _as_moments(sums):
    count, mean, outer = sums
    if count < 2:
        raise ValueError(f"a covariance takes 2 examples, and there is {count}")
    return Moments(mean, outer / (count - 1), count)


def moments(features):
    """The Moments of features [N, D] of any precision, N of 2 or more.

    >>> moments(np.array([[0.0, 1.0], [2.0, 1.0]])).covariance.tolist()
    [[2.0, 0.0], [0.0, 0.0]]
    """
    features = np.asarray(features)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"moments take features [N, D] of 2 examples or more, not {features.shape}")
    return _as_moments(functools.reduce(_joined, map(_sums, _rows(features))))


def combined(parts):
    """The Moments of several sets together, from theirs: features come by parts and are not kept.

    Args:
      parts: an iterable of Moments.
    """
    return _as_moments(
        functools.reduce(_joined, ((p.count, p.mean, p.covariance * (p.count - 1)) for p in parts))
    )


def covariance_root(covariance):
    """The symmetric square root [D, D] of a covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def _product(a, b, root):
    """(S_a^1/2, S_a^1/2 S_b S_a^1/2)."""
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features of {len(a.mean)} and of {len(b.mean)} dimensions are not compared")
    root = a.covariance_root if root is None else root
    product = root @ b.covariance @ root
    return root, (product + product.T) / 2


def _rank(a, b):
    """The largest rank of the product: examples fewer than dimensions leave its other eigenvalues zero."""
    return min([len(a.mean), *(m.count - 1 for m in (a, b) if m.count is not None)])


def _distance(a, b, values):
    # Rounding scatters what else is zero, as for columns that are sums of others, evenly around zero: with
    # their signs kept the roots cancel, while those of the positive ones alone would add up.
    values = values[-_rank(a, b) :]
    overlap = np.sum(np.sign(values) * np.sqrt(np.abs(values)))
    return float(
        np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance) + np.trace(b.covariance) - 2 * overlap
    )


def frechet_distance(a, b, root=None):
    """The Frechet distance between two Moments.

    Args:
      a, b: Moments of features of the same dimension; covariances may be singular.
      root: [D, D] `covariance_root(a.covariance)`; None: a's own, computed once for each a.

    >>> a = Moments(np.zeros(2), np.eye(2), 100)
    >>> b = Moments(np.array([3.0, 0.0]), 4 * np.eye(2), 100)
    >>> round(frechet_distance(a, b), 12)
    11.0
    """
    _, product = _product(a, b, root)
    return _distance(a, b, np.linalg.eigvalsh(product))


def distance_and_influence(a, b, features, root=None):
    """The Frechet distance, and its derivatives with respect to the weight of each example of b.

    With d = x - m_b and T = S_a^1/2 (S_a^1/2 S_b S_a^1/2)^-1/2 S_a^1/2, the map that transports b's
    Gaussian to a's, the gradient is 2 (m_b - m_a) in the mean and 1 - T in the covariance, so that

        influence(x) = 2 (m_b - m_a).d + d.(1 - T) d - tr((1 - T) S_b).

    Weights of examples leave the range of S_b as it is: where it is singular, the pseudo-inverse is right.

    Args:
      a, b: Moments; features: [N, D] b's examples.
      root: as in `frechet_distance`.

    Returns:
      (distance, [N] influences), from one eigendecomposition. The influences' mean is zero.
    """
    root, product = _product(a, b, root)
    values, vectors = np.linalg.eigh(product)
    kept = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0)
    kept[: len(values) - _rank(a, b)] = False
    # T = half half'
    half = root @ (vectors[:, kept] * values[kept] ** -0.25)
    apart = 2 * (b.mean - a.mean)
    parts = []
    for rows in _rows(features):
        d = rows - b.mean
        parts.append(d @ apart + (d**2).sum(axis=1) - ((d @ half) ** 2).sum(axis=1))
    influence = np.concatenate(parts)
    return _distance(a, b, values), influence - influence.mean()


def standard_error(influence):
    """Of a figure with these influences [N], by the infinitesimal jackknife (Efron 1982, chapter 6)."""
    return float(np.sqrt(np.sum(influence**2) / (len(influence) * (len(influence) - 1))))


def extrapolated(reference, features, influence=None, points=EXTRAPOLATION_POINTS, seed=0):
    """The Frechet distance to infinitely many examples, FID_inf (Chong & Forsyth 2020, section 4).

    The distance of the first N/10, ..., N of the examples, in random order, is fitted by a line in 1/N,
    whose intercept it is. The reference's number of examples is left as it is.

    Args:
      reference: Moments; features: [N, D], N of 20 or more.
      influence: [N] of `distance_and_influence`; None: no standard error.
      points: numbers of examples, evenly spaced.

    Returns:
      {"value", "slope", "standard_error"}: the distance of N examples is about value + slope / N. The
      intercept is a sum of distances with known weights, whose influences add up.
    """
    order = np.random.default_rng(seed).permutation(len(features))
    counts = np.unique(np.linspace(len(features) / 10, len(features), points).astype(int))
    if counts[0] < 2:
        raise ValueError(f"the extrapolation takes 20 examples, and there are {len(features)}")
    sums, done, distances = None, 0, []
    for count in counts:
        for rows in _rows(features[np.sort(order[done:count])]):
            sums = _sums(rows) if sums is None else _joined(sums, _sums(rows))
        done = count
        distances.append(frechet_distance(reference, _as_moments(sums)))
    design = np.stack([np.ones(len(counts)), 1 / counts], axis=1)
    weights = np.linalg.pinv(design)
    value, slope = weights @ distances
    found = {"value": float(value), "slope": float(slope)}
    if influence is not None:
        # An example has a part in the distances of at least so many examples as its place in the order.
        place = np.searchsorted(counts, np.arange(len(order)), side="right")
        of_place = np.cumsum((weights[0] / counts)[::-1])[::-1][place]
        found["standard_error"] = float(np.sqrt(np.sum((influence[order] * of_place) ** 2)))
    return found


def figure(reference, generated, seed=0):
    """The entry of the Frechet distance between two FeatureSets.

    Its standard error is of the generated examples' sampling, with the reference as it is;
    `standard_error_of_both` adds the reference's, where its features are known. Neither says anything of
    the bias at this n.
    """
    a, b = reference.statistics, generated.statistics
    entry = {"n": b.count, "n_reference": a.count, "dimensions": len(a.mean)}
    if generated.features is None:
        return {"value": frechet_distance(a, b), **entry}
    value, influence = distance_and_influence(a, b, generated.features)
    entry = {"value": value, "standard_error": standard_error(influence), **entry}
    if reference.features is not None:
        _, of_reference = distance_and_influence(b, a, reference.features)
        entry["standard_error_of_both"] = float(
            np.hypot(entry["standard_error"], standard_error(of_reference))
        )
    return entry


def spatial_figure(reference, generated, seed=0):
    """The same of the spatial features, sFID (Nash et al. 2021)."""
    return figure(reference.of_spatial, generated.of_spatial)


def extrapolated_figure(reference, generated, seed=0):
    """The entry of FID_inf."""
    a, b = reference.statistics, generated.statistics
    _, influence = distance_and_influence(a, b, generated.features)
    found = extrapolated(a, generated.features, influence, seed=seed)
    return {**found, "n": b.count, "n_reference": a.count, "dimensions": len(a.mean)}
