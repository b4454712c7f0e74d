"""Any sampler of single steps with the optimal variance of its steps.

We read a solver's step from t to s as that of DDIM with the eta whose noise equals the step's, at most 1.
The optimal variance of x_s given x_t (denoisers/variance.py) adds the uncertainty of x_0:
c^2 Var[x_0 | x_t], the `spread` c of a table.

For ancestral sampling and DDIM this is exact. Euler-Maruyama and reverse diffusion have a slightly
different mean, which agrees with DDIM's to first order in the step only: with the optimal variance they are
still biased.

Solvers with a history are refused. Their means use how the prediction changed on the way, which under the
reverse process is noise of its own: on Gaussian data their samples already vary too much, and would vary
several times too much with a spread.
"""

import math

import numpy as np

from samplers.tape import evaluate


def refusal(table):
    """Why a table cannot take a spread, or None."""
    if (table.look != np.eye(1 + table.history)[0]).any() or (np.diff(table.times) >= 0).any():
        return "calls the network more than once in a step, and the optimal variance is that of a single step"
    # A last move that returns the denoised point is no step.
    steps = [*table.move[1:], *([] if table.closing_move[0] == 0 else [table.closing_move])]
    if not any(step[1:].any() for step in steps):
        return "does not move by the network's predictions, and the optimal variance is that of such a move"
    if table.history > 1:
        return (
            "uses earlier predictions, and the optimal variance is that of a step from the newest one alone"
        )
    return None


def with_spread(sde, table, end):
    """The table of single steps with a spread, none in a last move that returns E[x_0] alone.

    Args:
      end: time at which the last move ends.
    """
    s, t, small = _steps(sde, table, end)
    eta = np.minimum(np.append(table.noise[1:], table.closing_noise) / small, 1)
    _, spread, noise = evaluate(sde.posterior_coefficients, s, t, eta)
    denoises = table.closing_move[0] == 0
    if denoises:
        spread[-1] = noise[-1] = 0.0
    return table.replace(
        spread=np.append(0, spread), noise=np.append(table.noise[0], noise[:-1]), closing_noise=noise[-1]
    )


def _steps(sde, table, end):
    """(s, t, standard deviation of q(x_s | x_t, x_0)) [K] of the moves after each call."""
    t, s = table.times, np.append(table.times[1:], end)
    s = np.where(s < t, s, 0.999 * t)  # the last move ends where it begins and has no noise: any step will do
    return s, t, evaluate(sde.posterior_coefficients, s, t)[2]


def with_variance(table, variance, sde, end, data_range=None):
    """The float64 table of single steps whose moves have the chosen variance.

    Args:
      variance: an entry of denoisers.variance.CHOICES as an object.
      end: time at which the table's last move ends.
      data_range: (low, high) of the model's data where it has one, for `variance.pixels`.

    Raises:
      ValueError: a table that cannot take another variance, or pixels of data that have none.
    """
    if variance.choice == "small":
        return table
    if variance.pixels is not None and data_range is None:
        raise ValueError(f"pixels={variance.pixels} is of the data's range, and the data has none")
    reason = refusal(table)
    if reason:
        raise ValueError(reason)
    spread = with_spread(sde, table, end)
    moves = spread.spread > 0
    most = np.full(len(moves), np.inf)
    if variance.pixels is not None:
        low, high = data_range
        # Of Gaussian noise the mean size is std sqrt(2 / pi): that is what is bounded (Bao et al. 2022a).
        most[np.flatnonzero(moves)[-1]] = (variance.pixels * (high - low) / 255 * math.sqrt(math.pi / 2)) ** 2
    if variance.choice == "optimal":
        return spread.replace(most=most)
    s, t, small = _steps(sde, table, end)
    large = evaluate(sde.transition, t, s)[1] ** 2
    small, large = (np.where(moves, np.append(0.0, v), 0.0) for v in (small**2, large))
    if variance.choice == "learned":
        return table.replace(limits=np.stack([small, large], axis=1), most=most)
    std = np.sqrt(np.minimum(large, most))
    return table.replace(noise=std[:-1], closing_noise=std[-1])
