"""SA-Solver (Xue et al. 2023): stochastic Adams predictor and corrector of the reverse SDE.

The dynamics of samplers/exponential.py with noise level tau, a function of the noise level that is
constant on an interval and 0 outside. Predictor and corrector share their noise, so that the
corrected state differs from the predicted one by predictions alone, and costs no call.
"""

import dataclasses
import itertools
import math

from samplers.solvers.dpm_solver import require_order
from samplers.solvers.exponential import adams_weights, state_and_noise
from samplers.tape import Solver


@dataclasses.dataclass(frozen=True)
class SASolver(Solver):
    """SA-Solver (algorithm 1): one call a step.

    Attributes:
      order: of the predictor, 1 to 4.
      corrector_order: predictions in the corrector, that at the end of the step included; 0: none.
      tau: noise level; 0 follows the probability flow, 1 the reverse SDE.
      tau_min, tau_max: the sigma / alpha between which tau holds; 0 elsewhere.
    """

    order: int = 3
    corrector_order: int = 3
    tau: float = 1.0
    tau_min: float = 0.0
    tau_max: float = math.inf

    def __post_init__(self):
        require_order(self.order, 4)
        if self.corrector_order not in range(5):
            raise ValueError(f"corrector_order={self.corrector_order} must be one of 0, 1, 2, 3, 4")
        if not 0 <= self.tau <= 10:
            raise ValueError(f"tau={self.tau} must lie in [0, 10]")
        if not self.tau_min < self.tau_max:
            raise ValueError(f"tau_min={self.tau_min} must be below tau_max={self.tau_max}")

    def walk(self, tape, sde, points):
        history, correction = [], None
        for n, (p, q) in enumerate(itertools.pairwise(points)):
            new = tape.x0(tape.state, p)
            if correction is not None:
                tape.state = correction(tape.state, new)
            history = [new, *history][:4]
            tau = self.tau if self.tau_min <= p.r <= self.tau_max else 0.0
            used = history[: self.order]
            nodes = [points[n - j].half_log_snr for j in range(len(history))]
            weights = adams_weights(nodes[: len(used)], p, q, tau)
            decay, std = state_and_noise(p, q, tau)
            moved = decay * tape.state
            for weight, prediction in zip(weights, used, strict=True):
                moved += weight * prediction
            tape.state = moved + tape.noise(std)
            if self.corrector_order:
                correction = self._correction(p, q, tau, nodes, used, weights, history)

    def _correction(self, p, q, tau, nodes, used, weights, history):
        """(predicted state, new prediction) -> corrected state: the difference of the two polynomials."""
        kept = history[: self.corrector_order - 1]
        implicit = adams_weights([q.half_log_snr, *nodes[: len(kept)]], p, q, tau)

        def correct(state, new):
            state = state + implicit[0] * new
            for weight, prediction in zip(implicit[1:], kept, strict=True):
                state += weight * prediction
            for weight, prediction in zip(weights, used, strict=True):
                state -= weight * prediction
            return state

        return correct
