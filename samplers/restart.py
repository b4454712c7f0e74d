"""Restart sampling (Xu et al. 2023): up and down an interval of noise, again and again.

The probability flow is followed by Heun's method. When it has come down to restart_min, fresh noise
brings the state back up to restart_max by the forward process, and the flow is followed down
again: noise contracts what errors have piled up, the ODE adds few of its own.
"""

import dataclasses
import math

import numpy as np

from samplers.edm import EDM
from samplers.tape import Solver, points_of_half_log_snr


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
        if self.restarts < 0 or self.restart_steps < 1:
            raise ValueError(
                f"restarts={self.restarts} must not be negative and restart_steps={self.restart_steps} "
                "must be positive"
            )

    def walk(self, tape, sde, points):
        heun = EDM(order=2)
        r = np.array([p.r for p in points])
        inside = np.flatnonzero((r >= self.restart_min) & (r <= self.restart_max) & (r < r[0]))
        # The end of the interval is the last point of the grid within it; a grid without one has none.
        turn = int(inside[-1]) if len(inside) else len(points) - 1
        heun.walk(tape, sde, points[: turn + 1])
        bottom = points[turn]
        rho = np.linspace(min(self.restart_max, r[0]) ** (1 / 7), bottom.r ** (1 / 7), self.restart_steps + 1)
        if len(inside) and rho[0] > rho[-1]:
            lap = points_of_half_log_snr(sde, -7 * np.log(rho))
            lap[-1] = bottom
            for _ in range(self.restarts):
                ratio = lap[0].alpha / bottom.alpha
                added = lap[0].alpha * math.sqrt(lap[0].r ** 2 - bottom.r**2)
                tape.state = ratio * tape.state + tape.noise(added)
                heun.walk(tape, sde, lap)
        if turn < len(points) - 1:
            heun.walk(tape, sde, points[turn:])
