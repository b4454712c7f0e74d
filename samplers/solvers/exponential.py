"""Exponential integrators in the data prediction: what several families of solvers share.

With lambda = log(alpha / sigma), h its increase from t to s and a noise level tau, the reverse
dynamics (Song et al. 2021; Xue et al. 2023, eq. 9) have the solution

    x_s = (sigma_s / sigma_t) e^(-tau^2 h) x_t + alpha_s int k e^(-k (lambda_s - lambda)) D d lambda
          + sigma_s sqrt(1 - e^(-2 tau^2 h)) z,        k = 1 + tau^2,

the probability flow for tau = 0, the reverse SDE for tau = 1. A multistep method replaces D
by the polynomial in lambda through the predictions at the last points.
"""

import math

import numpy as np

from samplers.solvers.dpm_solver import fractions_of
from samplers.tape import points_between

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)


_NODES, _WEIGHTS = (1 + _NODES) / 2, _WEIGHTS / 2


STARTS = ("lower_order", "single_step")


def require_start(start):
    """Raises ValueError for an unknown way to start a multistep solver."""
    if start not in STARTS:
        raise ValueError(f'start="{start}" must be one of {", ".join(STARTS)}')


def lagrange(nodes, at):
    """[len(nodes), M] values at [M] of the polynomials that are 1 at one node and 0 at the others."""
    rows = []
    for j, node in enumerate(nodes):
        others = np.array([other for i, other in enumerate(nodes) if i != j])
        rows.append(np.prod((at[:, None] - others) / (node - others), axis=1) if len(others) else 1 + 0 * at)
    return np.stack(rows)


def adams_weights(nodes, t, s, tau=0.0):
    """Weights [len(nodes)] of the predictions in a step from Point t to s, exact for polynomials in lambda.

    Args:
      nodes: half log-SNR where the predictions were made.
    """
    h, k = s.half_log_snr - t.half_log_snr, 1 + tau**2
    # Gauss's rule on pieces over which the exponential falls by e^4 at most is exact to rounding.
    pieces = max(1, math.ceil(k * h / 4))
    edges = np.linspace(0, h, pieces + 1)
    u = (edges[:-1, None] + np.diff(edges)[:, None] * _NODES).reshape(-1)
    weights = np.tile(_WEIGHTS, pieces) * (h / pieces)
    kernel = s.alpha * k * np.exp(-k * (h - u)) * weights
    offsets = np.asarray(nodes) - t.half_log_snr
    return lagrange(offsets / h, u / h) @ kernel


def state_and_noise(t, s, tau=0.0):
    """The coefficient of the state and the standard deviation of the noise in a step from Point t to s."""
    h = s.half_log_snr - t.half_log_snr
    decay = s.sigma / t.sigma * math.exp(-(tau**2) * h)
    return decay, s.sigma * math.sqrt(-math.expm1(-2 * tau**2 * h))


def single_step(tape, order, t, mids, s, remember="x0"):
    """Notes one step of DPM-Solver++(1S), (2S) or (3S) (Lu et al. 2022b) from Point t to s.

    Args:
      mids: the Points at 1/2 (order 2) or at 1/3 and 2/3 (order 3) of the way in lambda.
      remember: x0 or eps, whichever the solver that goes on needs of the call at t.

    Returns:
      the prediction at t, as a symbol.
    """
    x, h = tape.state, s.half_log_snr - t.half_log_snr
    first = tape.x0(x, t) if remember == "x0" else tape.eps(x, t)
    data = first if remember == "x0" else (x - t.sigma * first) / t.alpha

    def first_order(q):
        return q.sigma / t.sigma * x - q.alpha * math.expm1(t.half_log_snr - q.half_log_snr) * data

    if order == 1:
        tape.state = first_order(s)
    elif order == 2:
        (m,) = mids
        change = tape.x0(first_order(m), m) - data
        tape.state = first_order(s) - s.alpha * math.expm1(-h) * change
    else:
        m1, m2 = mids
        r1, r2 = 1 / 3, 2 / 3
        change = tape.x0(first_order(m1), m1) - data
        bend = (math.expm1(-r2 * h) / (r2 * h) + 1) * r2 / r1
        change = tape.x0(first_order(m2) + m2.alpha * bend * change, m2) - data
        tape.state = first_order(s) + s.alpha / r2 * (math.expm1(-h) / h + 1) * change
    return first


def starting_order(start, order):
    """Order of the single steps with which a multistep solver begins; 1 if it begins with lower orders."""
    return min(order, 3) if start == "single_step" else 1


def starting_mids(sde, points, order):
    """For each step, the Points on the way that `single_step` needs."""
    between = [points_between(sde, points, fraction) for fraction in fractions_of(order)]
    return [[m[n] for m in between] for n in range(len(points) - 1)]
