"""Predictors of Song et al. (2021): one step of the reverse SDE, or of the probability flow.

With the score written through the denoiser, score = (alpha_t D - x) / sigma_t^2, each step is
x_s = (coefficient) x_t + (coefficient) D(x_t, t) + (standard deviation) z. In the names
of appendix E and F, but with each step's own length and the SDE's exact transition
x_t = scale x_s + std z in place of its first-order discretization (samplers/solvers/legacy.py has
the released code's own steps).
"""

import dataclasses
from typing import ClassVar

import numpy as np

from samplers.solvers.ddim import DDIM
from samplers.tape import Solver, evaluate
from sde_lib.rectified_flow import RectifiedFlow


def by_score(points, from_state, from_score, noise):
    """Coefficients (state, D, noise) of x_s = from_state x + from_score score + noise z, at the points x."""
    alpha, sigma = (np.array([getattr(p, name) for p in points]) for name in ("alpha", "sigma"))
    weight = from_score * alpha / sigma**2
    return from_state - from_score / sigma**2, weight, noise


def one_step(tape, points, state, prediction, noise):
    """Notes a one-step method with coefficients [N] on the tape."""
    rows = (np.broadcast_to(np.asarray(c), len(points) - 1).tolist() for c in (state, prediction, noise))
    for point, a, b, std in zip(points, *rows, strict=False):
        d = tape.x0(tape.state, point)
        tape.state = a * tape.state + b * d + tape.noise(std)


def _ends(points):
    t = np.array([p.t for p in points])
    return t[:-1], t[1:]


def infinite_drift(sde):
    """Why methods that use the drift itself cannot serve the SDE, or None."""
    if isinstance(sde, RectifiedFlow):
        return 'assumes small steps, and the drift of rectified flow is infinite at t = 1. Use "ancestral".'
    return None


@dataclasses.dataclass(frozen=True)
class ReverseDiffusion(Solver):
    """The forward step's own discretization, reversed (Song et al. 2021, eq. 46).

    With x_t = x_s + F + G z, F = (scale - 1) x and G = std: x_s = x - F + G^2 score + G z, and
    for the probability flow x_s = x - F + G^2 score / 2. Order 1.
    """

    default_grid: ClassVar[str] = "uniform"
    probability_flow: bool = False

    def refusal(self, sde, times):
        return infinite_drift(sde)

    def walk(self, tape, sde, points):
        t, s = _ends(points)
        scale, std = evaluate(sde.transition, t, s)
        flow = self.probability_flow
        weights = by_score(points[:-1], 2 - scale, std**2 / (2 if flow else 1), 0.0 if flow else std)
        one_step(tape, points, *weights)


@dataclasses.dataclass(frozen=True)
class Ancestral(Solver):
    """The posterior of x_s given x_t and x_0 = D, of any linear SDE.

    On VP and VE the ancestral sampling of Ho et al. (2020) and of Song et al. (2021, appendix F)
    with the small variance; equal to DDIM with eta = 1. Its probability flow is DDIM. Order 1.
    """

    default_grid: ClassVar[str] = "uniform"
    probability_flow: bool = False

    def walk(self, tape, sde, points):
        if self.probability_flow:
            DDIM().walk(tape, sde, points)
        else:
            t, s = _ends(points)
            one_step(tape, points, *evaluate(sde.posterior_coefficients, s, t))


@dataclasses.dataclass(frozen=True)
class EulerMaruyama(Solver):
    """Euler-Maruyama on the reverse SDE dx = (f x - g^2 score) dt + g dw, backwards in time.

    The probability flow is Euler's method on dx = (f x - g^2 score / 2) dt. Order 1.
    """

    default_grid: ClassVar[str] = "uniform"
    probability_flow: bool = False

    def refusal(self, sde, times):
        return infinite_drift(sde)

    def walk(self, tape, sde, points):
        t, s = _ends(points)
        h, f, g = t - s, evaluate(sde.drift_rate, t), evaluate(sde.diffusion, t)
        flow = self.probability_flow
        noise = 0.0 if flow else np.sqrt(h) * g
        one_step(tape, points, *by_score(points[:-1], 1 - h * f, h * g**2 / (2 if flow else 1), noise))


@dataclasses.dataclass(frozen=True)
class StochasticHeun(Solver):
    """Heun's method on the reverse SDE, its linear part and its noise integrated exactly.

    A step of ancestral sampling, whose D is then averaged with the one found there; the noise is
    additive, so that the same noise serves both and the weak order is 2. Two calls a step.
    """

    def walk(self, tape, sde, points):
        t, s = _ends(points)
        coefficients = np.asarray(evaluate(sde.posterior_coefficients, s, t)).tolist()
        for p, q, a, b, std in zip(points, points[1:], *coefficients, strict=False):
            first = tape.x0(tape.state, p)
            tape.state = a * tape.state + b * first + tape.noise(std)
            second = tape.x0(tape.state, q)
            tape.state = tape.state + 0.5 * b * (second - first)


@dataclasses.dataclass(frozen=True)
class NoPredictor(Solver):
    """Leaves the state as it is: a corrector alone makes the samples (Song et al. 2021, C2000)."""

    default_grid: ClassVar[str] = "uniform"

    def walk(self, tape, sde, points):
        one_step(tape, points, 1.0, 0.0, 0.0)
