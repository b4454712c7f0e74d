"""DPM-Solver (Lu et al. 2022a): single-step exponential integrators in the noise prediction.

With lambda = log(alpha / sigma) and h its increase from t to s, the probability flow is
x_s = (alpha_s / alpha_t) x_t - alpha_s int e^-lambda eps d lambda, and a method of order k
expands eps about t with the help of k - 1 calls on the way.
"""

import dataclasses
import itertools
import math

from samplers.tape import Solver, points_between


def step(tape, order, t, mids, s):
    """Notes one step of DPM-Solver-1, -2 or -3 (algorithms 1, 2) from Point t to s.

    Args:
      mids: the Points at 1/2 (order 2) or at 1/3 and 2/3 (order 3) of the way in lambda.
    """
    x, h = tape.state, s.half_log_snr - t.half_log_snr
    noise = tape.eps(x, t)

    def first_order(q):
        return q.alpha / t.alpha * x - q.sigma * math.expm1(q.half_log_snr - t.half_log_snr) * noise

    if order == 1:
        tape.state = first_order(s)
    elif order == 2:
        (m,) = mids
        change = tape.eps(first_order(m), m) - noise
        tape.state = first_order(s) - s.sigma * math.expm1(h) * change
    else:
        m1, m2 = mids
        r1, r2 = 1 / 3, 2 / 3
        change = tape.eps(first_order(m1), m1) - noise
        bend = (math.expm1(r2 * h) / (r2 * h) - 1) * r2 / r1
        change = tape.eps(first_order(m2) - m2.sigma * bend * change, m2) - noise
        tape.state = first_order(s) - s.sigma / r2 * (math.expm1(h) / h - 1) * change


def fractions_of(order):
    """Where in lambda the calls of a step of that order stand, besides its beginning."""
    return {1: (), 2: (1 / 2,), 3: (1 / 3, 2 / 3)}[order]


def require_order(order, largest):
    """Raises ValueError for an order outside 1..largest."""
    if order not in range(1, largest + 1):
        raise ValueError(f"order={order} must be one of {', '.join(map(str, range(1, largest + 1)))}")


@dataclasses.dataclass(frozen=True)
class DPMSolver(Solver):
    """DPM-Solver-1, -2, -3: `order` calls a step.

    Attributes:
      order: 1 to 3.
    """

    order: int = 3

    def __post_init__(self):
        require_order(self.order, 3)

    def walk(self, tape, sde, points):
        between = [points_between(sde, points, fraction) for fraction in fractions_of(self.order)]
        for n, (p, q) in enumerate(itertools.pairwise(points)):
            step(tape, self.order, p, [m[n] for m in between], q)


@dataclasses.dataclass(frozen=True)
class DPMSolverFast(Solver):
    """DPM-Solver-fast (section 3.4): a given number of calls, split into steps of order 3.

    The last one or two steps are of lower order, so that the calls come out even. A final denoising
    is one call more.

    Attributes:
      steps: number of calls, not of steps.
    """

    steps: int = 15

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps={self.steps} must be positive")

    @property
    def orders(self):
        """The order of each step."""
        whole, rest = divmod(self.steps, 3)
        return [3] * whole + [rest] if rest else [3] * (whole - 1) + [2, 1]

    def intervals(self, steps):
        return len(self.orders)

    def walk(self, tape, sde, points):
        between = {f: points_between(sde, points, f) for f in (1 / 3, 1 / 2, 2 / 3)}
        for n, (order, p, q) in enumerate(zip(self.orders, points, points[1:], strict=False)):
            step(tape, order, p, [between[f][n] for f in fractions_of(order)], q)
