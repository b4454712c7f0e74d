"""DEIS (Zhang & Chen 2023): Adams-Bashforth in the noise prediction.

In y = x / alpha and r = sigma / alpha the probability flow is dy/dr = eps. eps is replaced by the
polynomial, in t (tAB), r (rhoAB) or log-SNR, through the last predictions, and integrated on the host.
"""

import dataclasses
import itertools

import numpy as np

from samplers.solvers.dpm_solver import require_order
from samplers.solvers.exponential import lagrange, require_start, single_step, starting_mids, starting_order
from samplers.tape import Solver, points_of_half_log_snr

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)


# config name -> attribute of a Point
VARIABLES = {"t": "t", "r": "r", "log_snr": "half_log_snr"}


@dataclasses.dataclass(frozen=True)
class DEIS(Solver):
    """tAB-q or rhoAB-q: one call a step, the last q + 1 predictions, order q + 1.

    Attributes:
      order: q, 1 to 3 (q = 0 is DDIM).
      variable: of which eps is taken to be a polynomial: t (tAB), r = sigma / alpha (rhoAB), or log_snr,
        which gives the multistep form of DPM-Solver (Lu et al. 2022b, appendix B.6).
      start: lower_order, or single_step (DPM-Solver++ of order up to 3, two or three calls each).
    """

    order: int = 3
    variable: str = "t"
    start: str = "lower_order"

    def __post_init__(self):
        require_order(self.order, 3)
        require_start(self.start)
        if self.variable not in VARIABLES:
            raise ValueError(f'variable="{self.variable}" must be one of {", ".join(VARIABLES)}')

    def _integrals(self, sde, points):
        """For each step the weights [q + 1 or fewer] of eps, newest first."""
        levels = np.array([p.half_log_snr for p in points])
        nodes = levels[:-1, None] + np.diff(levels)[:, None] * (1 + _NODES) / 2
        inside = points_of_half_log_snr(sde, nodes.reshape(-1))
        value = np.array([getattr(p, VARIABLES[self.variable]) for p in inside]).reshape(nodes.shape)
        r = np.array([p.r for p in inside]).reshape(nodes.shape)
        ends = np.array([getattr(p, VARIABLES[self.variable]) for p in points])
        weights = []
        for n in range(len(points) - 1):
            # dr = -r d lambda
            element = -r[n] * _WEIGHTS / 2 * (levels[n + 1] - levels[n])
            used, step = ends[n::-1][: self.order + 1], ends[n + 1] - ends[n]
            weights.append(lagrange((used - ends[n]) / step, (value[n] - ends[n]) / step) @ element)
        return weights

    def walk(self, tape, sde, points):
        single = starting_order(self.start, self.order + 1)
        started = self.order if single > 1 else 0
        mids = starting_mids(sde, points, single) if started else None
        weights = self._integrals(sde, points)
        history = []
        for n, (p, q) in enumerate(itertools.pairwise(points)):
            if n < started:
                history = [single_step(tape, single, p, mids[n], q, remember="eps"), *history]
                continue
            history = [tape.eps(tape.state, p), *history][: self.order + 1]
            moved = q.alpha / p.alpha * tape.state
            for weight, noise in zip(weights[n], history, strict=True):
                moved += q.alpha * weight * noise
            tape.state = moved
