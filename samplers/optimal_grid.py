"""The best noise levels for a number of steps, by dynamic programming (Watson et al. 2021; Bao et al. 2022a).

In the discrete-time bound each term depends only on two neighbouring levels. So the best K of N levels are a
shortest path, found from the costs of all pairs.
"""

import dataclasses
import itertools

import numpy as np

from components import FileKind, Numbers

PAIR_COSTS_FILE = FileKind(
    {
        "times": Numbers(("N",), low=1e-30, increasing=True),
        "first": Numbers(("N", "N")),
        "costs": Numbers(("N", "N")),
    },
    mode="optimal_grid",
    lengths={"N": (2, 100_000)},
    origin=("sde", "variance"),
)


@dataclasses.dataclass(frozen=True)
class PairCosts:
    """The discrete-time bound as a table over pairs of levels.

    Attributes:
      times: [N] increasing.
      first: [N, N] nats of beginning a path with levels i < j: the decoder at i, which may depend on
        the level above it, and the transition from j to i.
      costs: [N, N] nats of the transition from level j to level i < j.
    """

    times: np.ndarray
    first: np.ndarray
    costs: np.ndarray

    def optimal(self, steps):
        """(indices [steps] of the levels with the smallest bound, the bound in nats without the prior)."""
        return least_cost_path(self.first, self.costs, steps)

    def along(self, levels):
        """The bound in nats, without the prior, on the levels with these increasing indices."""
        pairs = itertools.pairwise(levels[1:])
        return float(self.first[levels[0], levels[1]] + sum(self.costs[pair] for pair in pairs))


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
