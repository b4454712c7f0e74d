"""DPM-Solver++ and SDE-DPM-Solver++ (Lu et al. 2022b): exponential integrators in the data prediction."""

import dataclasses
import itertools
import math

from samplers.solvers.dpm_solver import require_order
from samplers.solvers.exponential import (
    adams_weights,
    require_start,
    single_step,
    starting_mids,
    starting_order,
    state_and_noise,
)
from samplers.tape import Solver


@dataclasses.dataclass(frozen=True)
class SingleStep(Solver):
    """DPM-Solver++(1S), (2S), (3S): `order` calls a step.

    Attributes:
      order: 1 to 3.
    """

    order: int = 2

    def __post_init__(self):
        require_order(self.order, 3)

    def walk(self, tape, sde, points):
        mids = starting_mids(sde, points, self.order)
        for p, q, between in zip(points, points[1:], mids, strict=False):
            single_step(tape, self.order, p, between, q)


def _published(points, n, order, tau):
    """Weights of the predictions, newest first, in the forms of the paper's text and code."""
    p, q = points[n], points[n + 1]
    h, k = q.half_log_snr - p.half_log_snr, 1 + tau**2
    first = -q.alpha * math.expm1(-k * h)
    if order == 1:
        return [first]
    r0 = (p.half_log_snr - points[n - 1].half_log_snr) / h
    if order == 2:
        return [first * (1 + 0.5 / r0), -first * 0.5 / r0]
    r1 = (points[n - 1].half_log_snr - points[n - 2].half_log_snr) / h
    once = q.alpha * (math.expm1(-h) / h + 1)
    twice = q.alpha * ((math.expm1(-h) + h) / h**2 - 0.5)
    # D' h = d0 + r0 / (r0 + r1) (d0 - d1) and (d0 - d1) / (r0 + r1), where D'' h^2 is twice that.
    total = r0 + r1
    from_d0 = once * (1 + r0 / total) - twice / total
    from_d1 = -once * r0 / total + twice / total
    return [first + from_d0 / r0, -from_d0 / r0 + from_d1 / r1, -from_d1 / r1]


def _multistep(solver, tape, sde, points, tau):
    single = starting_order(solver.start, solver.order)
    mids = starting_mids(sde, points, single) if single > 1 else None
    history = []
    for n, (p, q) in enumerate(itertools.pairwise(points)):
        if n < solver.order - 1 and single > 1:
            history = [single_step(tape, single, p, mids[n], q), *history]
            continue
        history = [tape.x0(tape.state, p), *history][: solver.order]
        order = len(history)
        if solver.published:
            weights = _published(points, n, order, tau)
        else:
            nodes = [points[n - j].half_log_snr for j in range(order)]
            weights = adams_weights(nodes, p, q, tau)
        decay, std = state_and_noise(p, q, tau)
        moved = decay * tape.state
        for weight, prediction in zip(weights, history, strict=True):
            moved += weight * prediction
        tape.state = moved + tape.noise(std)


@dataclasses.dataclass(frozen=True)
class Multistep(Solver):
    """DPM-Solver++(1), (2M), (3M): one call a step, D a polynomial in lambda through the last ones.

    Attributes:
      order: 1 to 3.
      published: the forms of the paper and its code: order 2 with (1 - e^-h) / 2 in place of the exact
        integral, which is of order 2 as well; order 3 without the factor 2 of the second derivative,
        which leaves order 2.
      start: lower_order (the first steps are of order 1, 2, ...: the whole is then of order 2), or
        single_step (of the same order, two or three calls each).
    """

    order: int = 2
    published: bool = False
    start: str = "lower_order"

    def __post_init__(self):
        require_order(self.order, 3)
        require_start(self.start)

    def walk(self, tape, sde, points):
        _multistep(self, tape, sde, points, tau=0.0)


@dataclasses.dataclass(frozen=True)
class Stochastic(Solver):
    """SDE-DPM-Solver++(1), (2M) and, in the same way, (3M): the reverse SDE, one call a step.

    Attributes:
      order: 1 to 3 of the polynomial; the noise limits the strong order to 1.
      published: the paper's (2M), D + (D - D_before) / (2 r) in place of D, not the exact integral.
    """

    order: int = 2
    published: bool = False
    start: str = dataclasses.field(default="lower_order", init=False)

    def __post_init__(self):
        require_order(self.order, 3)
        if self.published and self.order == 3:
            raise ValueError("published=True is a form of orders 1 and 2; order 3 has no published one")

    def walk(self, tape, sde, points):
        _multistep(self, tape, sde, points, tau=1.0)
