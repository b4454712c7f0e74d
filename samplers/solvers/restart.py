"""Restart sampling (Xu et al. 2023): up and down an interval of noise, again and again.

The probability flow is followed by Heun's method. When it has come down to restart_min, fresh noise
brings the state back up to restart_max by the forward process, and the flow is followed down
again: noise contracts what errors have piled up, the ODE adds few of its own.
"""

import dataclasses
import math

import numpy as np

from samplers.solvers.edm import EDM
from samplers.tape import Solver, points_at, points_of_half_log_snr


@dataclasses.dataclass(frozen=True)
class Restart(Solver):
    """Restart (algorithm 1) in one interval; two calls a step.

    Attributes:
      restart_min, restart_max: the interval, in units of sigma / alpha (the paper's CIFAR-10: 0.06, 0.30).
      restarts: K, number of times the interval is gone through again.
      restart_steps: steps of each, spaced evenly in (sigma / alpha)^(1/7).
    """

    restart_min: float = 0.06
    restart_max: float = 0.3
    restarts: int = 4
    restart_steps: int = 3

    def __post_init__(self):
        if not 0 < self.restart_min < self.restart_max:
            raise ValueError(
                f"restart_min={self.restart_min} and restart_max={self.restart_max} must satisfy "
                "0 < restart_min < restart_max"
            )
        if not 0 <= self.restarts <= 1000 or not 1 <= self.restart_steps <= 1000:
            raise ValueError(
                f"restarts={self.restarts} must lie in [0, 1000] and restart_steps={self.restart_steps} "
                "in [1, 1000]"
            )

    def _turn(self, points):
        """Where the flow turns back: the last point of the grid within the interval, or None."""
        inside = [
            n for n, p in enumerate(points) if self.restart_min <= p.r < min(self.restart_max, points[0].r)
        ]
        return inside[-1] if inside else None

    def refusal(self, sde, times):
        if self._turn(points_at(sde, times)) is None:
            return (
                "finds no time of the grid with sigma / alpha between "
                f"restart_min={self.restart_min} and restart_max={self.restart_max}. "
                "Use more sampling.steps or sampling.nfe, or a wider interval."
            )
        return None

    def walk(self, tape, sde, points):
        heun, turn = EDM(order=2), self._turn(points)
        heun.walk(tape, sde, points[: turn + 1])
        bottom = points[turn]
        top = min(self.restart_max, points[0].r)
        rho = np.linspace(top ** (1 / 7), bottom.r ** (1 / 7), self.restart_steps + 1)
        lap = points_of_half_log_snr(sde, -7 * np.log(rho))
        lap[-1] = bottom
        for _ in range(self.restarts):
            ratio = lap[0].alpha / bottom.alpha
            added = lap[0].alpha * math.sqrt(lap[0].r ** 2 - bottom.r**2)
            tape.state = ratio * tape.state + tape.noise(added)
            heun.walk(tape, sde, lap)
        if turn < len(points) - 1:
            heun.walk(tape, sde, points[turn:])
