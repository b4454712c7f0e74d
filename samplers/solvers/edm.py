"""The samplers of EDM (Karras et al. 2022), in y = x / alpha and r = sigma / alpha.

In these variables the probability flow of every linear SDE is dy/dr = eps, so that what the
paper does in x and sigma serves every process.
"""

import dataclasses
import math

from samplers.tape import Solver, points_of_half_log_snr


@dataclasses.dataclass(frozen=True)
class EDM(Solver):
    """Algorithm 2 of Karras et al. (2022); algorithm 1 without churn.

    At each step noise is added first, r to r (1 + gamma) with gamma = min(churn / N, sqrt(2) - 1) where
    churn_min <= r <= churn_max; then Euler's step (order 1), corrected by Heun's (order 2, two calls).
    With final_denoise the last step is Euler's into r = 0, the paper's, without churn.

    Attributes:
      order: 1 (Euler) or 2 (Heun).
      churn: S_churn, 0 for the deterministic sampler; N is the number of points of the grid.
      churn_min, churn_max: S_min and S_max, in units of sigma / alpha.
      churn_noise: S_noise.
    """

    order: int = 2
    churn: float = 0.0
    churn_min: float = 0.0
    churn_max: float = math.inf
    churn_noise: float = 1.0

    def __post_init__(self):
        if self.order not in (1, 2):
            raise ValueError(f"order={self.order} must be 1 (Euler) or 2 (Heun)")
        if not self.churn >= 0:
            raise ValueError(f"churn={self.churn} must not be negative")
        if not self.churn_min < self.churn_max:
            raise ValueError(f"churn_min={self.churn_min} must be below churn_max={self.churn_max}")
        if not 0 <= self.churn_noise < math.inf:
            raise ValueError(f"churn_noise={self.churn_noise} must be finite and not negative")

    def walk(self, tape, sde, points):
        gamma = min(self.churn / len(points), math.sqrt(2) - 1)
        # No noise beyond that of the prior, of which the network knows nothing.
        largest = max(p.r for p in points)
        noisy = [
            min(p.r * (1 + gamma), largest) if self.churn_min <= p.r <= self.churn_max else p.r
            for p in points
        ]
        churned = [
            q if r > p.r else p
            for p, q, r in zip(
                points, points_of_half_log_snr(sde, [-math.log(r) for r in noisy]), noisy, strict=True
            )
        ]
        for p, hat, q in zip(points, churned, points[1:], strict=False):
            if hat.r > p.r:
                added = self.churn_noise * math.sqrt(hat.r**2 - p.r**2)
                tape.state = hat.alpha / p.alpha * tape.state + tape.noise(hat.alpha * added)
            x = tape.state
            euler = tape.eps(x, hat)
            step = q.alpha * (q.r - hat.r)
            x = q.alpha / hat.alpha * x
            if self.order == 1:
                tape.state = x + step * euler
            else:
                heun = tape.eps(x + step * euler, q)
                tape.state = x + 0.5 * step * (euler + heun)
