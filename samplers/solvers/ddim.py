"""Denoising diffusion implicit models: the family between ancestral sampling and the probability flow."""

import dataclasses
import itertools

import numpy as np

from samplers.tape import Solver


@dataclasses.dataclass(frozen=True)
class DDIM(Solver):
    """DDIM of Song et al. (2020), eq. 12, for any linear SDE, on any grid of times.

        x_s = alpha_s D + sqrt(sigma_s^2 - w^2) eps + w z,      w = eta times the posterior's std.

    eta = 0 is Euler's method on the EDM form of the probability flow, and DPM-Solver-1; eta = 1 is
    ancestral sampling. On a discrete process with a sub-sequence grid it is the paper's. Order 1.

    Attributes:
      eta: from 0 (deterministic) to 1.
    """

    eta: float = 0.0

    def __post_init__(self):
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta={self.eta} must lie in [0, 1]")

    def walk(self, tape, sde, points):
        for p, q in itertools.pairwise(points):
            h = q.half_log_snr - p.half_log_snr
            kept = np.sqrt(1 + self.eta**2 * np.expm1(-2 * h))  # sqrt(sigma_s^2 - w^2) / sigma_s
            decay = np.expm1(-h) * kept + (kept - 1)  # e^-h kept - 1, which does not cancel for eta = 0
            d = tape.x0(tape.state, p)
            tape.state = (
                q.sigma * kept / p.sigma * tape.state
                - q.alpha * decay * d
                + tape.noise(self.eta * q.sigma * np.sqrt(-np.expm1(-2 * h)))
            )
