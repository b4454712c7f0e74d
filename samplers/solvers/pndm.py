"""PNDM and PLMS (Liu et al. 2022): classical multistep formulas on eps, moved along by DDIM's step.

    x_s = (alpha_s / alpha_t) x_t + (sigma_s - sigma_t alpha_s / alpha_t) eps'

with eps' the Adams-Bashforth combination of the last predictions, whose weights assume equal steps.
"""

import dataclasses
import itertools

from samplers.solvers.dpm_solver import require_order
from samplers.tape import Solver, points_at

_WEIGHTS = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}


STARTS = ("lower_order", "runge_kutta")


def _transfer(x, noise, p, q):
    """DDIM's step from Point p to q with a given noise (eq. 11)."""
    return q.alpha / p.alpha * x + (q.sigma - p.sigma * q.alpha / p.alpha) * noise


@dataclasses.dataclass(frozen=True)
class PNDM(Solver):
    """PNDM (start=runge_kutta) and PLMS (start=lower_order); one call a step after the start.

    On our grids, whose steps are uneven, of second order.

    Attributes:
      order: 1 to 4 predictions.
      start: runge_kutta, the paper's pseudo Runge-Kutta steps of four calls (eq. 13), or lower_order.
    """

    order: int = 4
    start: str = "lower_order"

    def __post_init__(self):
        require_order(self.order, 4)
        if self.start not in STARTS:
            raise ValueError(f'start="{self.start}" must be one of {", ".join(STARTS)}')

    def _runge_kutta(self, tape, p, m, q):
        x = tape.state
        e1 = tape.eps(x, p)
        e2 = tape.eps(_transfer(x, e1, p, m), m)
        e3 = tape.eps(_transfer(x, e2, p, m), m)
        e4 = tape.eps(_transfer(x, e3, p, q), q)
        tape.state = _transfer(x, (e1 + 2 * e2 + 2 * e3 + e4) / 6, p, q)
        return e1

    def walk(self, tape, sde, points):
        middles = points_at(sde, [(p.t + q.t) / 2 for p, q in itertools.pairwise(points)])
        history = []
        for n, (p, q) in enumerate(itertools.pairwise(points)):
            if self.start == "runge_kutta" and n < self.order - 1:
                history = [self._runge_kutta(tape, p, middles[n], q), *history]
                continue
            history = [tape.eps(tape.state, p), *history][: self.order]
            weights = _WEIGHTS[len(history)]
            noise = weights[0] * history[0]
            for weight, older in zip(weights[1:], history[1:], strict=True):
                noise += weight * older
            tape.state = _transfer(tape.state, noise, p, q)
