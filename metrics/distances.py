"""Distances between all pairs of two sets of features, in blocks: nearest neighbours, and points in balls.

Matrix products in float32 say which pairs are near; what is decided or returned is computed in float64 from
the differences of the few pairs that they leave open. So equal points are at distance 0, a pair's distance
is the same whichever set is asked, and results are those of float64 throughout at half the time.
"""

import numpy as np

# Pairs whose squared distance is in memory at a time.
PAIRS = 2**25
# Of float32 products: error of |x|^2 + |y|^2 - 2 x.y in units of (|x| + |y|)^2; a bound for random rounding.
_ROUNDING = 16 * float(np.finfo(np.float32).eps)


def exact(x, y):
    """[..., ] squared distances in float64 between rows of x and of y, [..., D] each."""
    difference = np.asarray(x, np.float64) - np.asarray(y, np.float64)
    return np.einsum("...d,...d->...", difference, difference)


class Screened:
    """Rough squared distances from queries to a support, and how far off they may be.

    Args:
      queries: [Q, D]; support: [S, D].
    """

    def __init__(self, queries, support):
        self.queries, self.support = queries, support
        # Distances do not change, and rounding is relative to the norms.
        center = np.mean(support[: 2**14], axis=0, dtype=np.float64)
        # Largest entry 1: no square overflows.
        scale = max(float(np.abs(support - center).max()), float(np.abs(queries - center).max())) or 1.0
        self._unit = scale**2
        self._q, self._s = (((a - center) / scale).astype(np.float32) for a in (queries, support))
        self._norms = (self._s.astype(np.float64) ** 2).sum(axis=1)
        self.step = max(1, PAIRS // len(support))

    def blocks(self):
        """Yields (slice of queries, [B, S] rough squared distances, [B, 1] bounds of their error)."""
        for first in range(0, len(self._q), self.step):
            rows = slice(first, first + self.step)
            q = self._q[rows]
            norms = (q.astype(np.float64) ** 2).sum(axis=1)[:, None]
            squares = (q @ self._s.T) * np.float32(-2)
            squares += norms.astype(np.float32)
            squares += self._norms.astype(np.float32)
            bound = _ROUNDING * (np.sqrt(norms) + np.sqrt(self._norms.max())) ** 2
            yield rows, squares * np.float32(self._unit), bound * self._unit


def nearest(support, queries, count, leave_out_self=False):
    """The nearest support points of each query, nearest first.

    Args:
      support: [S, D]; queries: [Q, D], both finite.
      count: of neighbours.
      leave_out_self: the queries are the support, and none is its own neighbour.

    Returns:
      ([Q, count] squared distances in float64, [Q, count] indices).
    """
    available = len(support) - leave_out_self
    if available < count:
        raise ValueError(f"{count} neighbours are asked for, of {available} points")
    squares, indices = np.empty((len(queries), count)), np.empty((len(queries), count), np.int64)
    screened = Screened(queries, support)
    for rows, rough, bound in screened.blocks():
        if leave_out_self:
            rough[np.arange(len(rough)), np.arange(len(rough)) + rows.start] = np.inf
        reach = np.partition(rough, count - 1, axis=1)[:, count - 1 : count] + 2 * bound
        for i, near in enumerate(rough <= reach):
            candidates = np.flatnonzero(near)
            found = exact(queries[rows.start + i], support[candidates])
            order = np.argsort(found, kind="stable")[:count]
            squares[rows.start + i], indices[rows.start + i] = found[order], candidates[order]
    return squares, indices


def _inside(screened, rows, rough, bound, squared_radii):
    """[B, S] whether the queries of a block of `screened` are in balls, borders included."""
    margin = rough - squared_radii.astype(np.float32)
    # The radii, too, are rounded.
    bound = bound + np.finfo(np.float32).eps * squared_radii.max()
    inside = margin < -bound
    query, ball = np.nonzero((margin <= bound) & ~inside)
    for first in range(0, len(query), 4096):
        q, s = query[first : first + 4096], ball[first : first + 4096]
        squares = exact(screened.queries[rows.start + q], screened.support[s])
        inside[q, s] = squares <= squared_radii[s]
    return inside


def balls_around(support, squared_radii, queries):
    """[Q] number of balls around support points [S, D] that each query [Q, D] is in, borders included."""
    counts, screened = np.empty(len(queries), np.int64), Screened(queries, support)
    for rows, rough, bound in screened.blocks():
        counts[rows] = _inside(screened, rows, rough, bound, squared_radii).sum(axis=1)
    return counts


def balls_leaving_out(support, squared_radii, queries, kept):
    """The same of several choices of balls and queries at once, and which balls have a query.

    Args:
      support: [S, D]; squared_radii: [G, S], minus infinity where a ball is left out; queries: [Q, D].
      kept: [G, Q] whether a query is.

    Returns:
      ([G, Q] number of balls that each query is in, [G, S] whether a query that is kept is in each ball).
    """
    counts, occupied = np.zeros(kept.shape, np.int64), np.zeros(squared_radii.shape, bool)
    screened = Screened(queries, support)
    for rows, rough, bound in screened.blocks():
        for group, own in enumerate(squared_radii):
            inside = _inside(screened, rows, rough, bound, own)
            counts[group, rows] = inside.sum(axis=1)
            occupied[group] |= inside[kept[group, rows]].any(axis=0)
    return counts, occupied
