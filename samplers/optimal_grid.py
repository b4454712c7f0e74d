"""The best noise levels for a number of steps, by dynamic programming (Watson et al. 2021; Bao et al. 2022a).

The discrete-time bound is a sum over pairs of neighbouring levels, whatever lies beyond. So from the costs of
all pairs of a fine grid the sub-sequence with the smallest bound is a least-cost path.
"""

import dataclasses
import itertools
import json

import numpy as np

from workdir.files import read_arrays


@dataclasses.dataclass(frozen=True)
class PairCosts:
    """The discrete-time bound as a table over pairs of levels.

    Attributes:
      times: [N] increasing.
      first: [N, N] nats of beginning a path with levels i < j: the decoder at i, which may depend on
        the level above it, and the transition from j to i.
      costs: [N, N] nats of the transition from level j to level i < j.
      about: what was measured: parameters, sde, variance, prior (the nats of every path's end) and more.
    """

    times: np.ndarray
    first: np.ndarray
    costs: np.ndarray
    about: dict

    def optimal(self, steps):
        """(indices [steps] of the levels with the smallest bound, the bound in nats without the prior)."""
        return least_cost_path(self.first, self.costs, steps)

    def along(self, levels):
        """The bound in nats, without the prior, on the levels with these increasing indices."""
        pairs = itertools.pairwise(levels[1:])
        return float(self.first[levels[0], levels[1]] + sum(self.costs[pair] for pair in pairs))


def save(path, found):
    """Writes PairCosts to an .npz file."""
    arrays = {name: getattr(found, name) for name in ("times", "first", "costs")}
    np.savez(path, **arrays, about=json.dumps(found.about))


def load(path):
    """The PairCosts that `save` wrote.

    Raises:
      ValueError: no such file, or a damaged one.
    """
    arrays, about = read_arrays(path, ("times", "first", "costs"), "grid_file", "trajectory")
    times, first, costs = arrays["times"], arrays["first"], arrays["costs"]
    square = (len(times), len(times))
    above = np.triu(np.ones(square, bool), 1)
    whole = times.ndim == 1 and len(times) > 1 and first.shape == costs.shape == square
    if not (whole and (np.diff(times) > 0).all() and np.isfinite([first[above], costs[above]]).all()):
        raise ValueError(f"{path} holds no finite costs of pairs of levels; --mode=trajectory writes it")
    return PairCosts(times, first, costs, about)


def least_cost_path(first, costs, steps):
    """The `steps` levels, the last one included, with the smallest sum of costs.

    Args:
      first, costs: see PairCosts.
      steps: number of levels of the path, 2 to N.

    Returns:
      (indices [steps] increasing, ending at N - 1; total cost).

    Raises:
      ValueError: too few or too many steps.
    """
    count = len(costs)
    if not 2 <= steps <= count:
        raise ValueError(f"steps={steps} must lie in 2..{count}")
    above = np.triu(np.ones((count, count), bool), 1)
    first, costs = (np.where(above, a, np.inf) for a in (first, costs))
    came, best = [first.argmin(axis=0)], first.min(axis=0)
    for _ in range(steps - 2):
        totals = best[:, None] + costs
        came.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    path = [count - 1]
    for previous in reversed(came):
        path.append(int(previous[path[-1]]))
    return np.array(path[::-1]), float(best[-1])
