"""The samplers of Song et al. (2021) as their code was released, to reproduce published tables.

They differ from samplers/solvers/predictors.py in three ways. N steps use N points,
linspace(t_max, t_min, N), and the last one returns its mean. Euler-Maruyama's step is 1 / N whatever the
spacing. Reverse diffusion and ancestral sampling read beta_i or sigma_i from a table over [0, 1] whose
rows stand up to t_min beside the times at which the score is evaluated; on the VP SDE they do not converge.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from samplers.solvers.predictors import by_score
from samplers.tape import Solver, Tape, evaluate, points_at
from sde_lib.subvp import SubVP
from sde_lib.ve import VE
from sde_lib.vp import VP

ROWS = ("intended", "truncated")


def _rows_of(choice, t, count):
    if choice == "intended":
        return np.arange(count - 1, -1, -1)
    return np.floor(t * (count - 1)).astype(int)


@dataclasses.dataclass(frozen=True)
class _Released(Solver):
    """What the released predictors share.

    Attributes:
      probability_flow: half the score and no noise.
      rows: the released code indexes its table of beta by floor(t (N - 1)): "truncated" reproduces that
        rounding, which takes other rows from N = 1 / t_min on; "intended" gives step j of N row N - 1 - j.
    """

    default_grid: ClassVar[str] = "uniform"
    probability_flow: bool = False
    rows: str = "intended"

    def __post_init__(self):
        if self.rows not in ROWS:
            raise ValueError(f'rows="{self.rows}" must be one of {", ".join(ROWS)}')

    def refusal(self, sde, times):
        if type(sde) not in (VP, SubVP, VE):
            return "is the released code of Song et al. (2021) for vp, subvp and ve. Use one of these."
        if not isinstance(sde, VE) and len(times) <= sde.beta_max:
            return f"needs more steps than beta_max={sde.beta_max}: beta_i <= 1. Use more sampling.steps."
        return None

    def intervals(self, steps):
        return steps - 1

    def walk(self, tape, sde, points):
        raise NotImplementedError("the last step is part of these methods: see __call__")

    def __call__(self, sde, times, final_denoise=True):
        tape, points = Tape(), points_at(sde, times)
        coefficients = [np.broadcast_to(c, len(points)) for c in self.coefficients(sde, points)]
        for n, (p, a, b, std) in enumerate(zip(points, *coefficients, strict=True)):
            d = tape.x0(tape.state, p)
            last = final_denoise and n == len(points) - 1
            tape.state = a * tape.state + b * d + tape.noise(0.0 if last else std)
        return tape.table()


class EulerMaruyama(_Released):
    """x + (f x - g^2 score) dt + g sqrt(-dt) z with dt = -1 / N."""

    def coefficients(self, sde, points):
        t = [p.t for p in points]
        h, f, g = 1 / len(t), evaluate(sde.drift_rate, t), evaluate(sde.diffusion, t)
        share, noise = (0.5, 0.0) if self.probability_flow else (1.0, 1.0)
        return by_score(points, 1 - h * f, share * h * g**2, noise * np.sqrt(h) * g)


def _beta(sde, count, rows):
    return np.linspace(sde.beta_min, sde.beta_max, count)[rows] / count


def _variances(sde, count, rows):
    """sigma_i^2 and sigma_(i-1)^2 of the table, sigma_(-1) = 0."""
    table = np.geomspace(sde.sigma_min, sde.sigma_max, count) ** 2
    return table[rows], np.where(rows > 0, table[np.maximum(rows - 1, 0)], 0.0)


class ReverseDiffusion(_Released):
    """x - F + G^2 score + G z with F, G of the table (sub-VP: F = f dt, G = g sqrt(dt), dt = 1 / N)."""

    def coefficients(self, sde, points):
        t, count = np.array([p.t for p in points]), len(points)
        rows = _rows_of(self.rows, t, count)
        if isinstance(sde, VE):
            here, below = _variances(sde, count, rows)
            drift, variance = 0.0, here - below
        elif isinstance(sde, SubVP):
            drift, variance = (
                evaluate(sde.drift_rate, t) / count,
                evaluate(sde.diffusion, t) ** 2 / count,
            )
        else:
            variance = _beta(sde, count, rows)
            drift = np.sqrt(1 - variance) - 1
        share, noise = (0.5, 0.0) if self.probability_flow else (1.0, 1.0)
        return by_score(points, 1 - drift, share * variance, noise * np.sqrt(variance))


class Ancestral(_Released):
    """VP: (x + beta score) / sqrt(1 - beta) + sqrt(beta) z; VE: the posterior. With the table's rows."""

    def refusal(self, sde, times):
        if self.probability_flow:
            return "has no probability flow in the released code. Use legacy_reverse_diffusion."
        if isinstance(sde, SubVP):
            return 'is not defined for the sub-VP SDE in the released code. Use "ancestral".'
        return super().refusal(sde, times)

    def coefficients(self, sde, points):
        t, count = np.array([p.t for p in points]), len(points)
        rows = _rows_of(self.rows, t, count)
        if isinstance(sde, VE):
            here, below = _variances(sde, count, rows)
            return by_score(points, 1.0, here - below, np.sqrt(below * (here - below) / here))
        beta = _beta(sde, count, rows)
        return by_score(points, (1 - beta) ** -0.5, beta * (1 - beta) ** -0.5, np.sqrt(beta))
