"""Fitted solvers: a table of few calls whose numbers are fitted to one model.

With K calls the error of any general-purpose solver is far from what K calls can do for a given
model. Here the grid and the weights of a multistep method are free, and fitted to fine solutions
of the same model's probability flow from the same noise. In the notation of samplers/solvers/adams.py a
step from t to s is

    x / n at s  =  x / n at t  +  (m_s - m_t) sum_j w_j P_j

over the last four predictions; Adams' methods, with correctors, are special cases and the starts of the
fit. The weights of a step need not add up to 1, as Adams' do: at 10 calls that lowers the error by a
fifth to a third. The closing move denoises, with that sum in place of P.
"""

import dataclasses
import functools
import itertools
import math
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from components import ConfigError
from samplers import fitted_grid
from samplers.solvers.adams import Adams
from samplers.table import Table, sample
from samplers.tape import float64_on_host, points_at
from samplers.time_grids import VPTime
from sde_lib import noise

HISTORY = 4


LARGEST_FIT = 30  # iterations of each of the two parts of a fit


PATIENCE = 4  # iterations without a better held-out error after which a part stops


# Derivatives are taken of as many noises as give so many equations for each number, and of at least so many.
EQUATIONS_A_NUMBER, LEAST_NOISES = 60, 256


@flax.struct.dataclass
class Form:
    """What a fit does not change.

    Attributes:
      ends: [2] half log-SNR at both ends of the grid.
      t_ends: [2] the times there.
      steps: moves; calls are one more.
      prediction: x0 or f, which the history holds.
    """

    ends: Any
    t_ends: Any
    steps: int = flax.struct.field(pytree_node=False)
    prediction: str = flax.struct.field(pytree_node=False)


def _weight_count(step):
    """Weights of a step: of the newest prediction and of those before it, as far as they are remembered."""
    return min(step + 1, HISTORY)


def size(form):
    """How many numbers are fitted."""
    return 1 + form.steps + sum(map(_weight_count, range(form.steps + 1))) + (form.prediction == "f")


def table_of(theta, form, sde):
    """The Table of numbers theta [size(form)]. In jnp.

    They are the part of the range of half log-SNR before the first call, logits of the widths of the steps
    there, weights, and log s for F.
    """
    form = jax.tree.map(jnp.asarray, form)
    skipped, logits, weights = jnp.maximum(theta[0], 0.0), theta[1 : 1 + form.steps], theta[1 + form.steps :]
    fractions = skipped + (1 - skipped) * jnp.cumsum(jax.nn.softmax(logits))
    levels = form.ends[0] + (form.ends[1] - form.ends[0]) * jnp.append(skipped, fractions[:-1])
    times = sde.time_of_log_snr(2 * levels)
    first = jnp.where(skipped > 0, times[0], form.t_ends[0])
    times = jnp.concatenate(
        [
            jnp.stack([form.t_ends[0], first]).astype(times.dtype),
            times[1:],
            form.t_ends[1:].astype(times.dtype),
        ]
    )
    alpha, sigma = sde.alpha(times), sde.sigma(times)
    if form.prediction == "x0":
        scale, m = sigma, alpha / sigma
        record = jnp.tile(jnp.array([1.0, 0.0]), (form.steps + 2, 1))
        ending = jnp.array([0.0, 1.0])
    else:
        std = jnp.exp(weights[-1])
        scale = jnp.hypot(sigma, std * alpha)
        m = jnp.arctan(std * alpha / sigma)
        record = jnp.stack([sigma / (std * scale), -std * alpha / scale], axis=1)
        # x_0 = s (sin(m) x / n + cos(m) F)
        ending = std * jnp.stack([jnp.sin(m[-1]) / scale[-1], jnp.cos(m[-1])])
    ends = np.cumsum([_weight_count(step) for step in range(form.steps + 1)])
    combined = [jnp.pad(w, (0, HISTORY - len(w))) for w in jnp.split(weights[: ends[-1]], ends[:-1])]
    # The flow of Gaussian data of standard deviation s, P = 0, leads to the first call.
    rows = [scale[1] / scale[0] * jnp.eye(1 + HISTORY)[0]]
    scale, m, times, record = scale[1:], m[1:], times[1:], record[1:]
    for step, weighted in enumerate(combined[:-1]):
        ratio = scale[step + 1] / scale[step]
        rows.append(jnp.concatenate([ratio[None], scale[step + 1] * (m[step + 1] - m[step]) * weighted]))
    closing = jnp.concatenate([ending[:1], ending[1] * combined[-1]])
    look = jnp.zeros((form.steps + 1, 1 + HISTORY)).at[:, 0].set(1.0)
    zeros = jnp.zeros(form.steps + 1)
    return Table(times, jnp.stack(rows), zeros, look, record, closing, jnp.zeros(()))


def start_from(solver, grid, calls, sde):
    """The table of an Adams solver on a grid as (Form, theta [size(form)]) of `table_of`.

    Raises:
      ValueError: fewer than 3 calls.
    """
    if calls < 3:
        raise ValueError(f"a fitted solver needs at least 3 calls, not {calls}")
    times = grid(sde, calls - 1)
    table = solver(sde, times)
    points = points_at(sde, times)
    levels = np.array([p.half_log_snr for p in points])
    form = Form(levels[[0, -1]], np.asarray(times)[[0, -1]], calls - 1, solver.prediction)
    theta = [[0.0], np.log(np.diff(levels) / (levels[-1] - levels[0]))]
    for step in range(form.steps):
        p, q = points[step], points[step + 1]
        weights = np.zeros(HISTORY)
        row = table.move[step + 1, 1:]
        weights[: len(row)] = row
        weights /= solver.scale(q) * (solver.measure(q) - solver.measure(p))
        theta.append(weights[: _weight_count(step)])
    theta.append(np.eye(HISTORY)[0][: _weight_count(form.steps)])
    if form.prediction == "f":
        theta.append([np.log(solver.data_std)])
    return form, np.concatenate(theta)


def starting_points():
    """Pairs (solver, grid) of the general-purpose tables from which fits may start."""
    solvers = [Adams(2, 0, "f"), Adams(3, 0, "f"), Adams(2, 3, "f"), Adams(3, 4, "f"), Adams(3, 0, "x0")]
    grids = [VPTime(power, toward) for power in (2.5, 3.0, 4.0) for toward in (True, False)]
    return list(itertools.product(solvers, grids))


class Noises(NamedTuple):
    """Where solutions start.

    Attributes:
      x: [N, ...] states at t_max.
      label: [N] classes of the samples that they lead to, or None where the model takes none.
    """

    x: Any
    label: Any = None

    def part(self, rows):
        """Some of them."""
        return jax.tree.map(lambda a: a[rows], self)


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """Noise, where fine solutions of the flow lead from it, and the model.

    Attributes:
      sde: the process.
      denoise: (constants, x, t, label) -> Prediction.
      constants: what the denoiser needs beside x and t: parameters.
      shape: of one sample.
      chunk: noises that are differentiated together.
    """

    sde: Any
    denoise: Any
    constants: Any
    shape: tuple
    chunk: int = 128

    def _run(self, constants, table, noises, keep=None):
        keys = jnp.broadcast_to(noise.root_key(0), (len(noises.x),))  # no row draws noise

        def denoise(x, t):
            return self.denoise(constants, x, t, noises.label)

        return sample(keys, self.sde, denoise, self.shape, table, keep=keep, start=noises.x)

    def solve(self, table, noises):
        """Where a deterministic table leads from Noises [N, ...], in chunks."""
        run = jax.jit(self._run)
        parts = [run(self.constants, table, noises.part(c)).x for c in self._chunks(noises)]
        return np.concatenate([np.asarray(part) for part in parts])

    def trajectory(self, table, noises):
        """States and predictions of x_0 [rows, N, ...] at the calls of a deterministic table, in float64."""
        drawn = jax.jit(self._run, static_argnums=3)(
            self.constants, table, noises, tuple(range(table.rows - 1))
        )
        return np.asarray(drawn.trajectory[:-1], np.float64), np.asarray(drawn.predictions, np.float64)

    @functools.cached_property
    def _errors(self):
        def errors(constants, theta, noises, target, form):
            end = self._run(constants, table_of(theta, form, self.sde), noises).x
            return jnp.sqrt(jnp.mean((end - target).reshape(len(end), -1) ** 2, axis=1))

        return jax.jit(errors)

    @functools.cached_property
    def _equations(self):
        def equations(constants, theta, noises, target, weights, form):
            def residual(theta):
                end = self._run(constants, table_of(theta, form, self.sde), noises).x
                return ((end - target) * jnp.sqrt(weights).reshape(-1, *(1,) * len(self.shape))).reshape(-1)

            # Forward mode: one derivative for each number, and no memory for a backward pass.
            value, push = jax.linearize(residual, theta)
            jacobian = jax.vmap(push)(jnp.eye(len(theta)))
            return jacobian @ jacobian.T / value.size, jacobian @ value / value.size

        return jax.jit(equations)

    def _chunks(self, noises):
        return [slice(i, i + self.chunk) for i in range(0, len(noises.x), self.chunk)]

    def errors(self, form, theta, noises, target):
        """[N] root-mean-square distances of a table's ends from their targets, in float64."""
        parts = [
            self._errors(self.constants, theta, noises.part(c), target[c], form) for c in self._chunks(noises)
        ]
        return np.concatenate([np.asarray(part) for part in parts]).astype(np.float64)

    def equations(self, form, theta, noises, target, weights):
        """(J^T W J, J^T W r) of the distances by theta, summed over the noises in float64."""
        total = [0.0, 0.0]
        for c in self._chunks(noises):
            part = self._equations(self.constants, theta, noises.part(c), target[c], weights[c], form)
            total = [a + np.asarray(b, np.float64) for a, b in zip(total, part, strict=True)]
        return total


def pseudo_huber(errors, scale):
    """Mean of scale^2 (sqrt(1 + (e / scale)^2) - 1): quadratic for small errors, linear for large ones.

    A few noises near a watershed between modes would otherwise rule the fit.
    """
    return float(np.mean(scale**2 * (np.sqrt(1 + (errors / scale) ** 2) - 1)))


# Part of the noises, those that end farthest from the fine solution, that `rms_98` leaves out.
LEFT_OUT = 0.02


def rms_98(errors):
    """Root mean square of distances [N] without the worst 2%."""
    return float(np.sqrt(np.mean(np.sort(errors)[: len(errors) - math.ceil(LEFT_OUT * len(errors))] ** 2)))


def quality(errors):
    """By which solvers are ranked, less is better: the geometric mean of the median and of `rms_98`.

    The median alone would not see noises that go astray, and the root mean square sees little else.
    """
    return math.sqrt(float(np.median(errors)) * rms_98(errors)) if np.isfinite(errors).all() else math.inf


def flips(errors, target):
    """Part of the noises that end elsewhere: farther than half the data's standard deviation away.

    Args:
      errors: [N] distances; target: [N, ...] where fine solutions end.
    """
    return float(np.mean(errors > 0.5 * np.std(target.reshape(len(target), -1), axis=0).mean()))


class Fit(NamedTuple):
    """What a fit returns.

    Attributes:
      theta: the numbers with the best quality of the held-out errors.
      errors: [N] held-out distances there; start_errors: those of the start.
      history: held-out quality by iteration.
    """

    theta: np.ndarray
    errors: np.ndarray
    start_errors: np.ndarray
    history: list


def _needed(theta, noises):
    """How many of the noises determine the numbers well: derivatives are taken of no more."""
    return min(
        len(noises.x), max(LEAST_NOISES, math.ceil(EQUATIONS_A_NUMBER * len(theta) / noises.x[0].size))
    )


def fit(problem, form, theta, train, held_out, report=lambda iteration, quality: None):
    """Levenberg and Marquardt's method on the pseudo-Huber loss; held-out noises decide when to stop.

    It is first quadratic up to the typical error, so that noises near a watershed between modes do not rule
    the fit; then, from the best numbers found, up to `rms_98`, so that the noises that end far are counted.

    Args:
      theta: [size(form)] the start.
      train, held_out: pairs (Noises [N, ...], target [N, ...]): starts and fine solutions.
      report: called with each iteration and its held-out quality.

    Returns:
      Fit, never worse than the start on the held-out noises.
    """
    start_errors = problem.errors(form, theta, *held_out)
    history = [quality(start_errors)]
    best = (history[0], theta, start_errors)
    rows = slice(_needed(theta, train[0]))
    train = (train[0].part(rows), train[1][rows])

    def scales():
        yield 0.3 * float(np.median(start_errors))
        yield rms_98(best[2])

    for scale in scales():
        scale, damping, since = max(scale, 1e-6), 1e-2, 0
        theta = best[1]
        errors = problem.errors(form, theta, *train)
        loss = pseudo_huber(errors, scale)
        for iteration in range(1, LARGEST_FIT + 1):
            weights = (1 + (errors / scale) ** 2) ** -0.5
            curvature, slope = problem.equations(form, theta, *train, weights.astype(np.float32))
            for _ in range(8):
                trial = theta - np.linalg.solve(
                    curvature + damping * np.diag(np.diag(curvature) + 1e-12 * np.trace(curvature)), slope
                )
                trial_errors = problem.errors(form, trial, *train)
                trial_loss = pseudo_huber(trial_errors, scale)
                if np.isfinite(trial_loss) and trial_loss < loss:
                    break
                damping *= 5
            else:
                break
            theta, errors, loss, damping = trial, trial_errors, trial_loss, damping / 5
            held_out_errors = problem.errors(form, theta, *held_out)
            history.append(quality(held_out_errors))
            report(iteration, history[-1])
            since += 1
            if history[-1] < best[0]:
                since = 0 if history[-1] < 0.99 * best[0] else since
                best = (history[-1], theta, held_out_errors)
            if since >= PATIENCE:
                break
    return Fit(best[1], best[2], start_errors, history)


def float64_table(theta, form, sde):
    """The Table of fitted numbers, in float64 on the host."""
    with float64_on_host():
        table = table_of(jnp.asarray(np.asarray(theta, np.float64)), form, sde)
    return jax.tree.map(lambda a: np.asarray(a, np.float64), table)


PILOT_NOISES = 64


def fine_solver():
    """The solver and grid of the fine solutions."""
    return Adams(4, 4), VPTime(4.0)


def pilot_density(problem, noises, steps):
    """Half log-SNR [M] and the step density [M] there, from fine solutions of Noises [N, ...]."""
    solver, grid = fine_solver()
    times = grid(problem.sde, steps)
    states, x0 = problem.trajectory(solver(problem.sde, times).astype(np.float32), noises)
    points = points_at(problem.sde, times[:-1])
    alpha, sigma = (
        np.array([getattr(p, name) for p in points]).reshape(-1, *(1,) * (x0.ndim - 1))
        for name in ("alpha", "sigma")
    )
    levels = np.array([p.half_log_snr for p in points])
    density = fitted_grid.density(levels, x0, (states - alpha * x0) / sigma)
    ends = np.array([p.half_log_snr for p in points_at(problem.sde, times[[0, -1]])])
    return np.append(levels, ends[-1]), np.append(density, density[-1])


class Found(NamedTuple):
    """The best fit for a number of calls.

    Attributes:
      fit: a Fit; form: its Form.
      start: the general-purpose solver and grid from which it started, in words.
    """

    fit: Fit
    form: Form
    start: str


# Part of the noises that may go astray after a fit before another start is tried.
FEW_FLIPS = 0.005


def fit_calls(problem, calls, train, held_out, starts=2, progress=None):
    """The Found for a number of calls.

    All `starting_points` are tried on the held-out noises, and the best `starts` of them are fitted; up to as
    many again while more than FEW_FLIPS of the noises end elsewhere than the fine solution.

    Raises:
      ConfigError: no start gives finite samples.
    """
    candidates = []
    for solver, grid in starting_points():
        form, theta = start_from(solver, grid, calls, problem.sde)
        theta = theta.astype(np.float32)
        # Two kinds of grid are one where few calls would not lie beside the data anyway.
        if any(np.array_equal(theta, other) for _, _, _, other, _ in candidates):
            continue
        errors = problem.errors(form, theta, *held_out)
        if np.isfinite(errors).all():
            candidates.append((quality(errors), len(candidates), form, theta, f"{solver}, {grid}"))
    if not candidates:
        raise ConfigError("No solver of so few calls gives finite samples of this model. Train it longer.")
    best = None
    for number, (_, _, form, theta, start) in enumerate(sorted(candidates)[: 2 * starts]):
        if number >= starts and flips(best.fit.errors, held_out[1]) <= FEW_FLIPS:
            break

        def report(iteration, quality):
            if progress is not None:
                progress.update(1, calls=calls, error=quality)

        fitted = fit(problem, form, theta, train, held_out, report)
        if best is None or quality(fitted.errors) < quality(best.fit.errors):
            best = Found(fitted, form, start)
    return best
