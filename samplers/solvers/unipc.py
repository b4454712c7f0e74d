"""UniPC (Zhao et al. 2023): a multistep predictor and a corrector that costs no call, of any order.

In the data prediction, with lambda = log(alpha / sigma), h its increase over the step, r_k the distance
of the k-th earlier point in units of h (r_p = 1 for the end of the step) and m_k = (D_k - D_0) / r_k,

    x_s = (sigma_s / sigma_t) x_t - alpha_s (e^-h - 1) D_0 - alpha_s B(h) sum_k rho_k m_k

where rho solves sum_k r_k^(j-1) rho_k = j! g_j / B(h) (eqs. 5 to 9 and appendix).
"""

import dataclasses
import itertools
import math

import numpy as np

from samplers.solvers.dpm_solver import require_order
from samplers.solvers.exponential import require_start, single_step, starting_mids, starting_order
from samplers.tape import Solver

VARIANTS = ("bh1", "bh2")


@dataclasses.dataclass(frozen=True)
class UniPC(Solver):
    """UniPC-p: order p + 1 with the corrector, p without it (UniP-p). One call a step.

    The prediction at the predicted point serves the corrector and the next step. No corrector follows
    the last step, where it would cost a call.

    Attributes:
      order: p, 1 to 4.
      variant: B(h) = bh1 (h) or bh2 (expm1(h)); they differ for p = 2, and in the corrector of p = 1.
      unic: whether to correct (the paper's name of the corrector).
      start: lower_order, or single_step (DPM-Solver++ of order up to 3, two or three calls each).
    """

    order: int = 3
    variant: str = "bh2"
    unic: bool = True
    start: str = "lower_order"

    def __post_init__(self):
        require_order(self.order, 4)
        require_start(self.start)
        if self.variant not in VARIANTS:
            raise ValueError(f'variant="{self.variant}" must be one of {", ".join(VARIANTS)}')

    def _rho(self, h, r, halved):
        """The weights times B: solves the system of as many rows as r has entries."""
        hh = -h
        b = hh if self.variant == "bh1" else math.expm1(hh)
        if halved:
            return b * np.array([0.5])
        g, right = math.expm1(hh) / hh - 1, []
        for j in range(1, len(r) + 1):
            right.append(g * math.factorial(j))
            g = g / hh - 1 / math.factorial(j + 1)
        matrix = np.array([[x**j for x in r] for j in range(len(r))])
        return np.linalg.solve(matrix, np.array(right))

    def _moved(self, state, p, q, history, points_before, end=None):
        """The state at q; with `end`, the prediction there, corrected."""
        h = q.half_log_snr - p.half_log_snr
        r = [(before.half_log_snr - p.half_log_snr) / h for before in points_before]
        moved = q.sigma / p.sigma * state - q.alpha * math.expm1(-h) * history[0]
        differences = [(d - history[0]) / ratio for d, ratio in zip(history[1:], r, strict=True)]
        if end is not None:
            r, differences = [*r, 1.0], [*differences, end - history[0]]
        if not r:
            return moved
        # With one row the paper takes 1/2: exact to its order, and without a division by small h.
        for weight, difference in zip(self._rho(h, r, halved=len(r) == 1), differences, strict=True):
            moved -= q.alpha * weight * difference
        return moved

    def walk(self, tape, sde, points):
        single = starting_order(self.start, self.order)
        mids = starting_mids(sde, points, single) if single > 1 else None
        started = self.order - 1 if single > 1 else 0
        history = []  # predictions, newest first
        for n, (p, q) in enumerate(itertools.pairwise(points)):
            if n < started:
                history = [single_step(tape, single, p, mids[n], q), *history]
                continue
            if n == started:
                history = [tape.x0(tape.state, p), *history][: self.order]
            order = min(self.order, n + 1)
            history = history[:order]
            before = [points[n - j] for j in range(1, order)]
            predicted = self._moved(tape.state, p, q, history, before)
            if n == len(points) - 2:
                tape.state = predicted
            elif self.unic:
                new = tape.x0(predicted, q)
                tape.state = self._moved(tape.state, p, q, history, before, end=new)
                history = [new, *history]
            else:
                tape.state = predicted
                history = [tape.x0(tape.state, q), *history]
