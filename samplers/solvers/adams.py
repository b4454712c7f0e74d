"""Adams methods on the probability flow, in any prediction and any variable.

Along the flow a scaled state changes by the integral of one prediction P alone,

    d(x / n) = P dm,        P = x0:   n = sigma,                       m = alpha / sigma
                            P = eps:  n = alpha,                       m = sigma / alpha
                            P = F:    n^2 = sigma^2 + s^2 alpha^2,     m = atan(s alpha / sigma)

the last with F = (sigma x0 / s - s alpha eps) / n, what EDM's network learns (Karras et al. 2022, eq. 8), and
minus the velocity v for s = 1 on a variance-preserving process. F vanishes for Gaussian data of standard
deviation s, so that only what is not Gaussian is left to approximate. A multistep method replaces P by the
polynomial in some variable (log-SNR, t, ...) through the last predictions: Adams and Bashforth's. With the
prediction at the end of the step it is Adams and Moulton's, which corrects the step without a call,
as UniPC does. DPM-Solver++(M), DEIS and UniPC are the cases (x0, log-SNR), (eps, t) and (x0, log-SNR)
with corrector; which of them the default takes for how many calls stands in docs/samplers.md.
"""

import dataclasses
import itertools
import math

import numpy as np

from samplers.solvers.dpm_solver import require_order
from samplers.solvers.exponential import lagrange
from samplers.tape import Solver, points_of_half_log_snr
from sde_lib.vp import VP

PREDICTIONS = ("x0", "eps", "f")


# config name -> value at a list of Points
VARIABLES = {
    "measure": None,
    "log_snr": lambda points: np.array([p.half_log_snr for p in points]),
    "t": lambda points: np.array([p.t for p in points]),
    "r": lambda points: np.array([p.r for p in points]),
    "vp_time": lambda points: vp_times([p.half_log_snr for p in points]),
}


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)


def vp_times(half_log_snr):
    """[N] the times at which the linear VP SDE has these values of log(alpha / sigma)."""
    return np.array([p.t for p in points_of_half_log_snr(VP(), half_log_snr)])


@dataclasses.dataclass(frozen=True)
class Adams(Solver):
    """Adams' methods: one call a step; order max(order, corrector_order), with lower orders at the start.

    Attributes:
      order: predictions in the predictor, 1 to 4.
      corrector_order: predictions in the corrector, that at the end of the step included; 0: none.
      prediction: x0, eps or f.
      variable: of which P is taken to be a polynomial: measure (m), log_snr, t, r = sigma / alpha, or
        vp_time, the time at which the linear VP SDE has the same log-SNR.
      data_std: s in F.
    """

    order: int = 3
    corrector_order: int = 0
    prediction: str = "f"
    variable: str = "log_snr"
    data_std: float = 1.0

    def __post_init__(self):
        require_order(self.order, 4)
        if self.corrector_order not in range(5):
            raise ValueError(f"corrector_order={self.corrector_order} must be one of 0, 1, 2, 3, 4")
        if self.prediction not in PREDICTIONS:
            raise ValueError(f'prediction="{self.prediction}" must be one of {", ".join(PREDICTIONS)}')
        if self.variable not in VARIABLES:
            raise ValueError(f'variable="{self.variable}" must be one of {", ".join(VARIABLES)}')
        if not self.data_std > 0:
            raise ValueError(f"data_std={self.data_std} must be positive")

    def scale(self, p):
        """The n of a Point."""
        own = {"x0": p.sigma, "eps": p.alpha, "f": math.hypot(p.sigma, self.data_std * p.alpha)}
        return own[self.prediction]

    def measure(self, p):
        """The m of a Point."""
        own = {"x0": 1 / p.r, "eps": p.r, "f": math.atan(self.data_std / p.r)}
        return own[self.prediction]

    def _slope(self, r):
        """The derivative of m by lambda at r [...]."""
        own = {"x0": 1 / r, "eps": -r, "f": r * self.data_std / (r**2 + self.data_std**2)}
        return own[self.prediction]

    def _predict(self, tape, p):
        n, s = self.scale(p), self.data_std
        weights = {"x0": (1.0, 0.0), "eps": (0.0, 1.0), "f": (p.sigma / (s * n), -s * p.alpha / n)}
        return tape.call(tape.state, p, weights[self.prediction])

    def _integrals(self, sde, points):
        """(n, newest, count) -> [count] weights of P at points newest, newest - 1, ... in step n."""
        variable = VARIABLES[self.variable] or (lambda points: np.array([self.measure(p) for p in points]))
        levels = np.array([p.half_log_snr for p in points])
        nodes = levels[:-1, None] + np.diff(levels)[:, None] * (1 + _NODES) / 2
        inside = points_of_half_log_snr(sde, nodes.reshape(-1))
        values, ends = variable(inside).reshape(nodes.shape), variable(points)
        slopes = self._slope(np.exp(-nodes)) * _WEIGHTS / 2 * np.diff(levels)[:, None]

        def integrals(n, newest, count):
            used, step = ends[newest::-1][:count], ends[n + 1] - ends[n]
            return lagrange((used - ends[n]) / step, (values[n] - ends[n]) / step) @ slopes[n]

        return integrals

    def walk(self, tape, sde, points):
        integrals = self._integrals(sde, points)
        history, predicted = [], None
        for n, (p, q) in enumerate(itertools.pairwise(points)):
            history = [self._predict(tape, p), *history][:5]
            if self.corrector_order and predicted is not None:
                # The step to p was taken by the predictor: the corrector's weights replace its own.
                corrected = integrals(n - 1, n, min(self.corrector_order, len(history)))
                for weight, prediction in zip(corrected, history, strict=False):
                    tape.state = tape.state + self.scale(p) * weight * prediction
                for weight, prediction in zip(predicted, history[1:], strict=False):
                    tape.state = tape.state - self.scale(p) * weight * prediction
            predicted = integrals(n, n, min(self.order, len(history)))
            moved = self.scale(q) / self.scale(p) * tape.state
            for weight, prediction in zip(predicted, history, strict=False):
                moved += self.scale(q) * weight * prediction
            tape.state = moved
